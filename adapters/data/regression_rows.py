"""Texts, or pairs of texts, with one number each, with every fault at `file:line`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError, Faults
from adapters.data.classification_columns import find_text_columns
from adapters.data.classification_rows import sound_text
from adapters.data.columns import ColumnRoles
from adapters.data.stored_rows import CheckedRows, stored_rows

if TYPE_CHECKING:
    import datasets

SCORES = (
    "score",
    "label",
    "similarity",
    "similarity_score",
    "relatedness_score",
    "rating",
    "stars",
    "sentiment_score",
    "target",
    "value",
    "number",
    "gold",
    "labels",
    "scores",
)
LARGEST = 1e100
"""Sums of squares of larger numbers could overflow."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_ADVICE = (
    "Give the row its number, or remove it. Labels that are no numbers belong to --task classification; another column "
    "is named by --label_column_name."
)
_POINT = "A decimal comma could also separate thousands: write a point, as in 3.8."


@dataclass(frozen=True, kw_only=True)
class RegressionColumns:
    """The columns of the text, of a pair's second text (None without pairs), and of the number."""

    text: str
    pair: str | None
    number: str


@dataclass(frozen=True, kw_only=True)
class LabelRange:
    """Smallest and largest of some numbers, their mean and their standard deviation (of n, not n - 1)."""

    minimum: float
    maximum: float
    mean: float
    sd: float

    @classmethod
    def of(cls, numbers: np.ndarray) -> LabelRange | None:
        """Of some numbers; None if all of them are equal."""
        low, high, sd = float(numbers.min()), float(numbers.max()), float(numbers.std())
        mean = min(max(float(numbers.mean()), low), high)  # rounding may leave the range
        return cls(minimum=low, maximum=high, mean=mean, sd=sd) if low < high and sd > 0 else None

    @classmethod
    def of_card(cls, given: Any) -> LabelRange | None:
        """As a card has it. Raises DataError if it is neither a range nor null, as answers are scaled by it."""
        if given is None:
            return None
        names = [field.name for field in fields(cls)]
        known = isinstance(given, dict) and set(given) == set(names)
        if not known or not all(type(value) in (int, float) and math.isfinite(value) for value in given.values()):
            raise DataError(f"label_range: expected the numbers {', '.join(names)}, found {given!r:.200}.")
        found = cls(**given)
        if not found.minimum <= found.mean <= found.maximum or not found.sd > 0:
            raise DataError(f"label_range: expected minimum ≤ mean ≤ maximum and 0 < sd, found {given!r:.200}.")
        return found

    def __str__(self) -> str:
        """`from 0 to 5, mean 2.70, sd 1.46`, with four digits."""
        return f"from {self.minimum:,.4g} to {self.maximum:,.4g}, mean {self.mean:,.4g}, sd {self.sd:,.4g}"


def find_regression_columns(roles: ColumnRoles) -> RegressionColumns:
    """The columns that the user named, else those with the usual names. Raises DataError that lists the columns."""
    text, pair = find_text_columns(roles)
    return RegressionColumns(text=text, pair=pair, number=roles.find("label", SCORES, what="numbers"))


def stored_numbers(roles: ColumnRoles, columns: RegressionColumns) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The examples of a source and the notes of their split, as `stored_rows` gives them.

    Columns `text`, `text_pair` (null except for pairs), and `number`.
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        for row in roles.source.rows(faults):
            text = sound_text(row, columns.text, faults)
            pair = sound_text(row, columns.pair, faults) if columns.pair is not None else None
            number, what = read_number(row.values.get(columns.number))
            if number is None:
                advice = _POINT if what.endswith("a decimal comma") else _ADVICE
                faults.add(row.where(), f"column {columns.number!r} must be a number, found {what}", advice)
            elif text is not None and (pair is not None or columns.pair is None):
                yield row, {"text": text, "text_pair": pair, "number": number}

    types = {"text": pa.string(), "text_pair": pa.string(), "number": pa.float64()}
    return stored_rows(roles, check, types, key=["regression", astuple(columns)], needs="texts and numbers")


def numbers_of(dataset: datasets.Dataset) -> np.ndarray:
    """float64 `[examples]`: the numbers of stored examples."""
    batches: Iterable[Any] = dataset.select_columns(["number"]).with_format("arrow").iter(10_000)
    parts = [batch.column("number").to_numpy() for batch in batches]  # the format "numpy" rounds to float32
    return np.concatenate([np.zeros(0), *parts])


def read_number(value: Any) -> tuple[float | None, str]:
    """A cell's number; or None, and what the cell is instead."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, "nothing"
    shown = repr(value)[:60]
    if isinstance(value, bool | np.bool_):
        return None, shown
    if isinstance(value, str):
        text = value.strip()
        if _COMMA.fullmatch(text):
            return None, f"{shown}, a decimal comma"
        if not _NUMBER.fullmatch(text):
            return None, shown
        value = text
    elif not isinstance(value, Real | Decimal):
        return None, shown
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST:
        return None, f"{shown}, beyond {LARGEST:g}" if abs(number) > LARGEST else shown
    return number, ""
