"""How large the inputs of a request are, told before they are tokenised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPECIAL = 2
"""Pieces around a text."""
CHARACTERS_A_PIECE, OTHERS_A_PIECE = 5, 2
"""Of ASCII and of other texts: a guess that costs nothing. The bank counts, and cuts what was too much in two."""


def characters(value: Any) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + characters(item) for key, item in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 1


def pieces(value: Any) -> int:
    """About how many pieces the texts of some inputs are together."""
    return SPECIAL + _pieces(value)


def _pieces(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // (CHARACTERS_A_PIECE if value.isascii() else OTHERS_A_PIECE)
    if isinstance(value, Mapping):
        return sum(map(_pieces, value.values()))
    return sum(1 + _pieces(item) for item in value) if isinstance(value, list) else 0
