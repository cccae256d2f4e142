"""How often Python looks for garbage in a command's process."""

from __future__ import annotations

import gc


def look_seldom() -> None:
    """Look for garbage a tenth as often as by default.

    The libraries' imports make hundreds of thousands of objects, all of which stay: looking through them again and
    again takes a fifth of a command's start.
    """
    gc.set_threshold(10_000, 10, 10)
