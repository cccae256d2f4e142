"""Two methods' runs compared, as a comparison does it."""

from __future__ import annotations

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric
from adapters.evaluation.random_effects import Difference, differences, effects
from adapters.evaluation.significance import resampled_sums


def compared(
    metric: Metric, one: np.ndarray, other: np.ndarray, *, seeded: bool = True, seed: int = 0, resamples: int = 200
) -> Difference:
    """The difference of two methods' runs, `[seeds, examples, width]`."""
    rows = [effects(metric, runs, metric.main, seeded=seeded) for runs in (one, other)]

    def scores(run: np.ndarray) -> np.ndarray:
        return np.asarray(metric.scores(resampled_sums(run, seed=seed, resamples=resamples))[metric.main])

    resampled = np.stack([np.mean([scores(run) for run in runs], 0) for runs in (one, other)], axis=1)
    return differences(rows, resampled, [(0, 1)], seed=seed, resamples=resamples)[0]
