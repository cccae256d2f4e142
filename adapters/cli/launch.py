"""Run a recipe in several processes, on one machine or on many: torchrun on CPUs, Accelerate's launcher on GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from adapters.core import arguments
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import SettingsError
from adapters.core.launcher import REQUESTED_VARIABLE
from adapters.core.processes import cores

HELP = "run a recipe in several processes, on one machine or on many"
GROUP = "Train and compare"
DESCRIPTION = """Run a recipe in several processes: taskswap launch --num_processes 2 recipes/lora_ner.py

Everything after the recipe's file is passed to the recipe."""

_QUIETLY = (sys.executable, "-m", "adapters.cli.base.launched")
"""Before a launcher's module: it adds no report of its own to a recipe's refusal."""


@dataclass(frozen=True, kw_only=True)
class ProcessLayout:
    """Processes and machines, by Accelerate's names; None takes the value of the config file."""

    num_processes: int | None = None
    """Number of processes on all machines together."""
    num_machines: int | None = None
    """Number of machines."""
    machine_rank: int | None = None
    """Rank of this machine, from 0."""
    main_process_ip: str | None = None
    """Address of machine 0."""
    main_process_port: int | None = None
    """Port of machine 0 at which the processes meet."""

    @property
    def processes_per_machine(self) -> int:
        """Number of processes on each machine."""
        return (self.num_processes or 1) // (self.num_machines or 1)


@dataclass(frozen=True, kw_only=True)
class Settings(ProcessLayout):
    """What is started, and how."""

    recipe: Annotated[list[str], POSITIONAL] = field(default_factory=list)
    """File of the recipe, and its flags."""
    config_file: str | None = None
    """File written by `accelerate config`, or one of accelerate_configs/."""
    cpu: bool = False
    """Run on CPUs, whatever the config file says."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap launch`."""
    end = next((i for i, word in enumerate(argv) if word.endswith(".py")), len(argv))
    given: Settings = arguments.parse(Settings, {}, DESCRIPTION, argv[:end], program="taskswap launch")
    layout = ProcessLayout(**{field.name: getattr(given, field.name) for field in fields(ProcessLayout)})
    return launch(layout, [*given.recipe, *argv[end:]], config_file=given.config_file, cpu=given.cpu)


def launch(layout: ProcessLayout, command: Sequence[str], *, config_file: str | None = None, cpu: bool = False) -> int:
    """Run a recipe in several processes; returns the launcher's exit code, where it returns.

    On a CPU `accelerate launch` starts one process, whatever number is requested, so torchrun starts them there, with
    the FSDP options of the config file. On POSIX the launcher replaces this process, so that signals sent to it reach
    the launcher and its workers.

    Args:
        layout: the user's choices, which override those of the config file.
        command: the recipe's file and its flags.
        config_file: written by `accelerate config`, or one of accelerate_configs/.
        cpu: run on CPUs, whatever the config file says.

    Raises:
        SettingsError: impossible numbers, a config file that cannot be read, or one for GPUs where there is none.
    """
    if not command or not Path(command[0]).is_file():
        raise SettingsError(f"launch needs a recipe's file, found {command[0] if command else 'nothing'!r}.")
    config = _read(config_file) if config_file is not None else None
    open_fields = [field.name for field in fields(layout) if getattr(layout, field.name) is None]
    layout = replace(layout, **{name: getattr(config, name, None) for name in open_fields})
    _check(layout)
    environment = {**os.environ, REQUESTED_VARIABLE: str(layout.num_processes)}
    if config is None or cpu or config.use_cpu:
        launcher = _torchrun(layout)
        environment.setdefault("OMP_NUM_THREADS", str(max(cores() // layout.processes_per_machine, 1)))
        environment.update(_fsdp_variables(config))
    else:
        _check_gpus(config_file)
        launcher = _accelerate(layout, str(config_file))
    if os.name == "posix":
        os.execve(sys.executable, [*launcher, *command], environment)
    return subprocess.run([*launcher, *command], env=environment, check=False).returncode


def _read(config_file: str) -> Any:
    """The config as Accelerate reads it."""
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        return load_config_from_file(config_file)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"--config_file {config_file}: Accelerate cannot read it ({error}). Write one with "
            "`accelerate config`, or use one of accelerate_configs/."
        ) from error


def _check(layout: ProcessLayout) -> None:
    processes, machines, rank = layout.num_processes, layout.num_machines or 1, layout.machine_rank or 0
    if processes is None:
        raise SettingsError("launch needs --num_processes, or a --config_file that sets it.")
    if processes < 1:
        raise SettingsError(f"--num_processes {processes}: must be at least 1.")
    if machines < 1 or processes % machines:
        raise SettingsError(
            f"--num_machines {machines}: must be a divisor of --num_processes ({processes}), the number of processes "
            "on all machines together."
        )
    if not 0 <= rank < machines:
        raise SettingsError(
            f"--machine_rank {rank}: must be from 0 to {machines - 1}, a different one on each machine."
        )
    if machines > 1 and not (layout.main_process_ip and layout.main_process_port):
        raise SettingsError("Several machines need --main_process_ip and --main_process_port, those of machine 0.")


def _torchrun(layout: ProcessLayout) -> list[str]:
    """The command line of torchrun for the processes of this machine."""
    machines = layout.num_machines or 1
    per_machine = f"--nproc_per_node={layout.processes_per_machine}"
    launcher = [*_QUIETLY, "torch.distributed.run", per_machine]
    if machines == 1:
        return [*launcher, "--standalone"]
    return [
        *launcher,
        f"--nnodes={machines}",
        f"--node_rank={layout.machine_rank or 0}",
        f"--master_addr={layout.main_process_ip}",
        f"--master_port={layout.main_process_port}",
    ]


def _fsdp_variables(config: Any) -> dict[str, str]:
    """The environment variables by which Accelerate's launcher passes on the FSDP options of a config."""
    options: Mapping[str, Any] = getattr(config, "fsdp_config", None) or {}
    if not options:
        return {}
    variables = {"ACCELERATE_USE_FSDP": "true"}
    for name, value in options.items():
        variable = f"FSDP_{name.removeprefix('fsdp_').upper()}".replace("TRANSFORMER_LAYER_CLS", "TRANSFORMER_CLS")
        variables[variable] = str(value).lower() if isinstance(value, bool) else str(value)
    return variables


def _accelerate(layout: ProcessLayout, config_file: str) -> list[str]:
    """The command line of Accelerate's launcher."""
    values = {field.name: getattr(layout, field.name) for field in fields(layout)}
    given = [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]
    return [*_QUIETLY, "accelerate.commands.launch", "--config_file", config_file, *given]


def _check_gpus(config_file: str | None) -> None:
    import torch

    if not torch.accelerator.is_available():
        raise SettingsError(
            f"--config_file {config_file}: is for GPUs, and torch finds none. Give --cpu to try it on "
            "this machine's cores, or use accelerate_configs/cpu_two_processes.yaml."
        )
