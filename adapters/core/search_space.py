"""Search spaces: which values of a setting a search may try."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from adapters.core.errors import SettingsError


class Dimension(Protocol):
    """The values of one setting."""

    def draw(self, generator: random.Random) -> Any:
        """A value at random."""

    def record(self) -> dict[str, Any]:
        """The dimension as JSON."""


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely as the others: JSON values, of which a list is one value.

    A value that is a table sets several settings together: `{"lora_r": 4, "lora_alpha": 8}`.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise SettingsError("A search space's choice has no values.")
        object.__setattr__(self, "values", values)

    def draw(self, generator: random.Random) -> Any:
        """One of the values."""
        return generator.choice(self.values)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"values": list(self.values)}


@dataclass(frozen=True)
class LogUniform:
    """Numbers between two bounds, whose logarithm is uniformly distributed; rounded to two significant digits."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < math.inf):
            raise SettingsError(
                f"A search space from {self.low} to {self.high}: needs finite bounds above 0, the lower one first."
            )

    def draw(self, generator: random.Random) -> float:
        """A number within the bounds."""
        return rounded(math.exp(generator.uniform(math.log(self.low), math.log(self.high))), self)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"low": self.low, "high": self.high, "log": True}


Space = Mapping[str, Dimension]
"""A dimension for each setting that is searched, by the setting's name."""


def rounded(number: float, dimension: LogUniform) -> float:
    """A number within the bounds, to two significant digits."""
    return min(max(float(f"{number:.2g}"), dimension.low), dimension.high)


def value(name: str, drawn: Any) -> dict[str, Any]:
    """The settings that a dimension's value sets."""
    return dict(drawn) if isinstance(drawn, Mapping) else {name: drawn}


def drawn(space: Space, seed: int, number: int) -> list[dict[str, Any]]:
    """Distinct settings at random, the same for the same seed; fewer where the space has fewer."""
    generator = random.Random(f"search/{seed}")
    found: list[dict[str, Any]] = []
    for _ in range(50 * number):
        if len(found) == number:
            break
        one: dict[str, Any] = {}
        for name, dimension in space.items():
            one |= value(name, dimension.draw(generator))
        if one not in found:
            found.append(one)
    return found


def ends(dimension: Dimension) -> list[Any]:
    """The values by which a dimension is checked: all of a choice, the bounds of a range."""
    record = dimension.record()
    return list(record["values"]) if "values" in record else [record["low"], record["high"]]


def records(space: Space) -> dict[str, Any]:
    """A space as JSON."""
    return {name: dimension.record() for name, dimension in space.items()}


def from_record(record: Any, where: str) -> Dimension:
    """The dimension that a settings file describes: a list of values, or a table with `low` and `high`.

    Raises SettingsError, which names the place.
    """
    if isinstance(record, Mapping) and set(record) == {"values"}:  # as `records` writes it
        record = record["values"]
    if isinstance(record, list) and record:
        return Choice(*record)
    numbers = isinstance(record, Mapping) and set(record) <= {"low", "high", "log"} and {"low", "high"} <= set(record)
    if numbers and all(isinstance(record[end], int | float) for end in ("low", "high")) and record.get("log", True):
        try:
            return LogUniform(float(record["low"]), float(record["high"]))
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from error
    raise SettingsError(
        f"{where}: found {record!r:.80}; needed a list of values, [4, 8, 16], or bounds of numbers above 0, of which "
        "the logarithm is drawn, {low = 1e-4, high = 1e-2}."
    )
