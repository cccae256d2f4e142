"""What an application is to a server: routes, a page, and what it opens on the server's bank.

The server imports no application: `taskswap serve --application NAME=RUN` finds `applications/NAME/serving.py`, whose
`application(folder, database)` returns one, and hands it over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from fastapi import APIRouter, Response

from adapters.core.errors import SettingsError
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings

if TYPE_CHECKING:
    from adapters.serving.bank.bank import AdapterBank

DATABASE = "TASKSWAP_DATABASE"
"""Environment variable with what `--database` has: a URL with a password belongs there."""

EVENTS = "text/event-stream"
"""Content type of server-sent events."""
PRIVATE = {"Cache-Control": "no-store"}
"""Headers of an answer that is for its client alone."""


class Application(Protocol):
    """Something that is served beside adapters, on their bank.

    Attributes:
        name: below which its page is: `/NAME/`.
        base: the base model of its adapters, which is the server's if `--base` is not given.
        page: folder of HTML, CSS and JavaScript files, `index.html` among them, served under the policy of the server's
            own page: nothing inline, nothing from elsewhere. None for no page.
    """

    name: str
    base: str
    page: Path | None

    def routes(self, service: Service) -> Sequence[APIRouter]:
        """Its paths, below `/v1/`. They are there before `open` was called: `service.ready_bank()` refuses till then.

        Each group is made by `token_router`, with the token that it needs (`service.tokens.check_predict`,
        `check_staff`, `check_admin`); the server includes no other. A route refuses by `Refusal`, and logs texts by
        `service.log_texts`, which masks personal data. Size and duration of requests are bounded for all routes;
        several clients' requests share batches by a `Batcher` of the application's own.
        """

    def open(self, bank: AdapterBank) -> None:
        """Load what it answers with, in a thread, before the server says that it is ready. Raises UserError."""

    def close(self) -> None:
        """Finish what was admitted, and end threads and connections. Blocks; also called where `open` was not."""


Find = Callable[[str, Path, str | None], Application]
"""An application by its name, its folder and its database. Raises SettingsError."""


def found(settings: Settings, find: Find) -> list[Application]:
    """The applications that the settings name. Raises SettingsError."""
    database = settings.database or os.environ.get(DATABASE)
    return [find(name, folder, database) for name, folder in settings.applications().items()]


def base_of(applications: Sequence[Application]) -> str | None:
    """The base model of applications; None without any. Raises SettingsError where they differ."""
    bases = {application.base: application.name for application in applications}
    if len(bases) > 1:
        raise SettingsError(
            f"--application: {' and '.join(bases.values())} have different base models ({', '.join(bases)}), and a "
            "server has one. Start a server for each."
        )
    return next(iter(bases), None)


def private(value: Any) -> Response:
    """A JSON value, for its client alone."""
    return Response(orjson.dumps(value), media_type="application/json", headers=PRIVATE)


def event(name: str, data: bytes, number: int | None = None) -> bytes:
    """A server-sent event. Args: name; data: JSON on one line; number: its id, after which a client goes on."""
    mark = b"" if number is None else b"id: %d\n" % number
    return mark + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
