"""A map of characters in the form that tokenizer.json has it: SentencePiece's precompiled map."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

_BLOCK = 256
_HAS_VALUE = 1 << 8
_IS_VALUE = 1 << 31


def precompiled(replacements: Mapping[str, str]) -> bytes:
    """The map as bytes: the size of a double-array trie, the trie, and the replacements, each ended by a zero.

    The trie is darts-clone's (https://github.com/s-yata/darts-clone, include/darts.h): a node at `position` has its
    value, the place of the replacement, at `position ^ offset`, and the child of a byte at `position ^ offset ^ byte`.
    A node with children owns a block of 256 units, so that no search for free ones is needed.

    Args:
        replacements: what each character becomes, which may be nothing. UTF-8 of no character begins another's.
    """
    tree: dict[int, Any] = {}
    texts = bytearray()
    for character, replacement in sorted(replacements.items()):
        node = tree
        *path, last = character.encode()
        for byte in path:
            node = node.setdefault(byte, {})
        node[last] = len(texts)
        texts += replacement.encode() + b"\0"
    units = [0] * _BLOCK
    waiting = [(0, 0, tree)]
    ends: list[tuple[int, int, int]] = []
    while waiting:
        position, label, children = waiting.pop()
        base = len(units)
        units += [0] * _BLOCK
        units[position] = label | _offset(position, base)
        for byte, child in children.items():
            (waiting if isinstance(child, dict) else ends).append((base ^ byte, byte, child))
    for position, label, place in ends:
        units[position] = label | _offset(position, len(units)) | _HAS_VALUE
        units.append(_IS_VALUE | place)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + bytes(texts)


def _offset(position: int, base: int) -> int:
    assert position ^ base < 1 << 21, "darts-clone writes greater offsets in another way"
    return (position ^ base) << 10
