"""Labelled texts of any format: a text (or a pair) and the names of its labels, with every fault at `file:line`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.errors import Faults
from adapters.data.columns import ColumnRoles
from adapters.data.rows import Row, RowSource
from adapters.data.stored_rows import MEND_ROW, CheckedRows, stored_rows, value_counts

if TYPE_CHECKING:
    import datasets

PAIRS = {
    "text": "text_pair",
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text_a": "text_b",
    "sentence_a": "sentence_b",
}
TEXTS = (*PAIRS, "sentence", "content", "review", "utterance", "tweet", "document", "question", "title")
LABELS = ("label", "labels", "category", "intent", "class", "target", "sentiment", "type", "topic")


@dataclass(frozen=True, kw_only=True)
class ClassificationColumns:
    """The columns of the text, of a pair's second text (None without pairs), and of the label."""

    text: str
    pair: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class LabelledText:
    """One example as it was read."""

    row: Row
    text: str
    pair: str | None
    labels: list[str]


def find_classification_columns(roles: ColumnRoles) -> ClassificationColumns:
    """The columns that the user named, else those with the usual names. Raises DataError that lists the columns."""
    text, pair = find_text_columns(roles)
    return ClassificationColumns(text=text, pair=pair, label=roles.find("label", LABELS, what="labels"))


def find_text_columns(roles: ColumnRoles) -> tuple[str, str | None]:
    """The columns of the text and of a pair's second text: those that the user named, else with the usual names.

    A pair is found without being named only where both columns have the names of one (`sentence1, sentence2`).

    Raises DataError that lists the columns.
    """
    named = roles.given.get("text") or roles.given.get("text_pair")
    both = None if named else next((names for names in PAIRS.items() if len(roles.matching(names)) == 2), None)
    text = roles.find("text", TEXTS if both is None else both[:1], what="texts")
    return text, roles.look("text_pair", () if both is None else both[1:])


def read_labelled_texts(
    source: RowSource, columns: ClassificationColumns, *, separator: str | None, faults: Faults
) -> Iterator[LabelledText]:
    """The sound examples of a source in order.

    Args:
        source: the rows.
        columns: the columns to read.
        separator: between the labels of a text that may have several; None where a text has exactly one.
        faults: collects what is wrong with the other rows.
    """
    for row in source.rows(faults):
        text = sound_text(row, columns.text, faults)
        pair = sound_text(row, columns.pair, faults) if columns.pair is not None else None
        labels = _labels(row, columns.label, separator, faults)
        if text is not None and labels is not None and (pair is not None or columns.pair is None):
            yield LabelledText(row=row, text=text, pair=pair, labels=labels)


def stored_texts(
    roles: ColumnRoles, columns: ClassificationColumns, separator: str | None
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The examples of a source and the notes of their split, as `stored_rows` gives them.

    Columns `text`, `text_pair` (null except for pairs), and `label` where a text has exactly one, else `labels`.
    `columns` and `separator` are those of `read_labelled_texts`.
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        for found in read_labelled_texts(roles.source, columns, separator=separator, faults=faults):
            one = separator is None
            yield (
                found.row,
                {
                    "text": found.text,
                    "text_pair": found.pair,
                    "label": found.labels[0] if one else None,
                    "labels": None if one else found.labels,
                },
            )

    text = pa.string()
    types = {"text": text, "text_pair": text, "label": text, "labels": pa.list_(text)}
    key = ["classification", astuple(columns), separator]
    return stored_rows(roles, check, types, key=key, needs="texts and labels")


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
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(set(names), key=(lambda name: (int(name), name)) if numbers else None))


def sound_text(row: Row, column: str, faults: Faults) -> str | None:
    """A row's text in a column; None where it has none, which is a fault."""
    value = row.values.get(column)
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if isinstance(value, str) else f"must be a text, found {_shown(value)}"
    faults.add(row.where(), f"column {column!r} {what}", MEND_ROW)
    return None


def _labels(row: Row, column: str, separator: str | None, faults: Faults) -> list[str] | None:
    value = row.values.get(column)
    items = [value] if separator is None else _list_of(value, separator)
    names = [_name(item) for item in items]
    sound = [name for name in names if name is not None]
    if len(sound) < len(names):
        one = separator is None
        needed = "a text or a whole number" if one else f"labels with {separator!r} between them, or a list"
        advice = "Give the row its label, or remove it." if one else ""
        faults.add(row.where(), f"column {column!r} must be {needed}, found {_shown(value)}", advice)
        return None
    return list(dict.fromkeys(sound))


def _list_of(value: Any, separator: str) -> list[Any]:
    """The labels of a text that may have several: a list, a JSON list in a cell, or names with separators between."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return [None]
    if isinstance(value, str):
        return [part for part in value.split(separator) if part.strip()]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _name(value: Any) -> str | None:
    """A label's name; None if it is neither a text nor a whole number (`1.0` is one: spreadsheets write it so)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == "" else repr(value)[:60]
