"""How many processes run, and how many cores each takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from conftest import REPOSITORY

from adapters.core import processes
from adapters.core.errors import SettingsError
from adapters.core.launcher import require_one_process, without_launcher
from adapters.core.processes import check_world, cores, use_all_cores, world

LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}
"""What `accelerate launch` sets."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher's variables; torch's number of threads is put back."""
    for name in list(os.environ):
        if name.startswith("ACCELERATE_") or name in (
            "WORLD_SIZE",
            "TASKSWAP_NUM_PROCESSES",
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
        ):
            monkeypatch.delenv(name)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_process_of_its_own_is_the_whole_world() -> None:
    assert world() == (0, 1)
    check_world()


@pytest.mark.parametrize("variable", ["TASKSWAP_NUM_PROCESSES", "WORLD_SIZE"])
def test_fewer_processes_than_were_asked_for_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "2")
    with pytest.raises(SettingsError, match=r"2 processes were requested, but 1 is running.*launch --num_processes 2"):
        check_world()
    monkeypatch.setattr(processes, "world", lambda: (1, 2))
    check_world()
    monkeypatch.setattr(processes, "world", lambda: (1, 4))
    check_world()


@pytest.mark.parametrize("value", ["", "0", "1"])
def test_one_process_is_no_demand(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    check_world()


@pytest.mark.parametrize("value", ["two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(SettingsError, match=f"WORLD_SIZE={value}: must be a number of processes"):
        check_world()


@pytest.mark.parametrize(
    "variables, all_cores",
    [
        ({}, True),
        ({"OMP_NUM_THREADS": "1"}, False),
        ({"OMP_NUM_THREADS": "2"}, False),
        ({"MKL_NUM_THREADS": "1"}, False),
        ({"OMP_NUM_THREADS": ""}, True),
        # `accelerate launch` sets a 1 that nobody chose.
        ({"OMP_NUM_THREADS": "1", **LAUNCHED}, True),
        ({"OMP_NUM_THREADS": "2", **LAUNCHED}, False),
        # Without the launcher, a user of one of Accelerate's variables has chosen the 1.
        ({"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}, False),
    ],
)
def test_a_process_alone_takes_all_cores_unless_the_user_said_a_number(
    variables: dict[str, str], all_cores: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "cores", lambda: 7)
    torch.set_num_threads(3)
    use_all_cores()
    assert torch.get_num_threads() == (7 if all_cores else 3)


def test_one_of_several_processes_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world", lambda: (0, 2))
    monkeypatch.setattr(processes, "cores", lambda: 7)
    torch.set_num_threads(3)
    use_all_cores()
    assert torch.get_num_threads() == 3


def test_cores_are_those_that_this_process_may_use() -> None:
    code = (
        "import os; from adapters.core.processes import cores; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(cores())"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, processes.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_threads_spin_briefly_unless_the_user_says_how_they_wait(given: dict[str, str], spins: str) -> None:
    """In an interpreter of its own, where torch is not imported before."""
    unset = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import os, sys, adapters; assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env={**unset, **given}, capture_output=True, text=True)
    assert done.stdout.strip() == spins, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="torch's OpenMP is GNU's on Linux only")
def test_torchs_own_openmp_reads_how_long_threads_spin() -> None:
    environment = {**os.environ, "OMP_DISPLAY_ENV": "VERBOSE"}
    environment.pop("GOMP_SPINCOUNT", None), environment.pop("OMP_WAIT_POLICY", None)
    code = [sys.executable, "-c", "import adapters, torch"]
    done = subprocess.run(code, env=environment, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{processes.SPINS}'" in done.stderr


def test_the_launchers_variables_do_not_reach_a_process_that_it_did_not_start() -> None:
    launched = {
        "ACCELERATE_MIXED_PRECISION": "no",
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_PORT": "1",
        "LOCAL_RANK": "0",
        "TORCHELASTIC_RUN_ID": "x",
        "OMP_NUM_THREADS": "1",
        "HOME": "/h",
        "TASKSWAP_CACHE": "/c",
    }
    assert without_launcher(launched) == {"HOME": "/h", "TASKSWAP_CACHE": "/c"}
    assert without_launcher({"OMP_NUM_THREADS": "1", "HOME": "/h"}) == {"OMP_NUM_THREADS": "1", "HOME": "/h"}
    assert without_launcher({**launched, "OMP_NUM_THREADS": "2"})["OMP_NUM_THREADS"] == "2"


def test_what_trains_small_models_refuses_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    require_one_process("it is small")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="2: must be 1: it is small"):
        require_one_process("it is small")
