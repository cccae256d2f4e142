"""A recipe in several processes, on one machine or on many: by torchrun on CPUs, by Accelerate's launcher on GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from adapters.errors import SettingsError
from adapters.processes import ASKED_VARIABLE, cores


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Processes and machines, by Accelerate's names; None leaves it to the config."""

    num_processes: int | None = None
    """Over all machines."""
    num_machines: int | None = None
    machine_rank: int | None = None
    main_process_ip: str | None = None
    main_process_port: int | None = None

    @property
    def here(self) -> int:
        """Processes of each machine."""
        return (self.num_processes or 1) // (self.num_machines or 1)


def launch(layout: Layout, command: Sequence[str], *, config_file: str | None = None, cpu: bool = False) -> int:
    """Run a recipe in several processes; returns the exit code where it returns.

    `accelerate launch` starts one process on a CPU however many it is asked for, so there torchrun starts them, with
    what a config says of FSDP. On POSIX the launcher takes the place of this process, so that a signal sent here
    reaches it and its workers.

    Args:
        layout: what the user gave; it goes before the config's.
        command: the recipe's file and its flags.
        config_file: of `accelerate config`, or one of accelerate_configs/.
        cpu: on CPUs, whatever the config says.

    Raises:
        SettingsError: numbers that cannot be, a config that cannot be read, or one for GPUs where there is none.
    """
    if not command or not Path(command[0]).is_file():
        raise SettingsError(f"launch needs a recipe's file, found {command[0] if command else 'nothing'!r}.")
    config = _read(config_file) if config_file is not None else None
    layout = replace(layout, **{f.name: getattr(config, f.name, None) for f in fields(layout)
                                if getattr(layout, f.name) is None})  # fmt: skip
    _check(layout)
    environment = {**os.environ, ASKED_VARIABLE: str(layout.num_processes)}
    if config is None or cpu or config.use_cpu:
        starter, more = _torchrun(layout), _of_cpus(config)
        environment.setdefault("OMP_NUM_THREADS", str(max(cores() // layout.here, 1)))
        environment.update(more)
    else:
        _check_gpus(config_file)
        starter = _accelerate(layout, str(config_file))
    if os.name == "posix":
        os.execve(sys.executable, [*starter, *command], environment)
    return subprocess.run([*starter, *command], env=environment, check=False).returncode


def _read(config_file: str) -> Any:
    """The config as Accelerate reads it."""
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        return load_config_from_file(config_file)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise SettingsError(f"--config_file {config_file}: Accelerate cannot read it ({error}). Write one with "
                            "`accelerate config`, or take one of accelerate_configs/.") from error  # fmt: skip


def _check(layout: Layout) -> None:
    processes, machines, rank = layout.num_processes, layout.num_machines or 1, layout.machine_rank or 0
    if processes is None:
        raise SettingsError("launch needs --num_processes, or a --config_file that says it.")
    if processes < 1:
        raise SettingsError(f"--num_processes {processes}: must be at least 1.")
    if machines < 1 or processes % machines:
        raise SettingsError(f"--num_machines {machines}: must be a divisor of --num_processes ({processes}), which are "
                            "those of all machines.")  # fmt: skip
    if not 0 <= rank < machines:
        raise SettingsError(f"--machine_rank {rank}: must be from 0 to {machines - 1}, another on each machine.")
    if machines > 1 and not (layout.main_process_ip and layout.main_process_port):
        raise SettingsError("Several machines need --main_process_ip and --main_process_port, those of machine 0.")


def _torchrun(layout: Layout) -> list[str]:
    """torchrun with as many processes as are this machine's."""
    machines = layout.num_machines or 1
    starter = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc_per_node={layout.here}",
    ]
    if machines == 1:
        return [*starter, "--standalone"]
    return [*starter, f"--nnodes={machines}", f"--node_rank={layout.machine_rank or 0}",
            f"--master_addr={layout.main_process_ip}", f"--master_port={layout.main_process_port}"]  # fmt: skip


def _of_cpus(config: Any) -> dict[str, str]:
    """What Accelerate's launcher would put into the environment for a config, on CPUs."""
    said: Mapping[str, Any] = getattr(config, "fsdp_config", None) or {}
    if not said:
        return {}
    found = {"ACCELERATE_USE_FSDP": "true"}
    for name, value in said.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        found[f"FSDP_{name.removeprefix('fsdp_').upper()}".replace("TRANSFORMER_LAYER_CLS", "TRANSFORMER_CLS")] = text
    return found


def _accelerate(layout: Layout, config_file: str) -> list[str]:
    """Accelerate's own launcher."""
    given = [word for field in fields(layout) if (value := getattr(layout, field.name)) is not None
             for word in (f"--{field.name}", str(value))]  # fmt: skip
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config_file, *given]


def _check_gpus(config_file: str | None) -> None:
    import torch

    if not torch.accelerator.is_available():
        raise SettingsError(f"--config_file {config_file}: is for GPUs, and torch finds none. Give --cpu to try it on "
                            "this machine's cores, or take accelerate_configs/cpu_two_processes.yaml.")  # fmt: skip
