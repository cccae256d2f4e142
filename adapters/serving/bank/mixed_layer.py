"""One layer of a frozen body that applies a different adapter to each row of a batch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.methods.base.delta import LayerDelta
from adapters.serving.bank.weight_pool import RowIndex, WeightPool

if TYPE_CHECKING:
    import torch

SCALES = ("scale_in", "scale_out")


class BatchContext(threading.local):
    """The batch that this thread runs.

    Attributes:
        rows: number of rows that the pools distinguish: 1 where all rows have the same adapter.
        slots: slot of each of those rows, `[rows]`; None while no batch runs.
        found: indices into the pools that this batch has already computed.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.slots: np.ndarray | None = None
        self.found: RowIndex = {}


class MixedLayer:
    """The weight pools of one layer. Hooks on the layer apply to each row the weights of its slot."""

    def __init__(self, module: Any, batch: BatchContext) -> None:
        """Args: the layer, and the batch of each thread."""
        self.module = module
        self.batch = batch
        self.pools: dict[str, WeightPool] = {}
        module.register_forward_pre_hook(self._scale)
        module.register_forward_hook(self._apply)

    def put(self, slot: int, delta: LayerDelta) -> None:
        """Store an adapter's tensors in a slot."""
        for name, tensor in delta.tensors():
            if name not in self.pools:
                pool = WeightPool(tensor.shape[1], 1.0 if name in SCALES else 0.0, self.module.weight)
                self.pools = {**self.pools, name: pool}
            self.pools[name].put(slot, tensor)

    def drop(self, slot: int) -> None:
        """Free a slot."""
        for pool in self.pools.values():
            pool.drop(slot)

    def _of_batch(self, name: str) -> torch.Tensor | None:
        """`[slots, number, width]` of this batch (one slot where all rows have the same), or None: nothing to apply."""
        pool, slots = self.pools.get(name), self.batch.slots
        if pool is None or slots is None:
            return None
        return pool.of_batch(slots, self.batch.found)

    def _scale(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if "scale_in" not in self.pools:
            return None
        scale = self._of_batch("scale_in")
        return None if scale is None else (by_row(inputs[0], self.batch.rows).mul(scale).view(inputs[0].shape),)

    def _apply(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Modify the output in place: nothing else uses it, and a copy would cost as much as the delta."""
        if self.batch.slots is None or not self.pools:
            return
        rows = self.batch.rows
        out = by_row(output, rows)
        down, up = self._of_batch("down"), self._of_batch("up")
        if down is not None and up is not None:
            add_low_rank(out, by_row(inputs[0], rows), down, up)
        scale, shift = self._of_batch("scale_out"), self._of_batch("shift")
        if scale is not None:
            out.mul_(scale)
        if shift is not None:
            out.add_(shift)
        squeeze = self._of_batch("squeeze")
        if squeeze is not None:
            self._bottleneck(out, squeeze)

    def _bottleneck(self, out: torch.Tensor, squeeze: torch.Tensor) -> None:
        import torch

        bias, expand, shift = (self._of_batch(name) for name in ("squeeze_bias", "expand", "expand_bias"))
        assert bias is not None and expand is not None and shift is not None
        inner = torch.nn.functional.gelu(torch.matmul(squeeze, out.transpose(1, 2)) + bias)
        out += torch.matmul(inner.transpose(1, 2), expand) + shift


def by_row(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """`[rows, tokens, width]` of a layer's input or output that may be `[rows, width]` or `[rows * tokens, width]`."""
    return tensor.reshape(rows, -1, tensor.shape[-1])


def add_low_rank(out: torch.Tensor, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> None:
    """out += x @ down.T @ up, with a different `down` and `up` for each row.

    Args:
        out: `[rows, tokens, out]`, modified in place.
        x: `[rows, tokens, in]`.
        down: `[rows, rank, in]`, or `[1, rank, in]` where all rows have the same.
        up: `[rows, rank, out]`, or `[1, rank, out]`.
    """
    if len(down) == 1:
        inner = x.flatten(0, 1) @ down[0].T
        out.view(-1, out.shape[-1]).addmm_(inner, up[0])
        return
    # Tokens in the last dimension: CPU vector instructions run along it, and a rank is shorter than a vector.
    out.baddbmm_(down.bmm(x.transpose(1, 2)).transpose(1, 2), up)
