"""Rows of many adapters in one tensor, so that a batch's rows are picked out by one index and none is moved."""

from __future__ import annotations

from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SPARE = 1.08
"""A full pool grows to so many times its rows: memory stays near what the adapters take."""


class Pool:
    """Rows of one width. An adapter holds any number of them, under its slot; row 0 changes nothing.

    What is picked out for a batch is filled up with row 0, so adapters of different ranks (or none) stand side by side.
    Rows in use are never written, and growing leaves the old tensor whole: picking needs no lock.
    """

    def __init__(self, width: int, neutral: float, like: torch.Tensor) -> None:
        """Args:
        width: numbers in a row.
        neutral: what row 0 is filled with.
        like: gives dtype and device.
        """
        self.rows = like.new_full((1, width), neutral)
        self.free: list[int] = []
        self.used = 1
        self.counts = np.zeros(0, np.int64)
        self.table = np.zeros((0, 0), np.int64)

    def put(self, slot: int, values: torch.Tensor) -> None:
        """Give a slot its rows, `[number, width]`."""
        number = len(values)
        if len(self.free) + len(self.rows) - self.used < number:
            self._grow(number)
        at = [self.free.pop() for _ in range(min(number, len(self.free)))]
        at += range(self.used, self.used + number - len(at))
        self.used = max(self.used, at[-1] + 1)
        self.rows[at] = values.to(self.rows)
        self._make_room(slot, number)
        self.table[slot, :number] = at
        self.counts[slot] = number

    def drop(self, slot: int) -> None:
        """Take a slot's rows back. Nobody may be reading them."""
        if slot < len(self.counts) and self.counts[slot]:
            self.free += self.table[slot, : self.counts[slot]].tolist()
            self.counts[slot] = 0
            self.table[slot] = 0

    def sizes(self, slots: np.ndarray) -> np.ndarray:
        """Rows of each slot."""
        counts = self.counts
        if not len(counts):
            return np.zeros(len(slots), np.int64)
        sizes: np.ndarray = np.where(slots < len(counts), counts[np.minimum(slots, len(counts) - 1)], 0)
        return sizes

    def longest(self, slots: np.ndarray) -> int:
        """Most rows of any of the slots."""
        return int(self.sizes(slots).max(initial=0))

    def pick(self, slots: np.ndarray, longest: int, placed: dict[bytes, torch.Tensor] | None = None) -> torch.Tensor:
        """`[slots, longest, width]`, shorter ones filled up with row 0.

        Args:
            slots: of the batch.
            longest: most rows of any of them.
            placed: where those rows stand, as it is on the device already; most pools of a batch share it.
        """
        import torch

        table = self.table
        at = np.where((slots < len(table))[:, None], table[np.minimum(slots, len(table) - 1), :longest], 0)
        index = None if placed is None else placed.get(at.tobytes())
        if index is None:
            index = torch.from_numpy(at.ravel()).to(self.rows.device)
        if placed is not None:
            placed[at.tobytes()] = index
        return self.rows.index_select(0, index).view(len(slots), longest, -1)

    def _make_room(self, slot: int, number: int) -> None:
        """Let the table have a line for the slot. Counts are replaced last: they say how far the table may be read."""
        lines, longest = self.table.shape
        if slot < lines and number <= longest:
            return
        lines = lines if slot < lines else slot + 1 + lines // 2
        table = np.zeros((lines, max(longest, number)), np.int64)
        table[: self.table.shape[0], :longest] = self.table
        counts = np.zeros(lines, np.int64)
        counts[: len(self.counts)] = self.counts
        self.table, self.counts = table, counts

    def _grow(self, number: int) -> None:
        """Copy to a longer tensor."""
        size = max(int(len(self.rows) * SPARE), self.used + number - len(self.free))
        longer = _empty(size, self.rows)
        longer[: self.used] = self.rows[: self.used]
        self.rows = longer


def _empty(size: int, like: torch.Tensor) -> torch.Tensor:
    """`[size, width]`. On a CPU in pages of its own: what a heap frees while pools grow, it keeps (measured: 1.6 times
    the adapters' bytes were resident)."""
    import torch

    if like.device.type != "cpu":
        return torch.empty((size, like.shape[1]), dtype=like.dtype, device=like.device)
    numbers = size * like.shape[1]
    return torch.frombuffer(mmap(-1, numbers * like.element_size()), dtype=like.dtype, count=numbers).view(size, -1)
