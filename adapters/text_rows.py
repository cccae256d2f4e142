"""Rows of texts of any format -> inputs and reference answers, checked, with every fault at its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.data import Row, RowSource
from adapters.errors import DataError, Faults
from adapters.files import digest_value
from adapters.store import store

if TYPE_CHECKING:
    import datasets

STORED_AS = 1
"""Raised when stored rows change their meaning, so that older caches are not read."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a row says. Values are as the file has them.

    Attributes:
        inputs: by the task's names.
        references: a text, or a list of texts.
        starts: of each reference the character of an input at which it stands, where the task tells that.
        may_lack: an empty list of references is an answer, too.
    """

    inputs: Mapping[str, Any]
    references: Any
    starts: Sequence[int] = ()
    may_lack: bool = False


def stored(
    source: RowSource, names: Mapping[str, str], read: Callable[[Row], Read], *, answer: str, key: Sequence[Any]
) -> datasets.Dataset:
    """The rows of a source, checked, stored as Arrow and memory-mapped.

    Columns `id`, `inputs` (JSON), `references`, `starts` and `where`. Raises DataError with the first faults, or where
    there is no row.

    Args:
        source: of rows.
        names: where it keeps each input and the answer, by the task's names.
        read: what a row says. Raises DataError that says what is wrong with it.
        answer: the task's name of the answer.
        key: what beside names and source decides what is stored, the source's digest among it.
    """
    import pyarrow as pa

    faults = Faults(source.name)

    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(source.rows(faults)):
            try:
                found = read(row)
                inputs = {ours: _text(value, names.get(ours, ours)) for ours, value in found.inputs.items()}
                references = _texts(found, names.get(answer, answer))
            except DataError as error:
                faults.add(row.where(), str(error), "Mend the row or remove it: a model would guess.")
                continue
            given = row.values.get("id")
            yield {"id": str(number if given is None else given), "inputs": json.dumps(inputs),
                   "references": references, "starts": list(found.starts), "where": row.where()}  # fmt: skip
        faults.raise_if_any()

    schema = pa.schema({**dict.fromkeys(("id", "inputs", "where"), pa.string()),
                        "references": pa.list_(pa.string()), "starts": pa.list_(pa.int64())})  # fmt: skip
    how = [type(source).__name__, getattr(source, "encoding", None), dict(names), source.name, STORED_AS]
    dataset = store(rows, schema, digest_value([*key, how]))
    if not len(dataset):
        raise DataError(f"{source.name}: the file holds no example. Give one with rows.")
    return dataset


def find_column(source: RowSource, what: str, flag: str, given: str | None, usual: Sequence[str]) -> str:
    """The column that the user named, or else the first of the usual names that is there, whatever its case.

    Raises DataError that lists the columns.
    """
    listed = f"Columns found: {', '.join(source.columns)}."
    if given is not None:
        if given not in source.columns:
            raise DataError(f"{source.name}: no column {given!r} (--{flag}). {listed}")
        return given
    lower = {column.lower(): column for column in reversed(source.columns)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None:
        raise DataError(
            f"{source.name}: no column of {what} that goes by a usual name ({', '.join(usual)}). {listed} "
            f"Name it with --{flag}."
        )
    return found


def _text(value: Any, column: str) -> str:
    """A text, or a list of sentences, which are joined by blanks. Raises DataError."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = " ".join(part.strip() for part in value)
    if isinstance(value, str) and value.strip():
        return value
    empty = value is None or value == [] or (isinstance(value, str) and not value.strip())
    raise DataError(f"column {column!r} {'is empty' if empty else f'must be a text, found {shape(value)}'}")


def _texts(found: Read, column: str) -> list[str]:
    """A text, or several, none of them empty. Raises DataError."""
    value = found.references
    several = value if isinstance(value, (list, tuple)) else [value]
    if not several and not found.may_lack:
        raise DataError(f"column {column!r} is empty")
    return [_text(one, column) for one in several]


def shape(value: Any) -> str:
    """What was given, without its contents."""
    return "empty" if isinstance(value, str) and not value.strip() else type(value).__name__
