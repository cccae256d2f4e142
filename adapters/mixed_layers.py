"""One layer of a frozen body, whose rows are changed each by an adapter of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.changes import LayerChange
from adapters.pools import Places, Pool

if TYPE_CHECKING:
    import torch

_ONES = ("scale_in", "scale_out")


class Here(threading.local):
    """The batch that this thread runs: its rows and their slots (one, where all have the same; None: no batch)."""

    def __init__(self) -> None:
        """No batch yet, in each thread."""
        self.rows = 0
        self.slots: np.ndarray | None = None
        self.found: Places = {}


class Layer:
    """The pools of one layer of the body. Its hooks change a batch's rows, each as its slot says."""

    def __init__(self, module: Any, here: Here) -> None:
        """Args: the layer, and what tells the batch."""
        self.module = module
        self.here = here
        self.pools: dict[str, Pool] = {}
        module.register_forward_pre_hook(self._scale)
        module.register_forward_hook(self._change)

    def put(self, slot: int, change: LayerChange) -> None:
        """Give a slot its tensors."""
        for name, tensor in change.tensors():
            if name not in self.pools:
                pool = Pool(tensor.shape[1], 1.0 if name in _ONES else 0.0, self.module.weight)
                self.pools = {**self.pools, name: pool}
            self.pools[name].put(slot, tensor)

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        for pool in self.pools.values():
            pool.drop(slot)

    def _of(self, name: str) -> torch.Tensor | None:
        """`[slots, number, width]` for this batch (one slot where all rows have the same), or None: nothing to do."""
        pool, slots = self.pools.get(name), self.here.slots
        if pool is None or slots is None:
            return None
        return pool.of_batch(slots, self.here.found)

    def _scale(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if "scale_in" not in self.pools:
            return None
        scale = self._of("scale_in")
        return None if scale is None else (by_row(inputs[0], self.here.rows).mul(scale).view(inputs[0].shape),)

    def _change(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Change the output in place: it was made for us, and a copy of it would cost as much as the change."""
        if self.here.slots is None or not self.pools:
            return
        rows = self.here.rows
        out = by_row(output, rows)
        down, up = self._of("down"), self._of("up")
        if down is not None and up is not None:
            add_low_rank(out, by_row(inputs[0], rows), down, up)
        scale, shift = self._of("scale_out"), self._of("shift")
        if scale is not None:
            out.mul_(scale)
        if shift is not None:
            out.add_(shift)
        squeeze = self._of("squeeze")
        if squeeze is not None:
            self._bottleneck(out, squeeze)

    def _bottleneck(self, out: torch.Tensor, squeeze: torch.Tensor) -> None:
        import torch

        bias, expand, shift = self._of("squeeze_bias"), self._of("expand"), self._of("expand_bias")
        assert bias is not None and expand is not None and shift is not None
        inner = torch.nn.functional.gelu(torch.matmul(squeeze, out.transpose(1, 2)) + bias)
        out += torch.matmul(inner.transpose(1, 2), expand) + shift


def by_row(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """`[rows, pieces, width]` of what a layer takes or gives, be it `[rows, width]` or `[rows * pieces, width]`."""
    return tensor.reshape(rows, -1, tensor.shape[-1])


def add_low_rank(out: torch.Tensor, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> None:
    """out += x @ down.T @ up, a row each.

    Args:
        out: `[rows, pieces, out]`, changed in place.
        x: `[rows, pieces, in]`.
        down: `[rows, rank, in]`, or `[1, rank, in]` where all rows have the same.
        up: `[rows, rank, out]`, or `[1, rank, out]`.
    """
    if len(down) == 1:
        inner = x.flatten(0, 1) @ down[0].T
        out.view(-1, out.shape[-1]).addmm_(inner, up[0])
        return
    # The pieces last: a CPU's vectors lie along the last axis, and a rank is shorter than they are.
    out.baddbmm_(down.bmm(x.transpose(1, 2)).transpose(1, 2), up)
