"""Spearman's correlation of gold and predicted numbers: whether they have the same order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from adapters.evaluation.metrics import base
from adapters.evaluation.metrics.pearson import Metric as Pearson


class Metric(base.ResampledMetric):
    """Pearson's correlation of ranks, of which equal numbers share the mean. 0 where one side is constant.

    An example's rank depends on the others, so it has no counts of its own.
    """

    name = "spearman"
    title = "Spearman correlation"
    compares = ("number",)
    main = "spearman"

    def score_all(self, golds: Sequence[float], predictions: Sequence[float]) -> Mapping[str, float]:
        """spearman; nan of no examples."""
        if not len(golds):
            return {"spearman": math.nan}
        return {"spearman": Pearson(()).score_all(ranks(golds), ranks(predictions))["pearson"]}


def ranks(numbers: Sequence[float]) -> list[float]:
    """The place of each number in their order, from 1 on; equal ones have the mean of their places."""
    _, places, times = np.unique(np.asarray(numbers, np.float64), return_inverse=True, return_counts=True)
    means: list[float] = (np.cumsum(times) - (times - 1) / 2)[places].tolist()
    return means
