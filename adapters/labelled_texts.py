"""Labelled texts of any format -> a text (or a pair) and the names of its labels, with every fault at `file:line`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from adapters.data import Row, RowSource
from adapters.errors import DataError, Faults
from adapters.files import digest_value
from adapters.store import store

if TYPE_CHECKING:
    import datasets

STORED_AS = 1
"""Raised when stored rows change their meaning, so that older caches are not read."""
PAIRS = {"text": "text_pair", "sentence1": "sentence2", "premise": "hypothesis", "question1": "question2",
         "text_a": "text_b"}  # fmt: skip
TEXTS = (*PAIRS, "sentence", "content", "review", "utterance", "tweet", "document", "question", "title")
LABELS = ("label", "labels", "category", "intent", "class", "target", "sentiment", "type", "topic")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a source keeps its text, the second text of a pair (or None), and its label."""

    text: str
    pair: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One example as it was read."""

    row: Row
    text: str
    pair: str | None
    labels: list[str]


def find_columns(source: RowSource, text: str | None, pair: str | None, label: str | None) -> Columns:
    """The columns named by the user, else those of the usual names, whatever their case.

    A pair is taken without being named only where both columns are called as a pair's are (`sentence1, sentence2`).

    Raises DataError that lists the columns.
    """
    found = source.columns
    named = (("--text_column_name", text), ("--text_pair_column_name", pair), ("--label_column_name", label))
    for flag, name in named:
        if name is not None and name not in found:
            raise DataError(f"{source.name}: no column {name!r} ({flag}). Columns found: {', '.join(found)}.")

    lower = {column.lower(): column for column in reversed(found) if column not in (text, pair, label)}
    if pair is None and text is None:
        pair = next((lower[two] for one, two in PAIRS.items() if one in lower and two in lower), None)
    label = label or next((lower[name] for name in LABELS if name in lower), None)
    text = text or next((lower[name] for name in TEXTS if name in lower), None)
    if text is None or label is None:
        missing = "text" if text is None else "labels"
        flag = "--text_column_name" if text is None else "--label_column_name"
        raise DataError(
            f"{source.name}: no column of {missing} that goes by a usual name. Columns found: {', '.join(found)}. "
            f"Name it with {flag}."
        )
    return Columns(text=text, pair=pair, label=label)


def labelled(
    source: RowSource, columns: Columns, *, separator: str | None, faults: Faults
) -> Iterator[Labelled]:  # fmt: skip
    """The sound examples of a source in order; what is wrong with the others is added to `faults`.

    Args:
        source: of rows.
        columns: where to look.
        separator: stands between the labels of a text that may have several; None: a text has exactly one.
        faults: takes the faults.
    """
    for row in source.rows(faults):
        text = _text(row, columns.text, faults)
        pair = _text(row, columns.pair, faults) if columns.pair is not None else None
        labels = _labels(row, columns.label, separator, faults)
        if text is not None and labels is not None and (pair is not None or columns.pair is None):
            yield Labelled(row=row, text=text, pair=pair, labels=labels)


def stored(source: RowSource, columns: Columns, separator: str | None, digest: str) -> datasets.Dataset:
    """The examples of a source, checked, stored as Arrow and memory-mapped; see `labelled` for the arguments.

    `digest` is the source's, which its caller records: the file is read for it once.

    Columns `id, text, text_pair` (null but of pairs), `label` where there is one a text, else `labels`, and `where`.
    Raises DataError with the first faults, or where there is no example.
    """
    import pyarrow as pa

    names = ("id", "text", "text_pair", "label", "where")
    schema = pa.schema({**{name: pa.string() for name in names}, "labels": pa.list_(pa.string())})
    faults = Faults(source.name)

    def rows() -> Iterator[dict[str, Any]]:
        for number, found in enumerate(labelled(source, columns, separator=separator, faults=faults)):
            given = found.row.values.get("id")
            yield {
                "id": str(number if given is None else given),
                "text": found.text,
                "text_pair": found.pair,
                "label": found.labels[0] if separator is None else None,
                "labels": found.labels if separator is not None else None,
                "where": found.row.where(),
            }
        faults.raise_if_any()

    how = [type(source).__name__, getattr(source, "encoding", None), astuple(columns), separator]
    dataset = store(rows, schema, digest_value([digest, source.name, how, "labelled texts", STORED_AS]))
    if not len(dataset):
        raise DataError(f"{source.name}: the file holds no example. Give one with texts and labels.")
    return dataset


def count_labels(dataset: datasets.Dataset) -> Counter[str]:
    """How often each label occurs among stored examples."""
    single = (name for name in dataset["label"] if name is not None)
    several = (name for names in dataset["labels"] for name in names or ())
    return Counter(single) + Counter(several)


def balanced_weights(counts: Sequence[int], texts: int, *, several: bool) -> list[float]:
    """n / (classes * n of the class), as scikit-learn's `balanced`; where a text may have several, absent / present."""
    if several:
        return [(texts - count) / count for count in counts]
    return [texts / (len(counts) * count) for count in counts]


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Label names sorted: as numbers where all of them are whole numbers, else as text."""
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(set(names), key=(lambda name: (int(name), name)) if numbers else None))


def _text(row: Row, column: str, faults: Faults) -> str | None:
    value = row.values.get(column)
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if isinstance(value, str) else f"must be a text, found {_shown(value)}"
    faults.add(row.where(), f"column {column!r} {what}", "Mend the row or remove it: a model would guess.")
    return None


def _labels(row: Row, column: str, separator: str | None, faults: Faults) -> list[str] | None:
    value = row.values.get(column)
    items = [value] if separator is None else _listed(value, separator)
    names = [_name(item) for item in items]
    sound = [name for name in names if name is not None]
    if len(sound) < len(names):
        needed = (
            "a text or a whole number" if separator is None else f"labels with {separator!r} between them, or a list"
        )
        faults.add(row.where(), f"column {column!r} must be {needed}, found {_shown(value)}",
                   "Give the row its label, or remove it." if separator is None else "")  # fmt: skip
        return None
    return list(dict.fromkeys(sound))


def _listed(value: Any, separator: str) -> list[Any]:
    """The labels of a text that may have several: a list, a JSON list in a cell, or names between separators."""
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
    """A label's name; None where it is neither a text nor a whole number (a lone `1.0` is one, as spreadsheets say)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == "" else repr(value)[:60]
