"""From which training size on one method scores above another, with an interval: where two learning curves cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.evaluation.differences import LEVEL, SMOOTH_FROM, centred, difference_error, share_draws
from adapters.evaluation.random_effects import Effects

BELOW, BEYOND = 0.0, np.inf
"""A crossing below the smallest size (the first method is above at every size), and one above the largest."""
GRID = 100
"""Points between two sizes at which the difference is tested."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The size from which on the first method stays above the second.

    Attributes:
        value: of the scores that were found: a size, `BELOW` or `BEYOND`.
        low, high: ends of its 95 % interval.
    """

    value: float
    low: float
    high: float


def crossing_points(sizes: Sequence[float], differences: np.ndarray) -> np.ndarray:
    """`[...]`: the smallest size from which on a difference stays positive, by the logarithm of the size.

    Args:
        sizes: ascending.
        differences: `[..., sizes]`.

    Returns:
        A size; `BELOW` where every difference is positive, `BEYOND` where the last one is not.
    """
    at, last = np.log(np.asarray(sizes, np.float64)), len(sizes) - 1
    positive = differences > 0
    # The last size at which it is not positive; -1 where there is none.
    before = last - np.argmax(~positive[..., ::-1], axis=-1)
    before = np.where(positive.all(-1), -1, before)
    inside = (before >= 0) & (before < last)
    k = np.where(inside, before, 0)[..., None]
    if last == 0:
        return np.where(before < 0, BELOW, BEYOND)
    start, end = (np.take_along_axis(differences, k + step, -1)[..., 0] for step in (0, 1))
    rise = np.where(inside, end - start, 1.0)
    found = np.exp(at[k[..., 0]] + (at[k[..., 0] + 1] - at[k[..., 0]]) * np.where(inside, -start, 0) / rise)
    return np.where(inside, found, np.where(before < 0, BELOW, BEYOND))


def seed_noise(rows: Sequence[Effects], *, seed: int, resamples: int) -> np.ndarray:
    """`[resamples, rows]`: deviations of each row's score by the draw of its seeds, t-distributed.

    Args:
        rows: effects, moderated.
        seed: of the draws.
        resamples: number of draws.
    """
    generator = np.random.default_rng((seed, 2))  # independent of the bootstrap and of the swaps of the same seed
    out = np.zeros((resamples, len(rows)))
    for i, row in enumerate(rows):
        size = float(np.sqrt(row.seed_error))
        if size >= SMOOTH_FROM:
            known = np.isinf(row.freedom)
            drawn = generator.standard_normal(resamples) if known else generator.standard_t(row.freedom, resamples)
            out[:, i] = size * drawn
    return out


def crossing(
    sizes: Sequence[float],
    one: Sequence[int],
    other: Sequence[int],
    rows: Sequence[Effects],
    resampled: np.ndarray,
    noise: np.ndarray,
    *,
    seed: int,
) -> Crossing:
    """From which size on the first method scores above the second, with a 95 % interval.

    The interval has the sizes at which the two methods do not differ significantly, each size by itself: below it
    the difference's 95 % interval is negative somewhere, above it positive everywhere (a test inverted, as in Fieller
    1954, "Some problems in interval estimation"). Percentiles of the crossings of resampled curves would leave
    it out too often where the curves stay close after it, as noise can only move it upwards there.

    Args:
        sizes: ascending.
        one, other: at each size, the index of the method's row; a method without training has one row for all.
        rows: effects, moderated.
        resampled: `[resamples, rows]`, each row's score on resampled examples, the same for all rows.
        noise: `[resamples, rows]`, of `seed_noise`.
        seed: of the noise between two rows that share their draws of training examples.
    """
    generator = np.random.default_rng((seed, 3))
    drawn = np.empty((len(resampled), len(sizes)))
    observed = np.empty(len(sizes))
    for k, (i, j) in enumerate(zip(one, other, strict=True)):
        observed[k] = rows[i].value - rows[j].value
        error = difference_error(rows[i], rows[j], centred(resampled[:, i] - resampled[:, j]))
        seeds = noise[:, i] - noise[:, j]
        if share_draws(rows[i], rows[j]) and np.isfinite(error.freedom):
            seeds = error.seeds * generator.standard_t(error.freedom, len(resampled))
        drawn[:, k] = observed[k] + error.draws + seeds
    at = np.log(np.asarray(sizes, np.float64))
    grid = np.interp(np.arange(GRID * (len(sizes) - 1) + 1) / GRID, np.arange(len(sizes)), at)
    weights = np.stack([np.interp(grid, at, unit) for unit in np.eye(len(sizes))])
    above = (drawn @ weights > 0).mean(0)
    value = float(crossing_points(sizes, observed))
    low, high = (float(crossing_points(list(np.exp(grid)), above - share)) for share in (LEVEL / 2, 1 - LEVEL / 2))
    return Crossing(value=value, low=min(low, value), high=max(high, value))
