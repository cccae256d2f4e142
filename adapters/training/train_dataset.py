"""The training split as rows of tokens: tokenized once, memory-mapped, and batched by length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.discovery import code_version
from adapters.core.files import digest_value
from adapters.core.settings import CommonSettings
from adapters.data.arrow_cache import cached_dataset
from adapters.models.batching import by_length, collate
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base.example import Examples
from adapters.tasks.base.task import Objective

if TYPE_CHECKING:
    import datasets
    import torch

    from adapters.models.base_model import Base

ENCODED_AS = 7
"""Version of the stored rows; increase it when their meaning changes, so that older caches are not read."""


def encode_split(split: Examples, task: Objective, base: Base, budget: int) -> datasets.Dataset:
    """Model inputs and targets of a split, tokenized once and memory-mapped.

    The columns `input_ids`, `targets` and `token_types` contain lists of numbers (token types may be empty); `example`
    is the index of the example in the split.
    """
    import pyarrow as pa

    key = [
        split.notes,
        split.dataset._fingerprint,
        task.card(),
        base.tokenizer_digest,
        base.kind,
        budget,
        code_version(type(task)),
        ENCODED_AS,
    ]
    types = {"input_ids": pa.int32(), "targets": pa.type_for_alias(task.target_type), "token_types": pa.int32()}
    schema = pa.schema({**{name: pa.list_(kind) for name, kind in types.items()}, "example": pa.int32()})

    def rows() -> Iterator[dict[str, Any]]:
        tokens = base.word_tokenizer
        for begin in range(0, len(split), 1024):
            for row in task.encode(split[begin : begin + 1024], tokens, budget, learning=True):
                yield {
                    "input_ids": row.input_ids,
                    "targets": row.targets,
                    "token_types": row.token_types,
                    "example": begin + row.example,
                }

    return cached_dataset(rows(), schema, digest_value(str(key)))


class TrainDataset:
    """The rows to train on. A long example has several."""

    def __init__(self, train: Examples, task: Objective, base: Base, settings: CommonSettings, *, budget: int) -> None:
        """Args:
        train: the examples.
        task: encodes the examples.
        base: provides the tokenizer.
        settings: of the run, with the batch size and the seed.
        budget: longest row in tokens.
        """
        self.train, self.settings = train, settings
        self.pad_id = base.pad_id
        self.rows = encode_split(train, task, base, budget)
        self.columns = {name: self._column(name) for name in ("input_ids", "targets", "token_types")}
        self.lengths: list[int] = np.diff(self.columns["input_ids"][1]).tolist()

    def _column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """All numbers of a column, memory-mapped, and the offsets of its lists; `datasets` itself copies each list."""
        column = self.rows.data.column(name).combine_chunks()
        return column.values.to_numpy(), column.offsets.to_numpy()

    def _lists(self, name: str, rows: Sequence[int]) -> list[np.ndarray]:
        """The lists of some rows in a column."""
        values, offsets = self.columns[name]
        return [values[offsets[row] : offsets[row + 1]] for row in rows]

    @property
    def targets(self) -> list[np.ndarray]:
        """Targets of every row."""
        return self._lists("targets", range(len(self.rows)))

    def labelled(self, rows: Sequence[int]) -> int:
        """Number of positions with a target in some rows."""
        targets: np.ndarray = np.concatenate(self._lists("targets", rows))
        return targets.size if targets.dtype.kind == "f" else int(np.count_nonzero(targets != IGNORED))

    def batches(self, epoch: int, processes: int) -> list[list[int]]:
        """The batches of an epoch over all processes, as row numbers; the same in every process."""
        per_device = self.settings.per_device_train_batch_size
        return by_length(
            self.lengths,
            tokens=None if per_device else self.settings.max_tokens_per_batch,
            rows=per_device * processes if per_device else None,
            generator=random.Random(f"{self.settings.seed}/{epoch}"),
        )

    def padded(self, batch: Sequence[int]) -> int:
        """Number of tokens in a batch, padding included."""
        return len(batch) * max(self.lengths[row] for row in batch)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Ids of the examples of some rows, without duplicates."""
        return [self.train[int(i)].id for i in dict.fromkeys(self.rows[list(rows)]["example"])]

    def collate(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs and targets of some rows, on a device."""
        ids, targets, types = (self._lists(name, rows) for name in ("input_ids", "targets", "token_types"))
        inputs, padded = collate(ids, targets, self.pad_id, types)
        return {name: value.to(device) for name, value in inputs.items()}, padded.to(device)
