"""Metrics of sacrebleu: its statistics of a sentence are our counts, its score of summed statistics is our score.

So a score is sacrebleu's own corpus score, and resampling examples resamples its sufficient statistics. Two private
methods of sacrebleu are called; a test compares the scores with those of its public ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacrebleuScorer


class SacrebleuMetric(Metric):
    """Gold is a list of references, of which the best match counts; the prediction is a text."""

    compares = ("text",)
    statistics: ClassVar[int]
    """Number of statistics that sacrebleu keeps of a sentence."""

    @property
    def width(self) -> int:
        """The statistics, and one for the sentence itself."""
        return 1 + self.statistics

    @abstractmethod
    def score(self, statistics: list[float]) -> float:
        """sacrebleu's score, from 0 to 100, of summed statistics; means over seeds are not rounded."""

    @abstractmethod
    def scorer(self, references: Sequence[str]) -> SacrebleuScorer:
        """The metric of sacrebleu for a sentence with these references."""

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[1 + statistics]`."""
        scorer: Any = self.scorer(gold)
        (found,) = scorer._extract_corpus_statistics([prediction], [[reference] for reference in gold])
        return np.array([1, *found], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """The score, between 0 and 1."""
        rows = np.asarray(sums, dtype=np.float64).reshape(-1, self.width)[:, 1:].tolist()
        found = [min(self.score(row) / 100, 1.0) for row in rows]
        return {self.main: np.array(found, dtype=np.float64).reshape(np.shape(sums)[:-1])}
