"""Prepared rows in one memory-mapped Arrow file: prepared once, and not limited by memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.files import cache_folder, new_file

if TYPE_CHECKING:
    import datasets
    import pyarrow

Rows = Iterable[dict[str, Any]]

_BATCH_ROWS, _BATCH_BYTES = 10_000, 2_000_000
"""Rows that are written at once, fewer where they are large. Opening a file touches each batch, and pages that were
touched count as memory of the process, so batches are not small."""


def cached_dataset(rows: Rows | Callable[[], Rows], schema: pyarrow.Schema, key: str) -> datasets.Dataset:
    """The rows as a memory-mapped dataset, taken from the cache if it has one with this key.

    Args:
        rows: the rows, or a function that returns them; not used if the cache has the dataset.
        schema: columns of the rows and their types.
        key: a file name (a digest) that differs wherever the rows do.
    """
    assert re.fullmatch(r"[\w.-]+", key), key
    path = cache_folder("datasets") / f"{key}.arrow"
    cached = _opened(path, schema)
    if cached is not None:
        return cached
    _write(path, rows() if callable(rows) else rows, schema)
    written = _opened(path, schema)
    assert written is not None, path
    return written


def _opened(path: Path, schema: pyarrow.Schema) -> datasets.Dataset | None:
    """The dataset, or None if there is no sound file of this schema."""
    import datasets
    import pyarrow

    if not path.is_file():
        return None
    try:
        with pyarrow.memory_map(str(path)) as stream:
            fits = pyarrow.ipc.open_stream(stream).schema.equals(schema)
        return datasets.Dataset.from_file(str(path)) if fits else None
    except (pyarrow.ArrowException, OSError, ValueError):
        return None


def _write(path: Path, rows: Rows, schema: pyarrow.Schema) -> None:
    """Write a batch at a time under a temporary name, so that the file is complete or absent."""
    import pyarrow

    with new_file(path, text=False) as stream, pyarrow.ipc.new_stream(stream, schema) as writer:
        remaining, size = iter(rows), 100
        while batch := list(islice(remaining, size)):
            written = pyarrow.RecordBatch.from_pylist(batch, schema=schema)
            writer.write_batch(written)
            size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * len(batch) // max(1, written.nbytes)))
