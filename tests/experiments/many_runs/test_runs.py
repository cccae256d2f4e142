"""A run's own process: what ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.core.files import read_json, write_json
from adapters.core.signals import exit_on_sigterm
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.many_runs import local_launcher, planned_run
from adapters.experiments.many_runs.live_table import LiveTable
from adapters.experiments.many_runs.planned_run import PlannedRun, Resources, RunOutcome, Share


@pytest.fixture
def as_a_command() -> Iterator[None]:
    """Signals as a command handles them; where the tests run in the background, Ctrl-C is ignored otherwise."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    exit_on_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_while_a_run_starts_does_not_leave_it_alone(number, raised, as_a_command, monkeypatch, tmp_path):
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        """The signal comes when the process exists, before whoever starts it has its handle."""

        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            started.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(planned_run.subprocess, "Popen", Interrupted)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(raised):
        planned_run._run_alone(Path("none.json"), tmp_path / "none.log", Share(), None)
    assert len(started) == 1
    assert started[0].returncode == -signal.SIGTERM
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_a_run_that_was_interrupted_is_resumed(monkeypatch, tmp_path):
    seen = []

    def run(settings: Path, log: Path, share: Share, held: int | None, verb: str) -> tuple[int, str]:
        assert verb == "train"
        seen.append(read_json(settings))
        return 0, ""

    monkeypatch.setattr(planned_run, "_run_alone", run)
    planned = planned_run.PlannedRun(method="lora", base="b", seed=0, settings={"lora_r": 8})
    planned_run.execute(planned, tmp_path, Share())
    (planned_run.run_folder(planned, tmp_path) / "checkpoints").mkdir(parents=True)
    planned_run.execute(planned, tmp_path, Share())
    assert [given.get("resume_from_checkpoint") for given in seen] == [None, "latest"]
    assert all(given["overwrite_output_dir"] for given in seen), "where no checkpoint is whole, it begins anew"


def planned_runs(number: int) -> list[PlannedRun]:
    return [PlannedRun(method="lora", base="b", seed=seed, settings={"seed": seed}) for seed in range(number)]


def test_runs_at_once_are_as_many_as_said_and_their_outcomes_are_in_order(monkeypatch, tmp_path):
    both, lock, at_once = threading.Barrier(2), threading.Lock(), [0, 0]
    shares = []

    def run(settings: Path, log: Path, share: Share, held: int | None, verb: str) -> tuple[int, str]:
        with lock:
            shares.append((share.processes, share.threads))
            at_once[0] += 1
            at_once[1] = max(at_once)
        both.wait(timeout=60)
        with lock:
            at_once[0] -= 1
        if read_json(settings)["seed"] == 1:
            return 1, "it diverged"
        write_json(settings.with_suffix("") / "scores.json", {"main": {"value": 0.5}})
        return 0, ""

    monkeypatch.setattr(planned_run, "_run_alone", run)
    planned = planned_runs(6)
    resources = Resources(processes=1, cpus=3, at_once=2)
    with LiveTable(planned, tmp_path) as live_table:
        outcomes = local_launcher.run_all(planned, tmp_path, resources, live_table)
    assert at_once == [0, 2] and shares == [(1, 3)] * 6
    assert [outcome.run.seed for outcome in outcomes] == [0, 1, 2, 3, 4, 5]
    assert [outcome.error for outcome in outcomes] == ["", "it diverged", "", "", "", ""]


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_all_runs_at_once(number, raised, as_a_command, monkeypatch, tmp_path):
    started: list[subprocess.Popen[bytes]] = []

    class Endless(subprocess.Popen[bytes]):
        """A run that does not end by itself; the signal comes when the second one has begun."""

        def __init__(self, command: Any, **more: Any) -> None:
            assert more["env"]["OMP_NUM_THREADS"] == "1"
            super().__init__(["sleep", "600"], **more)
            started.append(self)
            if len(started) == 2:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(planned_run.subprocess, "Popen", Endless)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    planned = planned_runs(3)
    with pytest.raises(raised), LiveTable(planned, tmp_path) as live_table:
        local_launcher.run_all(planned, tmp_path, Resources(at_once=2), live_table)
    assert [process.returncode for process in started] == [-signal.SIGTERM] * 2


def test_shots_with_a_seed_of_their_own_are_prompted_once() -> None:
    def seeds(*flags: str) -> list[int]:
        words = ["--methods", "few_shot", "--seeds", "3", *flags]
        planned = Comparison("Compare.", task="ner", defaults={}, argv=words).plan()
        return [run.seed for run in planned]

    assert seeds() == [0, 1, 2]
    assert seeds("--shot_seed", "4") == seeds("--shots", "0") == [0]


def test_the_time_left_is_that_of_runs_of_the_same_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = [
        PlannedRun(method=method, base="", seed=seed, settings={"seed": seed})
        for method in ("majority", "full")
        for seed in (0, 1)
    ]
    with LiveTable(planned, tmp_path) as live:
        for run, seconds in zip(planned, (2.0, 2.0, 600.0), strict=False):
            live.end(RunOutcome(run=run, folder=tmp_path, error="broken", seconds=seconds))
    lines = capsys.readouterr().err.splitlines()
    assert "(2 s), about 4 s left" in lines[1] and "(600 s), about 10 min left" in lines[2]


def test_the_name_of_a_run_is_the_same_in_every_release() -> None:
    """A run on disk is found again by it."""
    settings = {"task": "ner", "method": "lora", "seed": 1, "lora_r": 8, "max_length": None, "output_dir": "elsewhere"}
    run = PlannedRun(method="lora", base="an-organisation/minilm", seed=1, size="50", settings=settings, data="abc")
    assert run.name == "lora-minilm-50-seed1-c20ef66bd7"
