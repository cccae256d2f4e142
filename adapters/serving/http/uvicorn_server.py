"""The server process: uvicorn with this project's application, log lines and exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

import uvicorn

from adapters.serving.http.app import create
from adapters.serving.http.application import Application
from adapters.serving.http.auth import ADMIN, Tokens
from adapters.serving.http.protocol import bounded_connection
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings
from adapters.serving.http.telemetry import JsonLines, PlainLines

BACKLOG = 1024
ALL = ("0.0.0.0", "::")
"""Addresses to listen on that mean every one of this machine, and that no browser opens."""


def run(settings: Settings, listener: socket.socket, applications: Sequence[Application] = ()) -> int:
    """Serve on a bound socket. Returns the exit code and raises as `server.serve`."""
    server = Server(Service(settings), settings, applications)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises again the signals that it has handled
        signal.signal(number, signal.SIG_IGN)
    server.run([listener])
    if server.failed is not None:
        raise server.failed
    if signal.SIGINT in server.signals:
        return 130
    return 143 if server.cut_short else 0


class Server(uvicorn.Server):
    """uvicorn, answering while the base is still being opened, and recording how it ended."""

    def __init__(self, service: Service, settings: Settings, applications: Sequence[Application] = ()) -> None:
        """Args: the service, the settings, and what is served on its bank."""
        config = uvicorn.Config(
            create(service, applications),
            http=bounded_connection(settings.read_timeout_s),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=settings.grace_s,
            backlog=BACKLOG,
            server_header=False,
            date_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_keep_alive=int(settings.read_timeout_s) + 1,
        )
        super().__init__(config)
        self.service, self.settings = service, settings
        self.loop: asyncio.AbstractEventLoop | None = None
        self.signals: list[int] = []
        self.failed: BaseException | None = None
        self.cut_short = False
        self.log = logging.getLogger("adapters.serving")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and open the base in a thread."""
        await super().startup(sockets)
        self.began, self.loop = time.perf_counter(), asyncio.get_running_loop()
        host, port = (sockets or [])[0].getsockname()[:2]
        self.log.info("listening", extra={"fields": {"url": _url(host, port), "process": os.getpid()}})
        self.url = _url("localhost" if host in ALL else host, port)
        if self.service.tokens.generated:
            show(self.service.tokens)
        self.service.open_in_background(self._opened)

    def _opened(self, error: BaseException | None) -> None:
        """Called in the thread that opens the base."""
        if error is None:
            seconds = round(time.perf_counter() - self.began, 1)
            fields = {"url": self.url, "base": self.settings.base, "seconds": seconds}
            self.log.info("ready", extra={"fields": fields})
        else:
            self.failed, self.should_exit = error, True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Admit no further requests."""
        self.signals.append(sig)
        self.log.info("stopping", extra={"fields": {"signal": signal.Signals(sig).name}})
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.service.drain)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the admitted requests, within the grace period."""
        begin = time.perf_counter()
        await super().shutdown(sockets)
        self.cut_short = time.perf_counter() - begin > self.settings.grace_s


def show(tokens: Tokens) -> None:
    """Say which admin token was made up: nobody could load anything without it."""
    fields = {"admin_token": tokens.admin.decode(), "own": f"set {ADMIN}, or give --admin_token_file"}
    logging.getLogger("adapters.serving").info("generated an admin token for this start", extra={"fields": fields})


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def log_to(stream: TextIO) -> None:
    """Write log lines to a stream: all of this project, warnings of uvicorn, and Python's warnings.

    On a terminal they are for people to read, elsewhere JSON.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainLines() if stream.isatty() else JsonLines())
    logging.captureWarnings(True)
    for name, level in (
        ("adapters.serving", logging.INFO),
        ("uvicorn", logging.WARNING),
        ("py.warnings", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
