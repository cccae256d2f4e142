"""Serve adapters over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.core.errors import SettingsError

HELP = "serve adapters over HTTP, a different one for every request"
GROUP = "Use artifacts"


def settings() -> type:
    """The class of all flags."""
    from adapters.serving.http.settings import Settings

    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap serve`. Raises SettingsError where a package of the extra `serve` is missing."""
    try:
        from adapters.serving.http.server import serve
    except ImportError as error:
        if (error.name or "").startswith("adapters"):
            raise
        raise SettingsError(f"serve needs {error.name}: pip install 'taskswap[serve]'.") from error
    return serve(argv)
