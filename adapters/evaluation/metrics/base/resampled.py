"""Metrics that score all examples at once, without counts per example (ranks, scripts of others).

Their scores are reported alongside those of the task, never used to choose a model, and never tested for significance.
A 95 % interval is computed by scoring 1,000 resamples of the examples (or of whole documents) again, unless that would
take longer than `INTERVAL_SECONDS`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from adapters.core.errors import SettingsError, numbered
from adapters.evaluation.documents import Units
from adapters.evaluation.metrics.base.any_metric import AnyMetric, Section, score_title

RESAMPLES = 1_000
INTERVAL_SECONDS = 60.0
"""A metric whose 1,000 resamples would take longer (BERTScore: hours) is reported without an interval."""


class ResampledMetric(AnyMetric):
    """A subclass scores a whole split, by `score_all`. In a plugin's file it is called `Metric`."""

    remark: ClassVar[str] = "It has no counts per example, so no significance test uses it."
    """What is to be known of the scores."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the label names of the task, in the model's order."""
        self.labels = tuple(labels)

    def quality(
        self, golds: Sequence[Any], predictions: Sequence[Any], seed: int, units: Units | None = None
    ) -> tuple[dict[str, dict[str, float]], str]:
        """Scores with intervals where there is time for them, and a remark that says what they are not.

        A metric that fails on these answers has no scores: training is over by then, and must not be lost. `units` are
        what is resampled, else single examples.
        """
        try:
            scores = self.score_all(golds, predictions)  # the first call also warms a script up
            begin = time.perf_counter()
            self.score_all(golds, predictions)
            seconds = RESAMPLES * (time.perf_counter() - begin)
        except SettingsError as error:
            return {}, str(error)
        values = {name: {"value": value} for name, value in scores.items() if math.isfinite(value)}
        if seconds > INTERVAL_SECONDS:
            return values, f"{self.remark} No interval: {RESAMPLES:,} resamples would take about {seconds:,.0f} s."
        intervals = self._intervals(golds, predictions, seed, units)
        for name in values.keys() & intervals.keys():
            values[name] |= dict(zip(("low", "high"), intervals[name], strict=True))
        if values.keys() - intervals.keys():
            return values, f"{self.remark} No interval: some resamples cannot be scored."
        of = "" if units is None or units.of is None else f" of {numbered(units.documents, 'documents')}"
        return values, f"{self.remark} Interval: 95 %, bootstrap of {RESAMPLES:,} resamples{of}."

    def _intervals(
        self, golds: Sequence[Any], predictions: Sequence[Any], seed: int, units: Units | None
    ) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap over units; a score that a resample does not have has no interval."""
        members = None if units is None else units.members()
        generator = np.random.default_rng(seed)
        drawn: list[Mapping[str, float]] = []
        try:
            for _ in range(RESAMPLES):
                number = len(golds) if members is None else len(members)
                chosen = generator.integers(0, number, size=number)
                chosen = chosen if members is None else np.concatenate([members[unit] for unit in chosen])
                drawn.append(self.score_all([golds[i] for i in chosen], [predictions[i] for i in chosen]))
        except SettingsError:  # the metric cannot score some resample, so it has no interval
            return {}
        out = {}
        for name in drawn[0]:
            values = np.array([scores.get(name, math.nan) for scores in drawn])
            if np.isfinite(values).all():
                low, high = np.percentile(values, [2.5, 97.5])
                out[name] = (float(low), float(high))
        return out


def section(metric: AnyMetric, quality: Mapping[str, Mapping[str, float]], remark: str) -> Section:
    """The table of a metric without counts."""
    columns = ("value", "low", "high") if all("low" in score for score in quality.values()) else ("value",)
    rows = tuple((name, tuple(score[key] for key in columns)) for name, score in quality.items())
    return Section(title=score_title(metric), columns=columns, rows=rows, remark=remark, as_given=True)
