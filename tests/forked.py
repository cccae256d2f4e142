"""Processes for tests, forked from one that has imported the libraries: importing them takes a process seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

from conftest import REPOSITORY, call_recipe

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["forked_libraries"])


class Forked:
    """A process that runs a script (its file first) or a command of taskswap; with the names of `subprocess.Popen`."""

    def __init__(
        self,
        words: Sequence[object],
        log: Path,
        errors: Path | None = None,
        cwd: Path = REPOSITORY,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            words: the command.
            log: takes what it prints.
            errors: takes what it prints to stderr; None: the log takes it too.
            cwd: where it runs.
            environment: variables beside those of this process.
        """
        self.log, self.errors = log, errors or log
        for path in (self.log, self.errors):
            path.touch()
        _start_server()
        given = ([*map(str, words)], [str(self.log), str(self.errors)], str(cwd), {**os.environ, **(environment or {})})
        self.process = CONTEXT.Process(target=_run, args=given)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Its exit code, once it has ended; minus the signal that ended it."""
        return self.process.exitcode

    def wait(self, seconds: float = 200) -> int:
        """Its exit code, when it ends. Raises TimeoutError, and kills it, if that takes longer."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise TimeoutError(f"not ended after {seconds} s: {self.printed()}")
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Tell it to end."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()

    def printed(self) -> str:
        """All that it has printed."""
        return "".join(path.read_text() for path in dict.fromkeys((self.log, self.errors)) if path.exists())

    def until(self, holds: Callable[[], object], seconds: float = 200) -> None:
        """Wait until something holds, which comes before its end."""
        limit = time.monotonic() + seconds
        while not holds():
            assert self.poll() is None and time.monotonic() < limit, self.printed()
            time.sleep(0.02)

    def until_it_prints(self, text: str, seconds: float = 200) -> None:
        """Wait until it has printed a text."""
        self.until(lambda: text in self.printed(), seconds)


def ended(words: Sequence[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """Such a process at its end, with what it printed; the folder takes its logs."""
    process = Forked(words, folder / "stdout", folder / "stderr")
    code = process.wait()
    return subprocess.CompletedProcess([*map(str, words)], code, process.log.read_text(), process.errors.read_text())


def ranks(
    number: int, words: Sequence[object], folder: Path, *, cwd: Path = REPOSITORY, **environment: str
) -> list[Forked]:
    """So many processes of one run, as a launcher starts them. Each has its log in the folder: rank0.log and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(number):
        own = {**shared, "RANK": rank, "LOCAL_RANK": rank}
        given = {**environment, **{name: str(value) for name, value in own.items()}}
        started.append(Forked(words, folder / f"rank{rank}.log", cwd=cwd, environment=given))
    return started


def launched(
    number: int,
    words: Sequence[object],
    folder: Path,
    *,
    codes: Collection[int] = (0,),
    cwd: Path = REPOSITORY,
    **environment: str,
) -> str:
    """So many processes of one run, ended with one of the codes; what all of them print."""
    started = ranks(number, words, folder, cwd=cwd, **environment)
    ended_with = {process.wait() for process in started}
    printed = "".join(process.printed() for process in started)
    assert ended_with <= {*codes}, printed
    return printed


def _start_server() -> None:
    """The process to fork from, if it does not run yet. Python 3.11 does not look for what it preloads in sys.path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def _run(words: list[str], logs: Sequence[str], cwd: str, environment: Mapping[str, str]) -> None:
    """What the forked process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(logs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if words[0].endswith(".py"):
        sys.exit(call_recipe(Path(words[0]), words[1:]))
    from adapters.cli.main import main

    sys.exit(main(words))
