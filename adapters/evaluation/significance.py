"""Intervals and paired tests by resampling examples: sums of counts are resampled, no example is scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric

RESAMPLES = 10_000
_Z_975, _Z_80 = 1.959963984540054, 0.8416212335729143  # quantiles of the normal distribution
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
    return {
        name: (float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail)))
        for name, values in metric.scores(drawn).items()
    }


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


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The difference of two predictors' scores on the same examples.

    Attributes:
        difference: score of the first minus score of the second.
        low: lower end of its 95 % interval, a paired bootstrap.
        high: upper end.
        p: two-sided p-value of an approximate randomisation test.
        detectable: smallest detectable difference: a true difference of this size would be significant (at 5 %) with a
            power of 80 % on as many examples.
    """

    difference: float
    low: float
    high: float
    p: float
    detectable: float


def paired(
    metric: Metric, one: np.ndarray, other: np.ndarray, *, score: str = "", seed: int = 0, resamples: int = RESAMPLES
) -> Paired:
    """Compare two predictors on the same examples.

    Approximate randomisation (Noreen 1989; for F1 Yeh 2000, "More accurate tests for the statistical significance of
    result differences"): under the null hypothesis, swapping the two predictions of any example changes nothing, so the
    difference is compared with those after random swaps. The interval is a bootstrap of examples drawn for both
    predictors together (Efron & Tibshirani 1993). The smallest detectable difference is (z(0.975) + z(0.8)) times the
    bootstrap's standard error.

    Args:
        metric: turns summed counts into scores.
        one: int64 `[examples, width]`, counts of the first predictor.
        other: the same of the second, on the same examples in the same order.
        score: which of the metric's scores; by default the main one.
        seed: of the resampling.
        resamples: number of resamples, and of sets of swaps.
    """
    assert one.shape == other.shape, (one.shape, other.shape)
    name = score or metric.main

    def value(sums: np.ndarray) -> np.ndarray:
        return np.asarray(metric.scores(sums)[name], dtype=np.float64)

    width = one.shape[1]
    drawn = resampled_sums(np.hstack([one, other]), seed=seed, resamples=resamples)
    differences = value(drawn[:, :width]) - value(drawn[:, width:])
    observed = float(value(one.sum(0)) - value(other.sum(0)))
    moved = swapped_sums(other - one, seed=seed, resamples=resamples)
    swapped = value(one.sum(0) + moved) - value(other.sum(0) - moved)
    # A swap that gives the same difference must count as such, regardless of rounding.
    as_large = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    low, high = np.percentile(differences, [2.5, 97.5])
    return Paired(
        difference=observed,
        low=float(low),
        high=float(high),
        p=(1 + as_large) / (1 + resamples),
        detectable=(_Z_975 + _Z_80) * float(differences.std(ddof=1)),
    )


def swapped_sums(changes: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """float64 `[resamples, width]`: change of the sums where each example's predictions are swapped with chance 1/2.

    Args:
        changes: int64 `[examples, width]`: counts of the second predictor minus those of the first.
        seed: of the swaps.
        resamples: number of sets of swaps.
    """
    examples = len(changes)
    generator = np.random.default_rng((seed, 1))  # independent of the bootstrap of the same seed
    differing = np.flatnonzero(changes.any(1))
    values = changes[differing].astype(np.float64)
    out = np.empty((resamples, changes.shape[1]))
    chunk = max(8 * _DRAWS // max(examples, 1), 1)
    for begin in range(0, resamples, chunk):
        size = min(chunk, resamples - begin)
        bits = np.frombuffer(generator.bytes(size * ((len(differing) + 7) // 8)), dtype=np.uint8).reshape(size, -1)
        out[begin : begin + size] = np.unpackbits(bits, axis=1, count=len(differing)).astype(np.float64) @ values
    return out


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple testing, in the order given.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the chance of any false positive among them
    stays below the level at which each is read.
    """
    order = np.argsort(p_values, kind="stable")
    out = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        out[int(i)] = highest
    return out
