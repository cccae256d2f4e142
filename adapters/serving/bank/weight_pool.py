"""The weights of many adapters as rows of one tensor: a batch gathers its rows by one index, and none is moved."""

from __future__ import annotations

from hashlib import blake2b
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

RowIndex = dict[bytes, "torch.Tensor | slice | None"]
"""Where the rows of a batch's slots are, by the layout of the pool; None where they have no rows."""
GROWTH = 1.08
"""A full pool grows by this factor: little memory is left unused."""


class WeightPool:
    """Rows of one width. A slot has any number of them; row 0 is neutral.

    A batch's rows are padded with row 0, so that adapters of different ranks (or none) fit into one tensor. Rows in use
    are never overwritten, and growth leaves the old tensor intact: gathering needs no lock.
    """

    def __init__(self, width: int, neutral: float, like: torch.Tensor) -> None:
        """Args:
        width: of a row.
        neutral: value of row 0.
        like: tensor of the pool's dtype and device.
        """
        self.rows = like.new_full((1, width), neutral)
        self.free: list[int] = []
        self.used = 1
        self.counts = np.zeros(0, np.int64)
        self.table = np.zeros((0, 0), np.int64)
        self.layout = b""
        """Digest of all allocations: pools with the same layout have a slot's rows at the same indices."""

    def put(self, slot: int, values: torch.Tensor) -> None:
        """Store a slot's rows, `[number, width]`."""
        number = len(values)
        if len(self.free) + len(self.rows) - self.used < number:
            self._grow(number)
        indices = [self.free.pop() for _ in range(min(number, len(self.free)))]
        indices += range(self.used, self.used + number - len(indices))
        self.used = max(self.used, indices[-1] + 1)
        self.rows[indices] = values.to(self.rows)
        self._grow_table(slot, number)
        self.table[slot, :number] = indices
        self.counts[slot] = number
        self.layout = _next_layout(self.layout, [slot, *indices])

    def drop(self, slot: int) -> None:
        """Free a slot's rows. No batch may be using them."""
        if slot < len(self.counts) and self.counts[slot]:
            self.free += self.table[slot, : self.counts[slot]].tolist()
            self.counts[slot] = 0
            self.table[slot] = 0
            self.layout = _next_layout(self.layout, [slot])

    def sizes(self, slots: np.ndarray) -> np.ndarray:
        """Number of rows of each slot, `[slots]`."""
        counts = self.counts
        if not len(counts):
            return np.zeros(len(slots), np.int64)
        sizes: np.ndarray = np.where(slots < len(counts), counts[np.minimum(slots, len(counts) - 1)], 0)
        return sizes

    def of_batch(self, slots: np.ndarray, found: RowIndex) -> torch.Tensor | None:
        """`[slots, most rows of any slot, width]`, or None where no slot has rows.

        Args:
            slots: of the batch.
            found: indices that the batch has already computed, by layout: most pools share a layout, and computing the
                indices (on a GPU: transferring them) takes longer than a layer's matrix product.
        """
        layout = self.layout
        if layout not in found:
            longest = int(self.sizes(slots).max(initial=0))
            found[layout] = (self._run(slots, longest) or self._index(slots, longest)) if longest else None
        indices = found[layout]
        if indices is None:
            return None
        rows = self.rows[indices] if isinstance(indices, slice) else self.rows.index_select(0, indices)
        return rows.view(len(slots), -1, self.rows.shape[1])

    def _run(self, slots: np.ndarray, longest: int) -> slice | None:
        """The rows of a single slot where they lie side by side: they need no copy. None where they do not."""
        if len(slots) > 1 or slots[0] >= len(self.table):
            return None
        own = self.table[slots[0], :longest]
        return slice(int(own[0]), int(own[0]) + longest) if (np.diff(own) == 1).all() else None

    def pick(self, slots: np.ndarray, longest: int) -> torch.Tensor:
        """`[slots, longest, width]`, shorter ones padded with row 0."""
        return self.rows.index_select(0, self._index(slots, longest)).view(len(slots), longest, -1)

    def _index(self, slots: np.ndarray, longest: int) -> torch.Tensor:
        """Indices of the first `longest` rows of each slot, `[slots * longest]`, on the device."""
        import torch

        table = self.table
        indices = np.where((slots < len(table))[:, None], table[np.minimum(slots, len(table) - 1), :longest], 0)
        return torch.from_numpy(indices.ravel()).to(self.rows.device)

    def _grow_table(self, slot: int, number: int) -> None:
        """Give the table a line for the slot. Counts are replaced last: readers read no further than they say."""
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
        """Copy the rows to a larger tensor."""
        size = max(int(len(self.rows) * GROWTH), self.used + number - len(self.free))
        larger = _empty(size, self.rows)
        larger[: self.used] = self.rows[: self.used]
        self.rows = larger


def _next_layout(layout: bytes, allocation: list[int]) -> bytes:
    """The digest of a layout after an allocation."""
    return blake2b(layout + np.array(allocation, np.int64).tobytes(), digest_size=16).digest()


def _empty(size: int, like: torch.Tensor) -> torch.Tensor:
    """`[size, width]`, uninitialised. On a CPU in memory pages of its own: the heap does not return what pools free as
    they grow (measured: 1.6 times the adapters' size was resident)."""
    import torch

    if like.device.type != "cpu":
        return torch.empty((size, like.shape[1]), dtype=like.dtype, device=like.device)
    numbers = size * like.shape[1]
    return torch.frombuffer(mmap(-1, numbers * like.element_size()), dtype=like.dtype, count=numbers).view(size, -1)
