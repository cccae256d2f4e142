"""Several processes on one port: started, watched, started again, and stopped together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from adapters.processes import cores
from adapters.server.observing import SHARED

LISTENER = "TASKSWAP_LISTENER"
"""Names the file descriptor of the socket on which a worker is to serve."""
POLL_SECONDS = 0.1
AGAIN_SECONDS = 1.0
"""How long a worker that ended by itself stays away."""
USERS_FAULT = 2


def supervise(workers: int, argv: Sequence[str], listener: socket.socket) -> int:
    """Run several workers until a signal ends them; returns the exit code.

    Args:
        workers: how many; they share the cores.
        argv: the flags that this process was given.
        listener: a bound socket, which all of them listen at.
    """
    log = logging.getLogger("adapters.server")
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda sig, _: asked.append(sig))
    with tempfile.TemporaryDirectory() as counts:
        running = [_start(argv, listener, counts, workers) for _ in range(workers)]
        while not asked:
            time.sleep(POLL_SECONDS)
            for place, worker in enumerate(running):
                code = worker.poll()
                if code is None:
                    continue
                log.error("a worker ended", extra={"fields": {"process": worker.pid, "code": code}})
                _forget(worker.pid, counts)
                if code == USERS_FAULT:  # it has said what is wrong, and would again
                    _stop(running)
                    return code
                time.sleep(AGAIN_SECONDS)
                running[place] = _start(argv, listener, counts, workers)
        codes = _stop(running)
    if signal.SIGINT in asked:
        return 130
    return max(codes)


def _start(argv: Sequence[str], listener: socket.socket, counts: str, workers: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, LISTENER: str(listener.fileno()), SHARED: counts}
    environment.setdefault("OMP_NUM_THREADS", str(max(cores() // workers, 1)))
    command = [sys.executable, "-m", "adapters", "serve", *argv]
    return subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Ask all workers to finish; their exit codes."""
    for worker in running:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
    return [128 - code if (code := worker.wait()) < 0 else code for worker in running]


def _forget(process: int, counts: str) -> None:
    """Let the gauges of a worker that has ended no longer count."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process, counts)  # type: ignore[no-untyped-call]  # theirs
