"""Processes for tests, forked from one that has imported the libraries: importing them takes a process seconds."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from conftest import REPOSITORY, call_recipe

LIBRARIES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "adapters.models.peft_library",
    "adapters.experiments.run",
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*LIBRARIES])


def start(words: Sequence[object], log: Path, **environment: str) -> ForkServerProcess:
    """A started process that runs a recipe (its file first), or a command of taskswap; what it prints is in the log."""
    process = CONTEXT.Process(target=_run, args=([*map(str, words)], str(log), {**os.environ, **environment}))
    process.start()
    return process


def until_it_prints(text: str, process: ForkServerProcess, log: Path, seconds: float = 200) -> None:
    """Wait until a process has printed a text."""
    limit = time.monotonic() + seconds
    while not (log.exists() and text in log.read_text()):
        assert process.is_alive() and time.monotonic() < limit, log.read_text() if log.exists() else "nothing printed"
        time.sleep(0.02)


def stopped(number: int, process: ForkServerProcess, log: Path) -> tuple[int, str]:
    """Send a signal to a process: its exit code, and all that it printed."""
    assert process.pid is not None
    os.kill(process.pid, number)
    return _wait(process), log.read_text()


def launched(
    number: int, words: Sequence[object], folder: Path, *, codes: Collection[int] = (0,), **environment: str
) -> str:
    """So many processes of one run, as a launcher starts them, ended with one of the codes; what all of them print.

    Each has its log in the folder: rank0.log and so on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    own = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(number)]
    ranks = [
        start(words, folder / f"rank{rank}.log", **environment, **{name: str(value) for name, value in one.items()})
        for rank, one in enumerate(own)
    ]
    ended_with = [_wait(rank) for rank in ranks]
    printed = "".join((folder / f"rank{rank}.log").read_text() for rank in range(number))
    assert {*ended_with} <= {*codes}, printed
    return printed


def _wait(process: ForkServerProcess, seconds: float = 200) -> int:
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"not ended after {seconds} s")
    return process.exitcode


def _run(words: list[str], log: str, environment: Mapping[str, str]) -> None:
    """What the forked process does."""
    os.chdir(REPOSITORY)
    os.environ.clear()
    os.environ.update(environment)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if words[0].endswith(".py"):
        sys.exit(call_recipe(REPOSITORY / words[0], words[1:]))
    from adapters.cli.main import main

    sys.exit(main(words))
