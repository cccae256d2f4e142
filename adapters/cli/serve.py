"""Serve adapters over HTTP."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from adapters.serving.http.application import Application

HELP = "serve adapters over HTTP, a different one for every request"
GROUP = "Use artifacts"


def settings() -> type:
    """The class of all flags."""
    from adapters.serving.http.settings import Settings

    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap serve`. Raises SettingsError where a package of the extra `serve` is missing."""
    from adapters.serving.http.server import serve

    return serve(argv, application)


def application(name: str, folder: Path, database: str | None) -> Application:
    """The application of that name: its package has a file `serving.py`. Raises SettingsError."""
    root = Path(__file__).resolve().parents[1] / "applications"
    known = sorted({path.parent.name for path in root.glob("*/serving.py")} - {"base"})  # which is none, but shared
    if name not in known:
        raise SettingsError(f"--application {name}={folder}: no such application: {did_you_mean(name, known)}")
    made: Application = importlib.import_module(f"adapters.applications.{name}.serving").application(folder, database)
    return made
