"""The training split as rows of pieces: tokenised once, memory-mapped, and grouped into batches of like length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.alignment import IGNORED
from adapters.batching import by_length, collate
from adapters.files import digest_value
from adapters.settings import CommonSettings
from adapters.store import store
from adapters.tasks import Examples, Task

if TYPE_CHECKING:
    import datasets
    import torch

    from adapters.model import Base

ENCODED_AS = 4
"""Raised when stored windows change their meaning, so that older caches are not read."""


def encode_split(split: Examples, task: Task, base: Base, budget: int) -> datasets.Dataset:
    """The split's model inputs and targets, tokenised once and memory-mapped.

    Columns `input_ids`, `targets` and `token_types`, a list of numbers each (token types may be empty), and `example`,
    the number of the example in the split.
    """
    import pyarrow as pa

    made_of = [
        split.notes,
        split.dataset._fingerprint,
        task.card(),
        base.tokenizer_digest,
        base.kind,
        budget,
        ENCODED_AS,
    ]
    lists = {name: pa.list_(pa.int32()) for name in ("input_ids", "targets", "token_types")}
    schema = pa.schema({**lists, "example": pa.int32()})

    def rows() -> Iterator[dict[str, Any]]:
        pieces = base.pieces()
        for begin in range(0, len(split), 1024):
            for row in task.encode(split[begin : begin + 1024], pieces, budget, learning=True):
                yield {"input_ids": row.input_ids, "targets": row.targets, "token_types": row.token_types,
                       "example": begin + row.example}  # fmt: skip

    return store(rows(), schema, digest_value(str(made_of)))


class Windows:
    """The rows that a model learns from. A long example has several."""

    def __init__(self, train: Examples, task: Task, base: Base, settings: CommonSettings, *, budget: int) -> None:
        """Args:
        train: the examples.
        task: encodes them.
        base: gives the tokenizer.
        settings: bound the batches.
        budget: pieces of a row.
        """
        self.train, self.settings = train, settings
        self.pad_id = int(base.tokenizer.pad_token_id)
        self.rows = encode_split(train, task, base, budget)
        self.columns = {name: self._column(name) for name in ("input_ids", "targets", "token_types")}
        self.lengths: list[int] = np.diff(self.columns["input_ids"][1]).tolist()

    def _column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column's numbers, memory-mapped, and where its lists begin: `datasets` copies each list it is asked for."""
        column = self.rows.data.column(name).combine_chunks()
        return column.values.to_numpy(), column.offsets.to_numpy()

    def _lists(self, name: str, rows: Sequence[int]) -> list[np.ndarray]:
        """Some rows' lists of a column."""
        values, offsets = self.columns[name]
        return [values[offsets[row] : offsets[row + 1]] for row in rows]

    @property
    def targets(self) -> list[np.ndarray]:
        """Of every row."""
        return self._lists("targets", range(len(self.rows)))

    def labelled(self, rows: Sequence[int]) -> int:
        """Positions of some rows that have a target."""
        targets: np.ndarray = np.concatenate(self._lists("targets", rows))
        return int(np.count_nonzero(targets != IGNORED))

    def batches(self, epoch: int, processes: int) -> list[list[int]]:
        """Numbers of the rows of each of an epoch's batches over all processes, the same in each of them."""
        each = self.settings.per_device_train_batch_size
        return by_length(
            self.lengths,
            pieces=None if each else self.settings.train_batch_pieces,
            rows=each * processes if each else None,
            generator=random.Random(f"{self.settings.seed}/{epoch}"),
        )

    def padded(self, batch: Sequence[int]) -> int:
        """Pieces of a batch, padding included."""
        return len(batch) * max(self.lengths[row] for row in batch)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Ids of the examples of some rows, each once."""
        return [self.train[int(i)].id for i in dict.fromkeys(self.rows[list(rows)]["example"])]

    def collate(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs and targets of some rows, on a device."""
        ids, targets, types = (self._lists(name, rows) for name in ("input_ids", "targets", "token_types"))
        inputs, wanted = collate(ids, targets, self.pad_id, types)
        return {name: value.to(device) for name, value in inputs.items()}, wanted.to(device)
