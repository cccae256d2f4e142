"""Adapters of one base, answered over HTTP until SIGTERM or Ctrl-C: python -m adapters serve --adapter ner=FOLDER."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import uvicorn

from adapters import flags
from adapters.errors import SettingsError
from adapters.server import Settings
from adapters.server.app import create
from adapters.server.connections import patient
from adapters.server.observing import Lines
from adapters.server.service import Service
from adapters.server.workers import LISTENER, supervise

BACKLOG = 1024
REPEATED = ("--adapter", "--plugin_dir", "--plugin-dir")


def serve(argv: Sequence[str]) -> int:
    """Run a server.

    Returns:
        The exit code: 0 where all that was admitted was answered before a SIGTERM ended it, 143 where not, 130 Ctrl-C.

    Raises:
        UserError: a setting, the base or an adapter that cannot be used.
    """
    settings: Settings = flags.parse(Settings, {}, __doc__ or "", _once(argv))
    settings.check()
    log_to(sys.stderr)
    if LISTENER in os.environ:  # a worker: its supervisor has the port
        return run(settings, socket.socket(fileno=int(os.environ[LISTENER])))
    with _bound(settings) as listener:
        return supervise(settings.workers, argv, listener) if settings.workers > 1 else run(settings, listener)


def run(settings: Settings, listener: socket.socket) -> int:
    """Serve from this process, on a bound socket; see `serve`."""
    server = Server(Service(settings), settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn sends itself again what it has heeded
        signal.signal(number, signal.SIG_IGN)
    server.run([listener])
    if server.failed is not None:
        raise server.failed
    if signal.SIGINT in server.signals:
        return 130
    return 143 if server.cut_short else 0


class Server(uvicorn.Server):
    """uvicorn, which answers while the base is still being opened, and says how it ended."""

    def __init__(self, service: Service, settings: Settings) -> None:
        """Args: what to serve, and how."""
        config = uvicorn.Config(
            create(service), http=patient(settings.read_timeout_s), ws="none", lifespan="on", log_config=None,
            access_log=False, timeout_graceful_shutdown=settings.grace_s, backlog=BACKLOG, server_header=False,
            date_header=False, timeout_keep_alive=int(settings.read_timeout_s) + 1,
        )  # fmt: skip
        super().__init__(config)
        self.service, self.settings = service, settings
        self.loop: asyncio.AbstractEventLoop | None = None
        self.signals: list[int] = []
        self.failed: BaseException | None = None
        self.cut_short = False
        self.log = logging.getLogger("adapters.server")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and open the base in a thread."""
        await super().startup(sockets)
        self.began, self.loop = time.perf_counter(), asyncio.get_running_loop()
        host, port = (sockets or [])[0].getsockname()[:2]
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.log.info("listening", extra={"fields": {"url": where, "process": os.getpid()}})
        self.service.open_aside(self._opened)

    def _opened(self, error: BaseException | None) -> None:
        """Told in the thread that opens the base."""
        if error is None:
            seconds = round(time.perf_counter() - self.began, 1)
            self.log.info("ready", extra={"fields": {"base": self.settings.base, "seconds": seconds}})
        else:
            self.failed, self.should_exit = error, True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take in nothing new."""
        self.signals.append(sig)
        self.log.info("stopping", extra={"fields": {"signal": signal.Signals(sig).name}})
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.service.drain)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was admitted, within the time of grace."""
        begin = time.perf_counter()
        await super().shutdown(sockets)
        self.cut_short = time.perf_counter() - begin > self.settings.grace_s


def log_to(stream: Any) -> None:
    """Write log lines to a stream: this project's all, uvicorn's from warnings on, Python's warnings among them."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    logging.captureWarnings(True)
    for name, level in (
        ("adapters.server", logging.INFO),
        ("uvicorn", logging.WARNING),
        ("py.warnings", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _bound(settings: Settings) -> socket.socket:
    """A socket at the address. Raises SettingsError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"--host {settings.host} --port {settings.port}: cannot listen there ({error}). Choose others."
        ) from error
    return listener


def _once(argv: Sequence[str]) -> list[str]:
    """Flags in which lists that were given in several parts stand once, whole."""
    parts: dict[str, list[str]] = {}
    out: list[str] = []
    name = ""
    for word in argv:
        flag, equals, value = word.partition("=")
        if word.startswith("--") and flag in REPEATED:
            name = flag.replace("-", "_").replace("__", "--", 1)
            parts.setdefault(name, []).extend([value] if equals else [])
        elif word.startswith("--") or not name:
            name = ""
            out.append(word)
        else:
            parts[name].append(word)
    return out + [word for flag, values in parts.items() for word in (flag, *values)]
