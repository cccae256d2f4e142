"""How many processes run, and how many cores each may use."""

from __future__ import annotations

import os

from adapters.errors import SettingsError

ASKED_VARIABLE = "TASKSWAP_NUM_PROCESSES"


def world() -> tuple[int, int]:
    """(rank, number of processes) of this process, as torch's process group has it; (0, 1) before there is one."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Whether this is the process that speaks to the user, known before processes have met: by the launcher's RANK."""
    return os.environ.get("RANK", "0") == "0"


def check_launcher() -> None:
    """Raises SettingsError under a launcher whose way of sharing a model out is not tried here."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise SettingsError(
            "DeepSpeed: checkpoints and artifacts of a model that it divides have not been tried, so no run begins. "
            "Use --config_file accelerate_configs/fsdp2.yaml, which divides it as well."
        )


def check_world(found: int | None = None) -> None:
    """Raises SettingsError where fewer processes work together than a launcher was asked for.

    `accelerate launch` without MPI starts one process on a CPU, however many it was asked for, and says nothing. Its
    only trace is a port for processes to meet at, with no rank for this one.

    Args:
        found: processes that Accelerate counts; None asks torch.
    """
    found = world()[1] if found is None else found
    asked = max(_number(name) for name in (ASKED_VARIABLE, "WORLD_SIZE"))
    ranks = ("LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    alone = "ACCELERATE_MIXED_PRECISION" in os.environ and not any(name in os.environ for name in ranks)
    unknown = alone and asked < 2 and "MASTER_PORT" in os.environ
    asked = 2 if unknown else asked
    if asked > found:
        raise SettingsError(
            f"{'At least ' if unknown else ''}{asked} processes were asked for, {found} runs. "
            f"Use: python -m adapters launch --num_processes {asked} recipes/<recipe>.py …"
        )


def _number(variable: str) -> int:
    """The number in an environment variable, 1 where it is not set."""
    value = os.environ.get(variable) or "1"
    if not value.isdecimal():
        raise SettingsError(f"{variable}={value}: must be a number of processes. Unset it, or let the launcher set it.")
    return int(value)


def use_all_cores() -> None:
    """Let a process that is alone on a CPU use every core it may, unless the user set a number of threads.

    `accelerate launch` sets OMP_NUM_THREADS=1 for a single CPU process too, which costs a third of the speed and more.
    A 1 from that launcher is therefore taken for no choice at all; any other number is the user's.
    """
    import torch

    launched = any(name.startswith("ACCELERATE_") for name in os.environ)
    chosen = os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS")
    if world()[1] > 1 or (chosen is not None and not (launched and chosen == "1")):
        return
    torch.set_num_threads(cores())


def cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
