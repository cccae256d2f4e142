"""What a launcher (`accelerate launch`, torchrun, mpirun) leaves in the environment of the processes that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from adapters.core.errors import SettingsError

REQUESTED_VARIABLE = "TASKSWAP_NUM_PROCESSES"
WORLD_VARIABLE = "WORLD_SIZE"
OF_ACCELERATE = frozenset({"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"})
"""What `accelerate launch` always sets. Users set one of Accelerate's variables themselves, but not both of these."""
_PREFIXES = ("ACCELERATE_", "TORCHELASTIC_", "OMPI_", "PMI_", "MV2_", REQUESTED_VARIABLE)
_NAMES = frozenset(
    {
        "RANK",
        WORLD_VARIABLE,
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "ROLE_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "ROLE_NAME",
        "ROLE_WORLD_SIZE",
        "GROUP_WORLD_SIZE",
        "FORK_LAUNCH",
    }
)


def by_accelerate(environment: Mapping[str, str] | None = None) -> bool:
    """Whether `accelerate launch` has started this process, or the one of the given environment."""
    return (os.environ if environment is None else environment).keys() >= OF_ACCELERATE


def requested_processes() -> int:
    """The number of processes that a launcher was asked for; 1 without one. Raises SettingsError."""
    return max(_number(name) for name in (REQUESTED_VARIABLE, WORLD_VARIABLE))


def require_one_process(why: str) -> None:
    """Raises SettingsError, with the reason, in one of several processes that a launcher has started."""
    processes = _number(WORLD_VARIABLE)
    if processes > 1:
        raise SettingsError(f"--num_processes {processes}: must be 1: {why}.")


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that the launcher of this one has not started.

    Its OMP_NUM_THREADS=1 is removed as well; a number that the user chose stays.
    """
    dropped = {name for name in environment if name.startswith(_PREFIXES) or name in _NAMES}
    launched = by_accelerate(environment) or "LOCAL_RANK" in environment
    if launched and environment.get("OMP_NUM_THREADS") == "1":
        dropped.add("OMP_NUM_THREADS")
    return {name: value for name, value in environment.items() if name not in dropped}


def _number(variable: str) -> int:
    """The number in an environment variable, 1 if it is not set."""
    value = os.environ.get(variable) or "1"
    if not value.isdecimal():
        raise SettingsError(f"{variable}={value}: must be a number of processes. Unset it, or let the launcher set it.")
    return int(value)
