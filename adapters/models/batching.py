"""Batches of rows of similar length, shared between processes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adapters.models.tokenizer import IGNORED

if TYPE_CHECKING:
    import torch

Numbers = Sequence[int] | Sequence[float] | np.ndarray
"""A row of tokens or of targets."""


def by_length(
    lengths: Sequence[int], *, tokens: int | None, rows: int | None, generator: random.Random | None = None
) -> list[list[int]]:
    """Group rows of similar length into batches.

    Args:
        lengths: tokens of each row.
        tokens: maximum tokens of a batch, padding included (a longer row is a batch of its own).
        rows: maximum rows of a batch. Exactly one of the two limits must be given.
        generator: breaks ties between equal lengths and shuffles the batches; None keeps them in order.

    Returns:
        Batches of row numbers; every row is in exactly one.
    """
    assert (tokens is None) != (rows is None)
    order = list(range(len(lengths)))
    if generator is not None:
        generator.shuffle(order)
    order.sort(key=lengths.__getitem__)
    batches: list[list[int]] = []
    batch: list[int] = []
    for row in order:
        # Rows are sorted, so this one is the longest and all others are padded to it.
        full = len(batch) == rows if rows is not None else lengths[row] * (len(batch) + 1) > (tokens or 0)
        if batch and full:
            batches.append(batch)
            batch = []
        batch.append(row)
    if batch:
        batches.append(batch)
    if generator is not None:
        generator.shuffle(batches)
    return batches


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Number of tokens that all rows start with, at least one token less than the shortest row."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return min(sum(1 for _ in columns), min(map(len, rows)) - 1)


def share(batch: Sequence[int], rank: int, world: int) -> list[int]:
    """The rows of a batch for one of several processes; shares differ by at most one row."""
    return list(batch[rank::world])


def padded(rows: Sequence[Numbers], value: int, *, least: int = 0) -> np.ndarray:
    """`[rows, longest]`, at least `least` wide, padded with `value` on the right: float32 of such rows, else int64."""
    kind = np.float32 if getattr(rows[0], "dtype", None) == np.float32 else np.int64
    out = np.full((len(rows), max(least, *(len(row) for row in rows))), value, kind)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


def pad(rows: Sequence[Numbers], value: int, *, least: int = 0) -> torch.Tensor:
    """As `padded`, as a tensor."""
    import torch

    return torch.from_numpy(padded(rows, value, least=least))


def padded_inputs(
    inputs: Sequence[Numbers], pad_id: int, token_types: Sequence[Numbers] = (), *, least: int = 0
) -> dict[str, np.ndarray]:
    """Model inputs: `input_ids` and, where a row is padded, `attention_mask`, both int64 `[rows, tokens]`.

    Without padding there is no mask, as attention is faster without one and the result the same. Token types are
    included if the rows have any. Inputs are at least `least` tokens wide.
    """
    batch = {"input_ids": padded(inputs, pad_id, least=least)}
    if any(map(len, token_types)):
        batch["token_type_ids"] = padded(token_types, 0, least=least)
    lengths, wide = np.array([len(row) for row in inputs]), batch["input_ids"].shape[1]
    if int(lengths.min()) < wide:
        batch["attention_mask"] = (np.arange(wide) < lengths[:, None]).astype(np.int64)
    return batch


def collate(
    inputs: Sequence[Numbers],
    targets: Sequence[Numbers],
    pad_id: int,
    token_types: Sequence[Numbers] = (),
    *,
    least: int = 0,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Model inputs as of `padded_inputs`, and targets, as tensors."""
    import torch

    batch = padded_inputs(inputs, pad_id, token_types, least=least)
    return {name: torch.from_numpy(values) for name, values in batch.items()}, pad(targets, IGNORED)
