"""Intervals by resampling: sums of counts are resampled, no example is scored again. And the levels of Holm's tests.

What is resampled are the rows of the counts: examples, or documents, whose examples' counts are summed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric

RESAMPLES = 10_000
_DRAWS = 2**21  # at a time: about 40 MB for any number of examples


def bootstrap(
    metric: Metric, counts: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Mapping[str, tuple[float, float]]:
    """Percentile bootstrap intervals over examples (Efron & Tibshirani 1993, ch. 13).

    Args:
        metric: turns summed counts into scores.
        counts: int64 `[examples, width]`.
        seed: of the resampling; the same seed draws the same examples for every metric.
        resamples: number of samples, each of as many examples, drawn with replacement.
        level: share of the resampled scores inside the interval.

    Returns:
        (low, high) of each score.
    """
    drawn = resampled_sums(counts, seed=seed, resamples=resamples)
    tail = 100 * (1 - level) / 2
    found = {}
    for name, values in metric.scores(drawn).items():
        low, high = float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail))
        if values.min() == values.max():
            low, high = of_alike(float(values[0]), len(counts), metric.bounds, level=level)
        found[name] = low, high
    return found


def of_alike(
    value: float, units: int, bounds: tuple[float, float] = (0.0, 1.0), *, level: float = 0.95
) -> tuple[float, float]:
    """The interval of a score that every resample has, as each unit has the best or the worst there is.

    Resampling cannot know of units that were not drawn: 13 right answers of 13 do not make an interval from 100 to 100.
    The other end is the Clopper-Pearson bound (1934) of the share of units that are alike.

    Args:
        value: the score.
        units: examples, or documents.
        bounds: of the score; only shares, from 0 to 1, have another end.
        level: of the interval.
    """
    if bounds != (0.0, 1.0) or value not in bounds:
        return value, value
    least = ((1 - level) / 2) ** (1 / units)
    return (least, value) if value else (value, 1 - least)


def resampled_sums(counts: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """float64 `[resamples, width]`: summed counts of each resample, as products of frequencies and counts."""
    examples = len(counts)
    generator = np.random.default_rng(seed)
    values = counts.astype(np.float64)
    out = np.empty((resamples, counts.shape[1]))
    chunk = max(_DRAWS // examples, 1)
    for begin in range(0, resamples, chunk):
        size = min(chunk, resamples - begin)
        drawn = generator.integers(0, examples, size=(size, examples), dtype=np.int32)
        drawn += (np.arange(size, dtype=np.int32) * examples)[:, None]
        frequency = np.bincount(drawn.ravel(), minlength=size * examples).reshape(size, examples)
        out[begin : begin + size] = frequency.astype(np.float64) @ values
    return out


def holm_levels(p_values: Sequence[float], level: float) -> list[float]:
    """The level of each test in Holm's procedure, in the order given; of all that are not rejected, the first one's.

    An interval with that error contains 0 where the test is not significant, so that interval and result agree.
    """
    order = np.argsort(p_values, kind="stable")
    out = [0.0] * len(p_values)
    own, open_ = level, True
    for rank, i in enumerate(order):
        if open_:
            own = level / (len(p_values) - rank)
            open_ = p_values[i] < own
        out[int(i)] = own
    return out
