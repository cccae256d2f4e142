"""Rows of texts of any format: inputs and reference answers, checked, with every fault at its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.errors import DataError, Faults
from adapters.data.cell_values import parse_cell
from adapters.data.columns import ColumnRoles
from adapters.data.rows import Row
from adapters.data.stored_rows import CheckedRows, stored_rows

if TYPE_CHECKING:
    import datasets


_READ_AS = 2
"""Raised when the same rows are read differently, so that older caches are not used."""


@dataclass(frozen=True, kw_only=True)
class GenerationRow:
    """A row's values, as the file has them.

    Attributes:
        inputs: by the task's names.
        references: a text, or a list of texts.
        starts: for each reference, the character of an input at which it starts, if the task knows it.
        may_lack: an empty list of references is a valid answer.
        notes: what was changed in the row, in words that follow a number.
        left_out: the row is not stored; a note says why.
    """

    inputs: Mapping[str, Any]
    references: Any
    starts: Sequence[int] = ()
    may_lack: bool = False
    notes: Sequence[str] = ()
    left_out: bool = False


def stored_generation_rows(
    roles: ColumnRoles,
    columns: Mapping[str, str],
    read: Callable[[Row], GenerationRow],
    *,
    answer: str,
    key: Sequence[Any],
    advice: str,
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The rows of a source and the notes of their split, as `stored_rows` gives them.

    Columns `inputs` (JSON), `references` and `starts`.

    Args:
        roles: the source, and its columns.
        columns: the column of each input and of the answer, by the task's names.
        read: the values of a row. Raises DataError that says what is wrong with it.
        answer: the task's name of the answer.
        key: what decides which rows are stored, besides the columns and the source; the task's name among it.
        advice: what to do about rows with faults.
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        for row in roles.source.rows(faults):
            try:
                found = read(row)
                if found.left_out:
                    faults.notes.update(found.notes)
                    continue
                inputs = {name: _text(value, columns.get(name, name)) for name, value in found.inputs.items()}
                references = _texts(found, columns.get(answer, answer))
            except DataError as error:
                faults.add(row.where(), str(error), advice)
                continue
            for note in found.notes:
                faults.note(note)
            yield row, {"inputs": json.dumps(inputs), "references": references, "starts": list(found.starts)}

    types = {"inputs": pa.string(), "references": pa.list_(pa.string()), "starts": pa.list_(pa.int64())}
    return stored_rows(roles, check, types, key=[*key, _READ_AS, dict(columns)], needs="inputs and answers")


def _text(value: Any, column: str) -> str:
    """A text, or a list of sentences, which are joined by spaces. Raises DataError."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = " ".join(part.strip() for part in value)
    if isinstance(value, str) and value.strip():
        return value
    empty = value is None or value == [] or (isinstance(value, str) and not value.strip())
    raise DataError(f"column {column!r} {'is empty' if empty else f'must be a text, found {shape(value)}'}")


def _texts(found: GenerationRow, column: str) -> list[str]:
    """A text, or several, none of them empty. Raises DataError."""
    value = found.references
    several = value if isinstance(value, (list, tuple)) else [value]
    if not several and not found.may_lack:
        raise DataError(f"column {column!r} is empty")
    return [_text(one, column) for one in several]


def as_texts(cell: Any) -> Any:
    """The list of texts that a table wrote into a cell, as JSON, Python or NumPy does; else the cell itself."""
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        value = parse_cell(cell)
    except ValueError:
        return cell  # a text that begins with a bracket: [Applause] …
    return value if value and all(isinstance(one, str) for one in value) else cell


def shape(value: Any) -> str:
    """The type of a value, or `empty` for an empty text; nothing of its contents."""
    return "empty" if isinstance(value, str) and not value.strip() else type(value).__name__
