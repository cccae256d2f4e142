"""What an adapter of a bank may be called."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
AUTO = "auto"
"""In a request the name of whichever adapter the router chooses; so no adapter may have it."""


def fault_of(name: object) -> str | None:
    """Why an adapter cannot have a name; None if it can."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"{str(name)[:80]!r} is not a valid adapter name: it must match {NAME.pattern}."
    if name == AUTO:
        return f"{AUTO!r} is not a valid adapter name: it requests the adapter that the router chooses. Choose another."
    return None
