"""An explanation: the parts of an input, what each adds to an answer, and how it was found out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from adapters.core.files import FORMAT
from adapters.evaluation.report import explanation as report

DIGITS = 6
"""Significant digits of numbers in a record."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A word of the input, or a shot of the prompt.

    Attributes:
        text: the word; of a shot, its input.
        value: what it adds to the score.
        column: the input that a word is in; of a shot "shot".
        start: its first character there; of a shot its number in the prompt.
        end: the character after its last one.
        label: of a shot, its answer.
    """

    text: str
    value: float
    column: str
    start: int
    end: int
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training example that is like the explained one to the model.

    Attributes:
        text: its inputs, as one text.
        answer: its gold answer.
        similarity: the cosine of both vectors.
        where: the place in the data.
    """

    text: str
    answer: Any
    similarity: float
    where: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a model gave an answer.

    Attributes:
        task: name of the task.
        model: name of the method that made the model: lora, tfidf, few_shot.
        method: name of the attribution method.
        target: the part of the answer that is explained.
        output: the whole answer.
        probability: of the target; None of a number, and where there is none.
        score: of the target: its contrast to the other answers, which the parts add up to, from `base`, if `complete`.
        base: the score without any word.
        complete: whether the method's attributions add up.
        texts: of the input, by column.
        parts: in the order of the input.
        truncated: whether a part of the input did not reach the model.
        notes: what is to be known of this explanation.
        neighbours: the nearest training examples, if there were any to look in.
    """

    task: str
    model: str
    method: str
    target: str
    output: Mapping[str, Any]
    probability: float | None
    score: float
    base: float | None
    complete: bool
    texts: Mapping[str, str]
    parts: Sequence[Part]
    truncated: bool = False
    notes: Sequence[str] = ()
    neighbours: Sequence[Neighbour] = field(default_factory=tuple)

    @property
    def error(self) -> float | None:
        """How far the sum of the parts is from the score less the base, relative to that; None if it need not be."""
        if not self.complete or self.base is None:
            return None
        return relative_error(sum(part.value for part in self.parts), self.score - self.base)

    def record(self) -> dict[str, Any]:
        """JSON values only."""
        body = {"format": FORMAT, **asdict(self), "error": self.error}
        found: dict[str, Any] = _rounded(body)
        return found

    def html(self) -> str:
        """A page of its own, which needs no network."""
        return report.page(self.record())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return report.fragment(self.record())

    def __rich__(self) -> Any:
        """As a terminal shows it."""
        return report.terminal(self.record())


def relative_error(total: float, difference: float) -> float:
    """How far a sum is from a difference, relative to it; of one that is nearly 0, by itself."""
    return abs(total - difference) / max(abs(difference), 1e-3)


def _rounded(value: Any) -> Any:
    """A value in which numbers have few digits."""
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
