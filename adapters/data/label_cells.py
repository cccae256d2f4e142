"""From a row's cells to the names of its labels, in the forms that people and their tools write.

    bad   3   1.0   ["bad"]   "['bad', 'late']"   bad,late   {"choices": ["bad"]}   {"bad": 1, "late": 0}

A vector (`[0, 1, 0]`) has a number for each name of --label_names. One-hot columns are labels that are named as their
columns are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapters.data.cell_values import parse_cell
from adapters.data.labels import meant

NULL = "null"
"""What --drop_label calls a label that is missing."""

_FLAGS: Mapping[Any, bool] = {  # 1.0 and True are the same key as 1
    0: False,
    1: True,
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE"), False),
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE"), True),
}
_WHOLE = re.compile(r"([-+]?\d+)\.0+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_DIGITS = 10
"""Digits of a text that is no class number; of thousands, Python makes no number."""
_REMEMBERED = 10_000
"""Cells whose labels are remembered: those of one label are few and repeat."""
_DICT = "a dict of choices, or of names with 0 or 1"
SCORES = "Decimal numbers are scores, not classes: learn them with --task regression."


@dataclass(frozen=True, kw_only=True)
class LabelForm:
    """How labels are written, as the settings say.

    Attributes:
        separator: between the labels of a text that may have several; None where a text has exactly one.
        names: the names of the classes 0, 1, …; empty if labels have their names already.
        dropped: labels whose rows are left out; `null` is a missing one.
    """

    separator: str | None = None
    names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.separator is not None


class Labels(NamedTuple):
    """What a row's cells say."""

    names: list[str]
    dropped: str = ""
    """The label for which the row is left out; empty if it is not."""


class LabelFault(ValueError):
    """What is wrong with a row's labels, and what to do."""

    def __init__(self, what: str, advice: str = "") -> None:
        """Args: as those of `Faults.add`."""
        super().__init__(what)
        self.what, self.advice = what, advice


def label_reader(
    columns: Sequence[str], form: LabelForm, *, vectors: bool = False
) -> Callable[[Mapping[str, Any]], Labels]:
    """A function from a row's values to its labels, which raises LabelFault.

    Args:
        columns: the column of the labels, or of several the one-hot columns, each of which is a label.
        form: how they are written.
        vectors: whether a cell is a list with 0 or 1 for each of the form's names.
    """
    return _Columns(columns, form).read if len(columns) > 1 else _Cell(columns[0], form, vectors).read


def as_flag(value: Any) -> bool | None:
    """The truth value that a cell means (0, 1, false, true); None if it means none."""
    return _FLAGS.get(value) if isinstance(value, str | int | float) else None


def are_vectors(cells: Sequence[Any], separator: str | None) -> bool:
    """Whether all cells are lists of one length, at least two, of 0 and 1."""
    try:
        lists = [_items(cell, separator) for cell in cells if not is_missing(cell)]
    except ValueError:  # a fault of its row, which is found when that is read
        return False
    lengths = {len(items) for items in lists}
    flags = all(as_flag(item) is not None and not isinstance(item, bool) for items in lists for item in items)
    return bool(lists) and len(lengths) == 1 and lengths.pop() > 1 and flags


def is_missing(cell: Any) -> bool:
    """Whether a cell is null, empty or blank."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def is_number(name: str) -> bool:
    """Whether a label's name is a number, whole or not."""
    return _NUMBER.fullmatch(name) is not None


