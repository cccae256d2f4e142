"""Search spaces: which values of a setting a search may try."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
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
    """One of several values, each as likely as the others. Values are JSON values; a list is one value."""

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
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(float(f"{value:.2g}"), self.low), self.high)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"low": self.low, "high": self.high, "log": True}


Space = Mapping[str, Dimension]
"""A dimension for each setting that is searched, by the setting's name."""


def drawn(space: Space, seed: int, number: int) -> list[dict[str, Any]]:
    """Distinct settings at random, the same for the same seed; fewer where the space has fewer."""
    generator = random.Random(f"search/{seed}")
    found: list[dict[str, Any]] = []
    for _ in range(50 * number):
        if len(found) == number:
            break
        one = {name: dimension.draw(generator) for name, dimension in space.items()}
        if one not in found:
            found.append(one)
    return found


def records(space: Space) -> dict[str, Any]:
    """A space as JSON."""
    return {name: dimension.record() for name, dimension in space.items()}


def names(space: Space) -> Sequence[str]:
    """The settings that are searched."""
    return tuple(space)
