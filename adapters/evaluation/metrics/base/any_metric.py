"""What every metric has, and the tables in which it is reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: rows of numbers under a title, with a remark where a number could mislead."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    remark: str = ""
    counts: tuple[str, ...] = ()
    """Columns of whole numbers; the others are shares, shown in percent."""
    as_given: bool = False
    """Show all numbers as they are: they are neither counts nor shares."""


class AnyMetric(ABC):
    """A metric that compares predictions with gold answers.

    What plugin files offer counts per example (`Metric`), or scores all examples at once (`ResampledMetric`).
    """

    name: str
    title: str = ""
    """The main score as a reader sees it ("Entity F1"); see `score_title`."""
    version: int | str = 1
    """A changed version means that scores of before cannot be compared with scores of now."""
    main: str
    """Key of the score that represents this metric in a table."""
    lower_is_better: bool = False
    """Such a metric cannot be a task's main one: what chooses among scores takes the highest."""
    compares: tuple[str, ...] = ()
    """Kinds of answers (`Task.answer`) that the metric can compare; empty: any."""
    of: str = "value"
    """Field of a `Prediction` that is compared with the gold answer: `value`, or `detail` (probabilities, or None where
    the predictor has none; such an example adds zeros)."""

    @abstractmethod
    def score_all(self, golds: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, float]:
        """Scores by name of all examples; nan where there was nothing to judge."""


def score_title(metric: AnyMetric) -> str:
    """The main score of a metric in words, for reports; a metric without a title is called by its name."""
    return metric.title or metric.name.replace("_", " ")
