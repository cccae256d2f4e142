"""Runs of an experiment, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.core.files import digest_value, locked, read_json, write_json
from adapters.core.launcher import without_launcher
from adapters.core.settings import lasting
from adapters.core.signals import SignalGuard

_REASON_LINES = 6
FAILED = (1, 2)
"""Exit codes of a run that failed by itself; others are of a signal, or of lacking memory."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of an experiment.

    Attributes:
        method: name of the method.
        base: base model as the user named it; empty of a method without one.
        seed: of the run.
        size: number of training examples where the experiment varies it, otherwise empty.
        settings: of the run, including `task` and `method`, without `output_dir`; `command`, if it is not train.
        data: digest of the contents of data, plugin and prompt files, so that changed files make new runs.
        rung: of a trial of a search, how long it trains, in words; otherwise empty.
    """

    method: str
    base: str
    seed: int
    size: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    rung: str = ""

    @property
    def row(self) -> tuple[str, str, str]:
        """Runs of one row differ only in their seed; those of a rung in their settings."""
        return self.method, self.base, self.rung or self.size

    @property
    def name(self) -> str:
        """Name of the run's folder: equal settings have equal names, so a finished run is found again."""
        parts = [self.method, Path(self.base).name, self.size, "trial" if self.rung else f"seed{self.seed}"]
        return "-".join([*filter(None, parts), digest_value([lasting(self.settings), self.data])[:10]])


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """The outcome of a run: its folder, or the reason of its failure."""

    run: PlannedRun
    folder: Path
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of each run.

    Attributes:
        processes: number of processes.
        cpus: number of cores.
        gpus: number of GPUs, or a fraction of one; None leaves it to the launcher.
        at_once: number of runs at the same time; None: no limit.
    """

    processes: int = 1
    cpus: int = 1
    gpus: float | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class Share:
    """What a run is given of the machine on which it runs.

    Attributes:
        processes: number of processes.
        threads: of each; None: as torch chooses, unless the user's OMP_NUM_THREADS is set.
        stop: ends the run when it is set, from another thread.
    """

    processes: int = 1
    threads: int | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def run_folder(run: PlannedRun, folder: Path) -> Path:
    """The folder of a run, below that of the experiment."""
    return folder / "runs" / run.name


def ended(folder: Path) -> bool:
    """Whether nothing is left to do for a run: it has finished, or failed and is not tried again."""
    return finished(folder) or failure(folder).is_file()


def finished(folder: Path) -> bool:
    """Whether a run has finished there: scores.json is written after everything else that is compared."""
    return (folder / "scores.json").is_file()


def execute(run: PlannedRun, folder: Path, share: Share) -> RunOutcome:
    """Run a run that is not finished yet, by `python -m adapters train` in a process of its own.

    Args:
        run: what to run.
        folder: of the experiment; the run's own is below it.
        share: what the run is given of the machine.
    """
    own, begin = run_folder(run, folder), time.perf_counter()
    if not ended(own):
        write_settings(run, folder)
    _, error = execute_written(run.name, folder, share)
    took = time.perf_counter() - begin
    if error and failure(own).is_file():  # also of a former call
        took = _failed(failure(own)).get("seconds", took)
    return RunOutcome(run=run, folder=own, error=error, seconds=took)


def write_settings(run: PlannedRun, folder: Path) -> None:
    """Write the settings that a run's process reads, next to its folder."""
    settings = {**run.settings, "output_dir": str(run_folder(run, folder)), "overwrite_output_dir": True}
    write_json(folder / "runs" / f"{run.name}.json", settings)


def execute_written(name: str, folder: Path, share: Share, *, once: bool = False) -> tuple[int, str]:
    """Run a run whose settings are written, unless it is finished; returns exit code and reason of failure.

    Args:
        name: of the run.
        folder: of the experiment.
        share: what the run is given of the machine.
        once: whether a failure is kept, as that of a trial always is, so that the run is not tried again.
    """
    runs = folder / "runs"
    with locked(runs / f"{name}.lock") as held:
        if finished(runs / name):
            return 0, ""
        settings, failed = runs / f"{name}.json", failure(runs / name)
        if failed.is_file():
            return 1, str(_failed(failed)["error"])
        if (runs / name / "checkpoints").is_dir():  # it was interrupted
            write_json(settings, {**read_json(settings), "resume_from_checkpoint": "latest"})
        given, begin = read_json(settings), time.perf_counter()
        code, error = _run_alone(settings, runs / f"{name}.log", share, held, given.get("command", "train"))
        if code in FAILED and (given.get("trial") or once):
            hint = "" if given.get("trial") else f" (To run it again, delete {failed}.)"
            write_json(failed, {"error": f"{error}{hint}", "seconds": round(time.perf_counter() - begin, 2)})
        return code, error


def failure(folder: Path) -> Path:
    """The file of a run that has failed by itself and is not tried again: the reason, and the seconds it took."""
    return folder.with_name(f"{folder.name}.failed")


def _failed(path: Path) -> dict[str, Any]:
    """The contents of a file of `failure`; of an older one, which has the reason alone, that."""
    try:
        return dict(read_json(path))
    except ValueError:
        return {"error": path.read_text(encoding="utf-8")}


def _run_alone(settings: Path, log: Path, share: Share, held: int | None, verb: str = "train") -> tuple[int, str]:
    """Run a command on a file of settings to its end; its exit code, and the reason if it failed."""
    launcher = ["adapters.cli.base.launched", "torch.distributed.run", "--standalone"]
    several = [*launcher, f"--nproc_per_node={share.processes}", "-m"] if share.processes > 1 else []
    command = [sys.executable, "-m", *several, "adapters", verb, str(settings)]
    inherited = () if held is None else (held,)
    environment = without_launcher(os.environ)
    if share.threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(share.threads))
    with log.open("w", encoding="utf-8") as stream, SignalGuard() as guard:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=subprocess.STDOUT, pass_fds=inherited
        )
        try:
            guard.release()  # a signal that came during the start is handled here, where the process is known
            code = _end(process, share.stop)
        except BaseException:  # Ctrl-C or SIGTERM: the run must not continue alone
            process.terminate()
            process.wait()
            raise
    return code, _reason(log, code) if code else ""


def _end(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    """Wait for a process, a second at a time: between waits, an interruption without a signal can act (`stop`, Ray's).

    Raises:
        KeyboardInterrupt: `stop` is set.
    """
    while not stop.is_set():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=1)
    raise KeyboardInterrupt


def _reason(log: Path, code: int) -> str:
    """The end of a failed run's log."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    signal = f"ended by signal {-code}; " if code < 0 else ""
    last = "\n".join(lines[-_REASON_LINES:])
    return f"{signal}exit code {code}: {last}" if code != 2 or not last else last


def row_keys(runs: Sequence[PlannedRun]) -> list[tuple[str, str, str]]:
    """The rows of some runs, in order."""
    return list(dict.fromkeys(run.row for run in runs))
