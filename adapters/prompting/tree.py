"""A tree of pieces: texts that begin alike share their beginning, so that a model reads it once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Tree:
    """Pieces, each behind another one or at the root, in an order in which what stands in front comes first."""

    def __init__(self) -> None:
        """It is empty at first."""
        self.pieces: list[int] = []
        self.depths: list[int] = []
        """How many pieces stand in front of each."""
        self.parents: list[int] = []
        """The piece in front of each, by number; -1 at the root."""
        self._numbers: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """How many pieces it has."""
        return len(self.pieces)

    def add(self, parent: int, pieces: Sequence[int]) -> list[int]:
        """The numbers of pieces that stand in a row behind `parent` (-1: at the root); new ones are added."""
        path = []
        for piece in pieces:
            number = self._numbers.setdefault((parent, piece), len(self))
            if number == len(self):
                self.pieces.append(piece)
                self.parents.append(parent)
                self.depths.append(0 if parent < 0 else self.depths[parent] + 1)
            path.append(number)
            parent = number
        return path

    def seen(self) -> np.ndarray:
        """bool `[pieces, pieces]`: whether a piece (row) sees another: itself and what stands in front of it."""
        out = np.eye(len(self), dtype=bool)
        for number, parent in enumerate(self.parents):
            if parent >= 0:
                out[number] |= out[parent]
        return out
