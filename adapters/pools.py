"""Rows of many adapters in one tensor, so that a batch's rows are picked out by one index and none is moved."""

from __future__ import annotations

from hashlib import blake2b
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Places = dict[bytes, "torch.Tensor | None"]
"""Where the rows of a batch's slots stand, by the layout of a pool; None where they have none."""
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
        self.layout = b""
        """Digest of how slots came by their rows: pools of one layout have their rows at the same places."""

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
        self.layout = _changed(self.layout, [slot, *at])

    def drop(self, slot: int) -> None:
        """Take a slot's rows back. Nobody may be reading them."""
        if slot < len(self.counts) and self.counts[slot]:
            self.free += self.table[slot, : self.counts[slot]].tolist()
            self.counts[slot] = 0
            self.table[slot] = 0
            self.layout = _changed(self.layout, [slot])

    def sizes(self, slots: np.ndarray) -> np.ndarray:
        """Rows of each slot."""
        counts = self.counts
        if not len(counts):
            return np.zeros(len(slots), np.int64)
        sizes: np.ndarray = np.where(slots < len(counts), counts[np.minimum(slots, len(counts) - 1)], 0)
        return sizes

    def of_batch(self, slots: np.ndarray, found: Places) -> torch.Tensor | None:
        """`[slots, most rows of any, width]`, or None where none of them has rows.

        Args:
            slots: of the batch.
            found: where their rows stand, by layout: most pools of a batch share it, and finding it (on a GPU: sending
                it there) takes longer than a product of a layer.
        """
        layout = self.layout
        if layout not in found:
            longest = int(self.sizes(slots).max(initial=0))
            found[layout] = self._index(slots, longest) if longest else None
        at = found[layout]
        return None if at is None else self.rows.index_select(0, at).view(len(slots), -1, self.rows.shape[1])

    def pick(self, slots: np.ndarray, longest: int) -> torch.Tensor:
        """`[slots, longest, width]`, shorter ones filled up with row 0."""
        return self.rows.index_select(0, self._index(slots, longest)).view(len(slots), longest, -1)

    def _index(self, slots: np.ndarray, longest: int) -> torch.Tensor:
        """Where the first so many rows of each slot stand, `[slots * longest]`, on the device."""
        import torch

        table = self.table
        at = np.where((slots < len(table))[:, None], table[np.minimum(slots, len(table) - 1), :longest], 0)
        return torch.from_numpy(at.ravel()).to(self.rows.device)

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


def _changed(layout: bytes, change: list[int]) -> bytes:
    """The digest of a layout behind a change."""
    return blake2b(layout + np.array(change, np.int64).tobytes(), digest_size=16).digest()


def _empty(size: int, like: torch.Tensor) -> torch.Tensor:
    """`[size, width]`. On a CPU in pages of its own: what a heap frees while pools grow, it keeps (measured: 1.6 times
    the adapters' bytes were resident)."""
    import torch

    if like.device.type != "cpu":
        return torch.empty((size, like.shape[1]), dtype=like.dtype, device=like.device)
    numbers = size * like.shape[1]
    return torch.frombuffer(mmap(-1, numbers * like.element_size()), dtype=like.dtype, count=numbers).view(size, -1)
