"""A source's rows as a task stores them: checked, each with an id and its place, in the Arrow cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adapters.core.discovery import code_version
from adapters.core.errors import DataError, Faults
from adapters.core.files import digest_value
from adapters.data.arrow_cache import cached_dataset
from adapters.data.rows import Row, RowSource

if TYPE_CHECKING:
    import datasets
    import pyarrow

STORED_AS = 2
"""Raised when stored rows change their meaning, so that older caches are not read."""
MEND_ROW = "Mend the row or remove it: a model would guess."

CheckedRows = Iterator[tuple[Row, dict[str, Any]]]
"""Rows without faults, each with the values to store, by column."""


def stored_rows(
    source: RowSource,
    check: Callable[[Faults], CheckedRows],
    columns: Mapping[str, pyarrow.DataType],
    *,
    key: Any,
    needs: str,
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The rows of a source, checked, stored as Arrow and memory-mapped, and the notes of their split.

    Args:
        source: the rows.
        check: yields the sound rows in order and adds the faults of the others; not called where the cache has them.
        columns: type of each stored column, besides `id` (the row's own, else its number) and `where`.
        key: all that decides what is stored besides the source, as JSON; the task is a part of it.
        needs: what an example consists of, for the message (`texts and labels`).

    Raises:
        DataError: the first faults, each at its `file:line`; or there is no example.
    """
    import pyarrow as pa

    faults, digest = Faults(source.name), source.digest()

    def rows() -> Iterator[dict[str, Any]]:
        for number, (row, values) in enumerate(check(faults)):
            given = row.values.get("id")
            yield {"id": str(number if given is None else given), **values, "where": row.where()}
        faults.raise_if_any()

    schema = pa.schema({"id": pa.string(), **columns, "where": pa.string()})
    reader = [type(source).__name__, code_version(type(source)), getattr(source, "encoding", None)]
    dataset = cached_dataset(rows, schema, digest_value([digest, source.name, reader, key, STORED_AS]))
    if not len(dataset):
        raise DataError(f"{source.name}: the file contains no example. Give one with {needs}.")
    return dataset, {"source": source.name, "digest": digest}