class _Cell:
    """Reads the labels in one column."""

    def __init__(self, column: str, form: LabelForm, vectors: bool) -> None:
        self.column, self.form, self.vectors = column, form, vectors
        self.dropped = frozenset(form.dropped)
        self.classes = frozenset(form.names)
        self.known: dict[Any, Labels] = {}

    def read(self, values: Mapping[str, Any]) -> Labels:
        """The labels of a row."""
        cell = values.get(self.column)
        if type(cell) is not str and type(cell) is not int:  # True is 1 as a key
            return self._labels(cell)
        found = self.known.get(cell)
        if found is None:
            found = self._labels(cell)
            if len(self.known) < _REMEMBERED:
                self.known[cell] = found
        return found

    def _labels(self, cell: Any) -> Labels:
        if self.vectors:
            return self._of_vector(cell)
        items = self._listed(cell)
        if any(isinstance(item, list | tuple | Mapping) for item in items):
            raise LabelFault(
                f"column {self.column!r} must be {self._needed}, found a list of lists or dicts",
                "Spans with labels are for --task ner.",
            )
        missing = not items or (len(items) == 1 and is_missing(items[0]) and not self.form.several)
        if missing and NULL in self.dropped:
            return Labels([], NULL)
        if not self.form.several and len(items) != 1:
            if items:
                raise LabelFault(
                    f"column {self.column!r} has {len(items)} labels, but a text has one",
                    "Add --multi_label if a text may have several labels; vectors of 0 and 1 need --label_names, too.",
                )
            raise self._not_a_label(cell)
        names = []
        for item in items:
            name = _name(item)
            if name is None:
                raise self._not_a_label(cell if self.form.several else item)
            if name in self.dropped:
                return Labels([], name)
            names.append(self._of_class(name) if self.classes else name)
        return Labels(list(dict.fromkeys(names)))

    def _listed(self, cell: Any) -> list[Any]:
        """The labels in a cell, not yet named. Raises LabelFault."""
        try:
            return _items(cell, self.form.separator)
        except ValueError as error:
            raise LabelFault(f"column {self.column!r} must be {self._needed}, found {error}") from error

    def _of_class(self, name: str) -> str:
        """The name of a class number; a name of --label_names is itself."""
        if name in self.classes:
            return name
        count = len(self.form.names)
        number = int(name) if name.isdecimal() and len(name) < _DIGITS else -1
        if 0 <= number < count:
            return self.form.names[number]
        if number == count:
            advice = "Classes are counted from 0: where the data begin at 1, name the class 0, too, which no row has."
        else:
            advice = (
                "Correct the label or --label_names, or leave such rows out with --drop_label. Another column is named "
                "by --label_column_name."
            )
        which = f"{name!r} is none of the {count} classes of --label_names{meant(name, self.form.names)}"
        raise LabelFault(f"column {self.column!r}: {which}", advice)

    def _of_vector(self, cell: Any) -> Labels:
        items, names = self._listed(cell), self.form.names
        if len(items) != len(names):
            raise LabelFault(
                f"column {self.column!r} has {len(items)} numbers, but --label_names has {len(names)} names",
                "A vector needs a number for each name.",
            )
        return Labels(_marked(items, names, self.form, f"column {self.column!r}"))

    @property
    def _needed(self) -> str:
        if self.form.several:
            return f"labels with {self.form.separator!r} between them, or a list"
        return "a text or a whole number"

    def _not_a_label(self, value: Any) -> LabelFault:
        must = f"column {self.column!r} must be {self._needed}"
        if isinstance(value, float):
            return LabelFault(f"{must}, found a decimal number", SCORES)
        missing = "Give the row its label, or remove it. All rows without one are left out by --drop_label null."
        return LabelFault(f"{must}, found {_shown(value)}", "" if self.form.several else missing)


class _Columns:
    """Reads one-hot columns."""

    def __init__(self, columns: Sequence[str], form: LabelForm) -> None:
        self.columns, self.form = columns, form
        self.dropped = frozenset(form.dropped)

    def read(self, values: Mapping[str, Any]) -> Labels:
        """The columns that are 1."""
        cells = [values.get(column) for column in self.columns]
        if self.dropped:
            for cell in cells:
                name = NULL if is_missing(cell) else _name(cell)
                if name in self.dropped:
                    return Labels([], name)
        return Labels(_marked(cells, self.columns, self.form, "", self.columns))


def _marked(
    cells: Sequence[Any], names: Sequence[str], form: LabelForm, place: str, columns: Sequence[str] = ()
) -> list[str]:
    """The names whose cells are 1. Raises LabelFault."""
    found = []
    for number, (cell, name) in enumerate(zip(cells, names, strict=True)):
        flag = as_flag(cell)
        if flag is None:
            where = f"column {columns[number]!r}" if columns else place
            raise LabelFault(f"{where} must be 0 or 1 (or false or true), found {_shown(cell)}")
        if flag:
            found.append(name)
    if not form.several and len(found) != 1:
        subject = f"of the columns {', '.join(columns)}" if columns else f"{place}: of the vector"
        which = f"{len(found)} are 1 ({', '.join(found)})" if found else "none is 1"
        raise LabelFault(f"{subject} {which}, but a text has one label", "Texts of several labels need --multi_label.")
    return found


def _items(cell: Any, separator: str | None) -> list[Any]:
    """The labels in a cell, not yet named; `separator` is None where there is one. Raises ValueError."""
    if isinstance(cell, str) and cell.lstrip().startswith(("[", "{", "array(")):
        try:
            cell = parse_cell(cell)
        except ValueError:
            if separator is not None:
                raise ValueError(_shown(cell)) from None
    if isinstance(cell, Mapping):
        return _chosen(cell)
    if isinstance(cell, list | tuple):
        return list(cell)
    if separator is None:
        return [cell]
    if is_missing(cell):
        return []
    return [part for part in cell.split(separator) if part.strip()] if isinstance(cell, str) else [cell]


def _chosen(cell: Mapping[str, Any]) -> list[Any]:
    """The labels in a dict: Label Studio's `{"choices": […]}`, or spaCy's `{"bad": 1.0, "good": 0.0}`."""
    choices = cell.get("choices")
    if isinstance(choices, list | str):
        return choices if isinstance(choices, list) else [choices]
    flags = {name: as_flag(value) for name, value in cell.items()}
    if not flags or None in flags.values():
        raise ValueError(f"{_shown(dict(cell))}, which is not {_DICT}")
    return [name for name, flag in flags.items() if flag]


def _name(value: Any) -> str | None:
    """A label's name; None if it is neither a text nor a whole number (`1.0` is one: spreadsheets write it so)."""
    if isinstance(value, str):
        name = value.strip()
        if name.endswith("0") and (whole := _WHOLE.fullmatch(name)):
            return whole[1]
        return name or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) else None


def _shown(value: Any) -> str:
    return "nothing" if is_missing(value) and value in (None, "") else repr(value)[:60]
