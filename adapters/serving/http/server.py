"""Serve adapters of one base model over HTTP until SIGTERM or Ctrl-C: taskswap serve --adapter ner=FOLDER."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.core import arguments, flags
from adapters.core.environment import install_command
from adapters.core.errors import SettingsError
from adapters.serving.http.settings import RUNTIMES, Settings

if TYPE_CHECKING:
    from adapters.serving.http.application import Find


def serve(argv: Sequence[str], find: Find) -> int:
    """Run a server.

    Args:
        argv: the flags.
        find: finds the applications that they name.

    Returns:
        The exit code: after SIGTERM 0 if all admitted requests were answered, else 143; after Ctrl-C 130.

    Raises:
        UserError: a setting, the base or an adapter cannot be used, or a package of the extra `serve` is missing.
    """
    settings: Settings = arguments.parse(Settings, {}, __doc__ or "", argv)
    settings.check()
    try:  # after the flags: these imports take longer than --help may
        from adapters.serving.bank.card_check import check_cards, named_base
        from adapters.serving.http.application import base_of, found
        from adapters.serving.http.auth import ADMIN, Tokens
        from adapters.serving.http.uvicorn_server import log_to, run, show
        from adapters.serving.http.workers import LISTENER, supervise
    except ImportError as error:
        if (error.name or "").startswith("adapters"):
            raise
        raise SettingsError(f"serve needs {error.name}: {install_command('serve')}.") from error
    applications = found(settings, find)
    on_base = settings.runtime == RUNTIMES[0]  # exports have no base to wait for
    base = base_of(applications)
    if base is None and on_base and "base" not in flags.given(argv):
        base = named_base(settings.adapters(), settings.plugin_dir)
    if base is not None and "base" not in flags.given(argv):
        settings = replace(settings, base=base)
    if LISTENER not in os.environ and on_base:
        router = None if settings.router is None else Path(settings.router)
        check_cards(settings.adapters(), settings.base, router, settings.plugin_dir)
    log_to(sys.stderr)
    if LISTENER in os.environ:  # a worker: its supervisor has bound the port
        return run(settings, socket.socket(fileno=int(os.environ[LISTENER])), applications)
    with bound_socket(settings) as listener:
        if settings.workers > 1:
            if (tokens := Tokens.of(settings)).generated:  # one for all of them
                os.environ[ADMIN] = tokens.admin.decode()
                show(tokens)
            return supervise(settings.workers, argv, listener)
        return run(settings, listener, applications)


def bound_socket(settings: Settings) -> socket.socket:
    """A socket bound to the address. Raises SettingsError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"--host {settings.host} --port {settings.port}: cannot listen on it ({error}). Choose another address."
        ) from error
    return listener
