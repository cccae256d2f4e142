"""Two methods' runs compared, as a comparison does it."""

from __future__ import annotations

import numpy as np

from adapters.evaluation.differences import Difference, differences
from adapters.evaluation.metrics.base.metric import Metric
from adapters.evaluation.random_effects import effects, resampled_scores


def compared(
    metric: Metric, one: np.ndarray, other: np.ndarray, *, seeded: bool = True, seed: int = 0, resamples: int = 200
) -> Difference:
    """The difference of two methods' runs, `[seeds, examples, width]`."""
    rows = [effects(metric, runs, metric.main, seeded=seeded) for runs in (one, other)]
    resampled = resampled_scores(metric, (one, other), metric.main, seed=seed, resamples=resamples)
    return differences(rows, resampled, [(0, 1)], seed=seed, resamples=resamples)[0]
