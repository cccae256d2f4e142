"""Prepared rows on disk as one Arrow file, mapped into memory: larger data than memory, and prepared once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.files import cache_folder, new_file

if TYPE_CHECKING:
    import datasets
    import pyarrow

Rows = Iterable[dict[str, Any]]

_BATCH_ROWS = 1000


def store(rows: Rows | Callable[[], Rows], schema: pyarrow.Schema, key: str) -> datasets.Dataset:
    """The rows as a memory-mapped dataset, taken from the cache if a dataset of this key is there.

    Args:
        rows: or a function that gives them; neither is touched if the dataset is there already.
        schema: columns of the rows and their types.
        key: must tell apart all that makes rows differ (a digest); a file name.
    """
    assert re.fullmatch(r"[\w.-]+", key), key
    path = cache_folder("datasets") / f"{key}.arrow"
    kept = _opened(path, schema)
    if kept is not None:
        return kept
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
    """Write a batch at a time under another name, so that the file is complete or absent."""
    import pyarrow

    with new_file(path, text=False) as stream, pyarrow.ipc.new_stream(stream, schema) as writer:
        remaining = iter(rows)
        while batch := list(islice(remaining, _BATCH_ROWS)):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
