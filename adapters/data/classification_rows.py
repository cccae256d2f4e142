"""Labelled texts of any format: a text (or a pair) and the names of its labels, with every fault at `file:line`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.core.errors import DataError, Faults
from adapters.data.classification_columns import ClassificationColumns, first_values
from adapters.data.columns import ColumnRoles
from adapters.data.label_cells import LabelFault, LabelForm, are_vectors, label_reader
from adapters.data.rows import Row, RowSource
from adapters.data.stored_rows import MEND_ROW, CheckedRows, stored_rows, value_counts

if TYPE_CHECKING:
    import datasets

_SEPARATORS = ",;|/"
_READ_AS = 2
"""Raised when the same rows are read differently, so that older caches are not used."""


class LabelledText(NamedTuple):
    """One example as it was read."""

    row: Row
    text: str
    pair: str | None
    labels: list[str]


def read_labelled_texts(
    source: RowSource, columns: ClassificationColumns, *, form: LabelForm, faults: Faults, vectors: bool = False
) -> Iterator[LabelledText]:
    """The sound examples of a source in order.

    Args:
        source: the rows.
        columns: the columns to read.
        form: how labels are written, and which rows are left out.
        faults: collects what is wrong with the other rows, and counts what is left out.
        vectors: whether labels are vectors of 0 and 1 (`holds_vectors`).
    """
    read = label_reader(columns.labels, form, vectors=vectors)
    first, second, decision = columns.text, columns.pair, columns.decision
    for row in source.rows(faults):
        values = row.values
        if decision is not None and values.get(decision) in ("reject", "ignore"):
            faults.note(f"rows answered {values[decision]!r}, left out")
            continue
        text = sound_text(row, first, faults)
        pair = None if second is None else sound_text(row, second, faults)
        try:
            labels, dropped = read(values)
        except LabelFault as fault:
            faults.add(row.where(), fault.what, fault.advice)
            continue
        if dropped:
            faults.note(f"rows labelled {dropped!r}, left out by --drop_label")
        elif text is not None and (pair is not None or second is None):
            yield LabelledText(row, text, pair, labels)


def stored_texts(
    roles: ColumnRoles, columns: ClassificationColumns, form: LabelForm, *, vectors: bool = False
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The examples of a source and the notes of their split, as `stored_rows` gives them.

    Columns `text`, `text_pair` (null except for pairs), and `label` where a text has exactly one, else `labels`.
    `columns`, `form` and `vectors` are those of `read_labelled_texts`. Raises DataError.
    """
    import pyarrow as pa

    note_separator(roles, columns, form)
    several = form.several

    def check(faults: Faults) -> CheckedRows:
        for row, text, pair, labels in read_labelled_texts(
            roles.source, columns, form=form, faults=faults, vectors=vectors
        ):
            yield (
                row,
                {
                    "text": text,
                    "text_pair": pair,
                    "label": None if several else labels[0],
                    "labels": labels if several else None,
                },
            )

    text = pa.string()
    types = {"text": text, "text_pair": text, "label": text, "labels": pa.list_(text)}
    key = ["classification", _READ_AS, astuple(columns), astuple(form), vectors]
    return stored_rows(roles, check, types, key=key, needs="texts and labels")


def holds_vectors(roles: ColumnRoles, columns: ClassificationColumns, form: LabelForm) -> bool:
    """Whether labels are vectors of 0 and 1. Raises DataError where there are no names for them."""
    if columns.one_hot or not (form.several or form.names):
        return False
    cells = [values.get(columns.labels[0]) for values in first_values(roles.source)]
    if not are_vectors(cells, form.separator):
        return False
    if not form.names:
        raise DataError(
            f"{roles.source.name}: column {columns.labels[0]!r} contains vectors of 0 and 1 ({str(cells[0])[:40]}), "
            "and nothing says which label each place is. Name the labels in the order of the places: --label_names "
            "a,b,c (or a .json file with a list)."
        )
    return True


def note_separator(roles: ColumnRoles, columns: ClassificationColumns, form: LabelForm) -> None:
    """Say so where the separator is in no cell of the first rows, but another one in most of them."""
    if form.separator is None or columns.one_hot:
        return
    cells = [values.get(columns.labels[0]) for values in first_values(roles.source)]
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip() and cell.lstrip()[0] not in "[{"]
    if not texts or any(form.separator in text for text in texts):
        return
    for other in _SEPARATORS:
        if 2 * sum(other in text for text in texts) > len(texts):
            roles.notes.append(
                f"warning: {columns.labels[0]} never contains {form.separator!r}, but mostly {other!r}: if that "
                f"separates labels, add --label_separator '{other}'"
            )
            return


def count_labels(dataset: datasets.Dataset) -> Counter[str]:
    """How often each label occurs among stored examples."""
    return value_counts(dataset, "label") + value_counts(dataset, "labels")


def balanced_weights(counts: Sequence[int], texts: int, *, several: bool) -> list[float]:
    """Class weights: texts / (classes * count), scikit-learn's `balanced`; of several labels absent / present."""
    if several:
        return [(texts - count) / count for count in counts]
    return [texts / (len(counts) * count) for count in counts]


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Label names sorted: as numbers where all of them are whole numbers, else as text."""
    numbers = all(name.removeprefix("-").isdecimal() and len(name) < 1000 for name in names)
    return tuple(sorted(set(names), key=(lambda name: (int(name), name)) if numbers else None))


def sound_text(row: Row, column: str, faults: Faults) -> str | None:
    """A row's text in a column; None where it has none, which is a fault."""
    value = row.values.get(column)
    if isinstance(value, str) and value.strip():
        return value
    found = "nothing" if value is None else repr(value)[:60]
    what = "is empty" if isinstance(value, str) else f"must be a text, found {found}"
    faults.add(row.where(), f"column {column!r} {what}", MEND_ROW)
    return None
