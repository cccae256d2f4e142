"""Several processes on one port: started, monitored, restarted, and stopped together."""

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

from adapters.core.processes import cores
from adapters.serving.http.telemetry import SHARED

LISTENER = "TASKSWAP_LISTENER"
"""Environment variable: the file descriptor of the socket on which a worker serves."""
POLL_SECONDS = 0.1
RESTART_SECONDS = 1.0
"""Delay before a worker that ended by itself is restarted."""
USER_ERROR = 2


def supervise(workers: int, argv: Sequence[str], listener: socket.socket) -> int:
    """Run several workers until a signal ends them; returns the exit code.

    Args:
        workers: number of processes, which share the cores.
        argv: this process's flags.
        listener: a bound socket, on which all of them listen.
    """
    log = logging.getLogger("adapters.serving")
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda sig, _: signals.append(sig))
    with tempfile.TemporaryDirectory() as counts:
        running = [_start(argv, listener, counts, workers) for _ in range(workers)]
        while not signals:
            time.sleep(POLL_SECONDS)
            for index, worker in enumerate(running):
                code = worker.poll()
                if code is None:
                    continue
                log.error("a worker ended", extra={"fields": {"process": worker.pid, "code": code}})
                _forget(worker.pid, counts)
                if code == USER_ERROR:  # it has printed the error, and would fail again
                    _stop(running)
                    return code
                time.sleep(RESTART_SECONDS)
                running[index] = _start(argv, listener, counts, workers)
        codes = _stop(running)
    if signal.SIGINT in signals:
        return 130
    return max(codes)


def _start(argv: Sequence[str], listener: socket.socket, counts: str, workers: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, LISTENER: str(listener.fileno()), SHARED: counts}
    environment.setdefault("OMP_NUM_THREADS", str(max(cores() // workers, 1)))
    command = [sys.executable, "-m", "adapters", "serve", *argv]
    return subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Stop all workers; returns their exit codes."""
    for worker in running:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
    return [128 - code if (code := worker.wait()) < 0 else code for worker in running]


def _forget(process: int, counts: str) -> None:
    """Remove the gauges of a worker that has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process, counts)  # type: ignore[no-untyped-call]  # untyped in prometheus-client
