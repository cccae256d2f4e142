"""Rows of a causal model continued token by token: a row that is done leaves the batch, and the next takes its place.

transformers' `generate` computes a row that has ended until the longest of its batch has, and begins no other one
meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Writer(Protocol):
    """A causal model with its language-model head, whose rows may differ in what is added to it."""

    config: Any
    generation_config: Any

    def rows(self, numbers: Sequence[int]) -> AbstractContextManager[Any]:
        """The model; within the block its forward passes are of these rows."""

    def prefixes(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """A cache with what comes before the rows (None for nothing), and which of it each sees, int64 `[rows, …]`."""


def continued(
    writer: Writer,
    rows: Sequence[Sequence[int]],
    take: Callable[[int, torch.Tensor], int | None],
    *,
    pad: int,
    most: Sequence[int],
    room: int,
) -> bool:
    """Continue rows until each is done, those that may be the shortest first.

    Args:
        writer: the model.
        rows: tokens of each.
        take: gets the number of a row and its logits `[vocabulary]`; returns the next token, None where it is done.
        pad: token that fills shorter rows.
        most: tokens that a row may still get.
        room: tokens of the rows that are continued at a time, with what they may still get, all as long as the longest.

    Returns:
        False, with nothing taken, where the model's cache is of a kind whose rows cannot be exchanged.
    """
    import torch

    waiting = deque(sorted(range(len(rows)), key=lambda i: len(rows[i]) + most[i]))  # alike rows need little padding
    batch = _Batch(writer, pad)
    with torch.inference_mode():
        while waiting or batch.numbers:
            new: list[int] = []
            while waiting:
                ahead = [len(rows[i]) + most[i] for i in (*batch.numbers, *new, waiting[0])]
                if len(ahead) > 1 and len(ahead) * max(ahead) > room:
                    break
                new.append(waiting.popleft())
            if batch.numbers:
                batch.step(take)
            if new and not batch.admit(new, [rows[i] for i in new], take):
                return False
    return True


class _Batch:
    """The rows that are continued, with their keys and values, padded on the left."""

    def __init__(self, writer: Writer, pad: int) -> None:
        self.writer, self.pad = writer, pad
        self.numbers: list[int] = []
        self.tokens: list[int] = []
        self.cache: Any = None
        self.mask: Any = None

    def step(self, take: Callable[[int, torch.Tensor], int | None]) -> None:
        """One more token of each row; rows that are done leave."""
        import torch

        device = self.mask.device
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.numbers), 1)], 1)
        with self.writer.rows(self.numbers) as model:
            out = model(
                input_ids=torch.tensor(self.tokens, device=device)[:, None],
                attention_mask=self.mask,
                position_ids=self.mask.sum(1, keepdim=True) - 1,
                past_key_values=self.cache,
                use_cache=True,
            )
        self._take(out.logits[:, -1], take)

    def admit(
        self, numbers: Sequence[int], rows: Sequence[Sequence[int]], take: Callable[[int, torch.Tensor], int | None]
    ) -> bool:
        """Compute rows' own tokens and take the next one of each; False where the cache is of another kind."""
        import torch
        from transformers import DynamicCache

        cache, before = self.writer.prefixes(numbers)
        longest, device = max(map(len, rows)), before.device
        ids = torch.tensor([[self.pad] * (longest - len(row)) + [*row] for row in rows], device=device)
        seen = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        mask = torch.cat([before, seen], 1)
        with self.writer.rows(numbers) as model:
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -longest:],
                past_key_values=DynamicCache() if cache is None else cache,
                use_cache=True,
                logits_to_keep=1,
            )
        new = _Batch(self.writer, self.pad)
        new.numbers, new.mask, new.cache = list(numbers), mask, out.past_key_values
        if not _exchangeable(new.cache):
            return False
        new._take(out.logits[:, -1], take)
        self._join(new)
        return True

    def _take(self, logits: torch.Tensor, take: Callable[[int, torch.Tensor], int | None]) -> None:
        """Choose the next token of each row; keep those that go on."""
        chosen = [take(number, row) for number, row in zip(self.numbers, logits, strict=True)]
        kept = [i for i, token in enumerate(chosen) if token is not None]
        self.tokens = [token for token in chosen if token is not None]
        if len(kept) < len(self.numbers):
            self.numbers = [self.numbers[i] for i in kept]
            if kept:
                self._select(kept)

    def _select(self, kept: Sequence[int]) -> None:
        """Keep some rows, without the columns that none of them sees."""
        self.mask = self.mask[kept]
        first = int(self.mask.any(0).int().argmax())
        self.mask = self.mask[:, first:]
        for layer in self.cache.layers:
            layer.keys, layer.values = (one[kept, :, first:] for one in (layer.keys, layer.values))

    def _join(self, new: _Batch) -> None:
        """Add the rows of another batch."""
        import torch

        if not new.numbers:
            return
        if not self.numbers:
            self.numbers, self.tokens, self.cache, self.mask = new.numbers, new.tokens, new.cache, new.mask
            return
        longest = max(self.mask.shape[1], new.mask.shape[1])
        self.numbers, self.tokens = self.numbers + new.numbers, self.tokens + new.tokens
        self.mask = torch.cat([_wider(one.mask, longest, 1) for one in (self, new)])
        for layer, other in zip(self.cache.layers, new.cache.layers, strict=True):
            layer.keys = torch.cat([_wider(one, longest, 2) for one in (layer.keys, other.keys)])
            layer.values = torch.cat([_wider(one, longest, 2) for one in (layer.values, other.values)])


def _wider(tensor: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """A tensor filled with zeros at the beginning of a dimension."""
    import torch

    missing = size - tensor.shape[dim]
    zeros = tensor.new_zeros([missing if at == dim else length for at, length in enumerate(tensor.shape)])
    return torch.cat([zeros, tensor], dim) if missing else tensor


def _exchangeable(cache: Any) -> bool:
    """Whether a cache is keys and values of all tokens in each layer, so that rows can be taken out and put in."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", ())
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
