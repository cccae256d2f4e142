"""The size of a request's inputs, estimated before they are tokenized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPECIAL_TOKENS = 2
"""Special tokens around a text."""
ASCII_CHARACTERS_PER_TOKEN, OTHER_CHARACTERS_PER_TOKEN = 5, 2
"""A guess that costs nothing. The bank counts tokens, and splits a batch that is too large."""


def characters(value: Any) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + characters(item) for key, item in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 1


def tokens(value: Any) -> int:
    """Approximate number of tokens in all texts of some inputs."""
    return SPECIAL_TOKENS + _tokens(value)


def _tokens(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // (ASCII_CHARACTERS_PER_TOKEN if value.isascii() else OTHER_CHARACTERS_PER_TOKEN)
    if isinstance(value, Mapping):
        return sum(map(_tokens, value.values()))
    return sum(1 + _tokens(item) for item in value) if isinstance(value, list) else 0
