"""The number of processes of a run, and the cores of each."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from adapters.core.errors import SettingsError, UserError
from adapters.core.launcher import by_accelerate, requested_processes

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

SPIN_VARIABLE = "GOMP_SPINCOUNT"
SPINS = "10000"


def world() -> tuple[int, int]:
    """(rank, number of processes) by torch's process group; (0, 1) before it exists."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def leave_group() -> None:
    """Leave torch's process group, if there is one: a process that ends in it may be aborted on its way out."""
    dist = sys.modules.get("torch.distributed")
    if dist is not None and dist.is_available() and dist.is_initialized():
        with contextlib.suppress(Exception):  # others may have left it already
            dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process prints, by the launcher's RANK; known before the process group exists."""
    return os.environ.get("RANK", "0") == "0"


def check_launcher() -> None:
    """Raises SettingsError for a launcher whose sharding is not supported."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise SettingsError(
            "DeepSpeed is not supported: checkpoints and artifacts of its sharded models are untested. "
            "Use --config_file accelerate_configs/fsdp2.yaml, which shards the model too."
        )


def check_world(found: int | None = None) -> None:
    """Raises SettingsError if there are fewer processes than were requested from a launcher.

    `accelerate launch` without MPI starts one process on a CPU, however many are requested, without a message. The only
    trace is a port of the process group, with no rank for this process.

    Args:
        found: number of processes by Accelerate; None takes that of torch.
    """
    found = world()[1] if found is None else found
    requested = requested_processes()
    ranks = ("LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    alone = by_accelerate() and not any(name in os.environ for name in ranks)
    unknown = alone and requested < 2 and "MASTER_PORT" in os.environ
    requested = 2 if unknown else requested
    if requested > found:
        raise SettingsError(
            f"{'At least ' if unknown else ''}{requested} processes were requested, but {found} is running. "
            f"Use: taskswap launch --num_processes {requested} recipes/<recipe>.py …"
        )


def limit_spinning() -> None:
    """Let threads of torch sleep after a short wait for one another, unless the user has set how they wait.

    By default GNU's OpenMP lets a thread spin for milliseconds at each of the thousands of waits in a step. Where other
    processes need the cores, it spins while the thread it waits for can't run: with two of them on two cores, a forward
    pass of minilm takes 595 ms instead of 15. A short wait costs nothing where the cores are free (6.2 ms, both), where
    sleeping at once does (9 ms). The library reads the variable when torch is imported; other OpenMP libraries have
    none of that name.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN_VARIABLE, SPINS)


def first_alone(accelerator: Accelerator, act: Callable[[], T]) -> T:
    """What `act` gives, done by the first process before the others, which find what it has cached.

    Raises: in every process, the UserError that it raises in the first.
    """
    if accelerator.num_processes == 1:
        return act()
    from accelerate.utils import broadcast_object_list

    refused: list[UserError | None] = [None]
    if accelerator.is_main_process:
        try:
            found = act()
        except UserError as error:
            refused[0] = error
    broadcast_object_list(refused)
    if refused[0] is not None:
        raise refused[0]
    return found if accelerator.is_main_process else act()


def use_all_cores() -> None:
    """Let a single CPU process use all available cores, unless the user has set a number of threads.

    `accelerate launch` sets OMP_NUM_THREADS=1 for a single CPU process too, which costs a third of the speed or more.
    A 1 under that launcher is therefore ignored; any other number is the user's choice.
    """
    import torch

    chosen = os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS")
    if world()[1] > 1 or (chosen is not None and not (by_accelerate() and chosen == "1")):
        return
    torch.set_num_threads(cores())


def cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
