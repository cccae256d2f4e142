"""Cells of a comparison: which runs it takes, and each of them in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.files import digest_value, write_json
from adapters.settings import INCIDENTAL

LAUNCHERS = ("ACCELERATE_", "TORCHELASTIC_", "OMPI_", "PMI_", "MV2_", "TASKSWAP_NUM_PROCESSES")
RANKS = frozenset({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR",
                   "MASTER_PORT", "ROLE_NAME", "ROLE_WORLD_SIZE", "GROUP_WORLD_SIZE", "FORK_LAUNCH"})  # fmt: skip
_REASON_LINES = 6


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a comparison.

    Attributes:
        method: name of the method.
        base: base model as the user named it.
        seed: of the run.
        size: number of training examples where the comparison varies it, else empty.
        settings: of the run, `task` and `method` among them, without `output_dir`.
        data: digest of the data's contents, so that files changed in place are other cells.
    """

    method: str
    base: str
    seed: int
    size: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""

    @property
    def row(self) -> tuple[str, str, str]:
        """Cells of one row differ in their seed alone."""
        return self.method, self.base, self.size

    @property
    def name(self) -> str:
        """Name of the cell's folder: the same settings have the same name, so a finished cell is found again."""
        settings = {name: value for name, value in self.settings.items() if name not in INCIDENTAL}
        size = f"-{self.size}" if self.size else ""
        digest = digest_value([settings, self.data])[:10]
        return f"{self.method}-{Path(self.base).name}{size}-seed{self.seed}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell: a run's folder, or why there is none."""

    cell: Cell
    folder: Path
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a launcher gives to each cell.

    Attributes:
        processes: how many a cell is shared among.
        cpus: cores.
        gpus: GPUs, or a part of one; None leaves it to the launcher.
        at_once: how many cells may run at the same time; None: as many as there is room for.
    """

    processes: int = 1
    cpus: int = 1
    gpus: float | None = None
    at_once: int | None = None


def own_folder(cell: Cell, folder: Path) -> Path:
    """The folder of a cell's run, below that of the comparison."""
    return folder / "cells" / cell.name


def finished(folder: Path) -> bool:
    """Whether a run ended there: scores.json is written when all else that is compared stands."""
    return (folder / "scores.json").is_file()


def run(cell: Cell, folder: Path, processes: int) -> Outcome:
    """Run a cell that is not finished yet, as `python -m adapters run` does, in a process of its own.

    Args:
        cell: what to run.
        folder: of the comparison; the cell's own is below it.
        processes: how many a cell is shared among.
    """
    own, begin = own_folder(cell, folder), time.perf_counter()
    if not finished(own):
        write_settings(cell, folder)
    _, error = run_written(cell.name, folder, processes)
    return Outcome(cell=cell, folder=own, error=error, seconds=time.perf_counter() - begin)


def write_settings(cell: Cell, folder: Path) -> None:
    """Write what a cell's process reads: its settings, beside its folder."""
    settings = {**cell.settings, "output_dir": str(own_folder(cell, folder)), "overwrite_output_dir": True}
    write_json(folder / "cells" / f"{cell.name}.json", settings)


def run_written(name: str, folder: Path, processes: int) -> tuple[int, str]:
    """Run a cell whose settings are written, unless it is finished; its exit code, and the reason where that is not 0.

    Args:
        name: of the cell.
        folder: of the comparison.
        processes: how many the cell is shared among.
    """
    cells = folder / "cells"
    with _lock(cells / f"{name}.lock") as held:
        if finished(cells / name):
            return 0, ""
        return _run_alone(cells / f"{name}.json", cells / f"{name}.log", processes, held)


@contextmanager
def _lock(path: Path) -> Iterator[int | None]:
    """Wait until no process runs the cell; yields what a cell's process must inherit to hold the lock too.

    A comparison that is killed leaves its cell running. The lock lives as long as that process, so the next comparison
    waits for it and finds the cell finished, where both would write into one folder otherwise. POSIX only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield None
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"waiting for {path.stem}, which an earlier comparison left running", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _run_alone(settings: Path, log: Path, processes: int, held: int | None) -> tuple[int, str]:
    """Run the command to its end; its exit code, and the reason if it failed."""
    several = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"] if processes > 1 else []
    command = [sys.executable, "-m", *several, "adapters", "run", str(settings)]
    inherited = () if held is None else (held,)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env=clean_environment(os.environ), stdout=stream, stderr=subprocess.STDOUT,
                                   pass_fds=inherited)  # fmt: skip
        try:
            code = _end(process)
        except BaseException:  # Ctrl-C or SIGTERM: the cell must not go on alone
            process.terminate()
            process.wait()
            raise
    return code, _reason(log, code) if code else ""


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, a second at a time: an interruption without a signal (Ray's) is heeded in between only."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=1)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a launcher left in it: a cell is started by the comparison, not by that launcher.

    A launcher's OMP_NUM_THREADS=1 goes with it; one that the user chose stays.
    """
    launched = any(name.startswith("ACCELERATE_") or name == "LOCAL_RANK" for name in environment)
    dropped = {name for name in environment if name.startswith(LAUNCHERS) or name in RANKS}
    if launched and environment.get("OMP_NUM_THREADS") == "1":
        dropped.add("OMP_NUM_THREADS")
    return {name: value for name, value in environment.items() if name not in dropped}


def _reason(log: Path, code: int) -> str:
    """The end of what a failed cell said."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    signal = f"ended by signal {-code}; " if code < 0 else ""
    said = "\n".join(lines[-_REASON_LINES:])
    return f"{signal}exit code {code}: {said}" if code != 2 or not said else said


def read_json(path: Path) -> dict[str, Any]:
    """One of our JSON files."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def rows(cells: Sequence[Cell]) -> list[tuple[str, str, str]]:
    """The rows of some cells, in order."""
    return list(dict.fromkeys(cell.row for cell in cells))
