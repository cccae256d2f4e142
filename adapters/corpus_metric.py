"""Metrics of sacrebleu: its statistics of a sentence are our counts, its score of summed statistics is our score.

So a score here is sacrebleu's own of the corpus, and resampling examples resamples its sufficient statistics. Two
methods are called that it keeps to itself; a test holds the scores against its public ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters import metrics

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Theirs


class CorpusMetric(metrics.Metric):
    """Gold is a list of references, of which the one that fits best counts; the prediction is a text."""

    compares = ("text",)
    statistics: ClassVar[int]
    """How many numbers sacrebleu keeps of a sentence."""

    @property
    def width(self) -> int:
        """The statistics, and one for the sentence."""
        return 1 + self.statistics

    @abstractmethod
    def theirs(self, references: Sequence[str]) -> Theirs:
        """The metric that judges a sentence of these references."""

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[1 + statistics]`."""
        judge: Any = self.theirs(gold)
        (found,) = judge._extract_corpus_statistics([prediction], [[reference] for reference in gold])
        return np.array([1, *found], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """The score, between 0 and 1."""
        judge: Any = self.theirs([])
        rows = np.asarray(sums).reshape(-1, self.width)[:, 1:].astype(np.int64).tolist()
        found = [min(judge._compute_score_from_stats(row).score / 100, 1.0) for row in rows]
        return {self.main: np.array(found, dtype=np.float64).reshape(np.shape(sums)[:-1])}
