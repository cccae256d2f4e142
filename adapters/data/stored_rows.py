"""A source's rows as a task stores them: checked, each with an id and its place, in the Arrow cache."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adapters.core.errors import DataError, Faults, numbered
from adapters.core.files import cache_folder, digest_value, write_text
from adapters.data.arrow_cache import cached_dataset
from adapters.data.columns import NUMBERED, ColumnRoles
from adapters.data.rows import Row, readers_of

if TYPE_CHECKING:
    import datasets
    import pyarrow

STORED_AS = 6
"""Raised when stored rows change their meaning, so that older caches are not read."""
LONGEST_NAME = 64
"""Characters of the longest name of a document that is stored as it is; of longer ones (a context) the digest is."""
MEND_ROW = "Mend the row or remove it: a model would guess."

CheckedRows = Iterator[tuple[Row, dict[str, Any]]]
"""Rows without faults, each with the values to store, by column, in a dict of its own."""


def stored_rows(
    roles: ColumnRoles,
    check: Callable[[Faults], CheckedRows],
    columns: Mapping[str, pyarrow.DataType],
    *,
    key: Any,
    needs: str,
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The rows of a source, checked, stored as Arrow and memory-mapped, and the notes of their split.

    Besides its own columns, each has `id` (its own, else its number), `document` (its name, "" where it is not known)
    and `where`.

    The notes are the source's name and digest, and what was understood of it (`ColumnRoles.record`).

    Args:
        roles: the source, and its columns.
        check: yields the sound rows in order and adds the faults of the others; not called where the cache has them.
        columns: type of each stored column, besides these.
        key: all that decides what is stored besides the source, as JSON; the task is a part of it.
        needs: what an example consists of, for the message (`texts and labels`).

    Raises:
        DataError: the first faults, each at its `file:line`; or there is no example.
    """
    import pyarrow as pa

    source = roles.source
    faults, digest, document = Faults(source.name), source.digest(), roles.document()

    def rows() -> Iterator[dict[str, Any]]:
        for number, (row, values) in enumerate(check(faults)):
            given = row.values.get("id")
            values["id"] = str(number if given is None else given)
            values["document"] = _document_of(row, document, of_parts=hasattr(source, "parts"))
            values["where"] = row.where()
            yield values
        faults.raise_if_any()
        write_text(noted, json.dumps(faults.notes))

    schema = pa.schema({"id": pa.string(), **columns, "document": pa.string(), "where": pa.string()})
    name = digest_value([digest, source.name, readers_of(source), key, document, STORED_AS])
    noted = cache_folder("datasets") / f"{name}.json"
    if not noted.is_file():  # without what was counted in reading them, stored rows are only half of it
        noted.with_suffix(".arrow").unlink(missing_ok=True)
    dataset = cached_dataset(rows, schema, name)
    if not len(dataset):
        raise DataError(f"{source.name}: the file contains no example. Give one with {needs}.")
    record = roles.record()
    record["notes"] += [numbered(count, what) for what, count in json.loads(noted.read_text(encoding="utf-8")).items()]
    return dataset, {"source": source.name, "digest": digest, "reading": record}


def _document_of(row: Row, column: str | None, *, of_parts: bool) -> str:
    """The name of a row's document; "" where it has none."""
    cell = row.values.get(column) if column is not None else None
    name = "" if cell is None or cell != cell else str(cell).strip()  # NaN is not itself
    if of_parts and name.startswith(NUMBERED):
        name = f"{name} of {row.file}"
    return name if len(name) <= LONGEST_NAME else digest_value(name)[:16]


def value_counts(dataset: datasets.Dataset, column: str) -> Counter[str]:
    """How often each text occurs in a column of texts or of lists of texts, nulls left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts: Counter[str] = Counter()
    for batch in dataset.select_columns([column]).with_format("arrow").iter(10_000):
        values = batch.column(column).combine_chunks()
        if pa.types.is_list(values.type):
            values = values.flatten()
        for found in pc.value_counts(values.drop_null()).to_pylist():
            counts[found["values"]] += found["counts"]
    return counts
