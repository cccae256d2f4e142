"""A trie of tokens: texts share their common beginnings, which a model then computes once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TokenTrie:
    """Tokens, each a child of another or at the root; parents come before their children."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.depths: list[int] = []
        """Number of ancestors of each token."""
        self.parents: list[int] = []
        """Number of each token's parent; -1 at the root."""
        self._numbers: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def add(self, parent: int, tokens: Sequence[int]) -> list[int]:
        """Add a path of tokens below `parent` (-1: the root), and return their numbers."""
        path = []
        for token in tokens:
            number = self._numbers.setdefault((parent, token), len(self))
            if number == len(self):
                self.tokens.append(token)
                self.parents.append(parent)
                self.depths.append(0 if parent < 0 else self.depths[parent] + 1)
            path.append(number)
            parent = number
        return path

    def visible(self) -> np.ndarray:
        """bool `[tokens, tokens]`: whether a token (row) sees another, itself or an ancestor."""
        out = np.eye(len(self), dtype=bool)
        for number, parent in enumerate(self.parents):
            if parent >= 0:
                out[number] |= out[parent]
        return out
