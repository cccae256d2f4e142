"""Methods ranked over several data sets, and what their ranks show (Demšar 2006, JMLR 7:1-30).

The data sets are the sample: the tests here cover which data sets were taken. What examples and seeds add is tested
within a data set, by `differences`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
FEWEST = 6
"""Data sets below which nothing is tested: a signed-rank test of five has no p-value below 0.05."""
_DIGITS = 12
"""Decimals by which scores are compared, so that equal means of the same numbers are ties in whatever order."""


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """Friedman's test that all methods have the same mean rank, corrected for ties.

    Attributes:
        chi2: its statistic, of `methods − 1` degrees of freedom.
        p: of chi2.
        f: that of Iman and Davenport (1980), which is less conservative; None where every data set has the same ranks.
        p_f: of f, of `methods − 1` and `(methods − 1)(data sets − 1)` degrees of freedom.
    """

    chi2: float
    p: float
    f: float | None
    p_f: float


@dataclass(frozen=True, kw_only=True)
class SignedRank:
    """A Wilcoxon signed-rank test: two-sided p-value, sums of the ranks of positive and of negative differences."""

    p: float
    positive: float
    negative: float


def ranks(scores: np.ndarray) -> np.ndarray:
    """`[data sets, methods]`: the rank of each method on each data set, 1 the highest score; ties share their mean.

    Args:
        scores: `[data sets, methods]`, of which more is better.
    """
    from scipy import stats

    found: np.ndarray = stats.rankdata(-np.round(scores, _DIGITS), axis=1)
    return found


def friedman(scores: np.ndarray) -> Friedman:
    """Friedman's test of `[data sets, methods]`, at least three methods on two data sets."""
    from scipy import stats

    sets, methods = scores.shape
    found = ranks(scores)
    if (found == found[:, :1]).all():  # all methods are equal everywhere, where scipy divides by 0
        return Friedman(chi2=0.0, p=1.0, f=0.0, p_f=1.0)
    result = stats.friedmanchisquare(*found.T)
    chi2, most = float(result.statistic), sets * (methods - 1)
    if np.isclose(chi2, most):
        return Friedman(chi2=chi2, p=float(result.pvalue), f=None, p_f=0.0)
    f = (sets - 1) * chi2 / (most - chi2)
    p_f = float(stats.f.sf(f, methods - 1, (methods - 1) * (sets - 1)))
    return Friedman(chi2=chi2, p=float(result.pvalue), f=f, p_f=p_f)


def signed_rank(differences: np.ndarray) -> SignedRank:
    """The two-sided Wilcoxon signed-rank test, exact with ties and zeros as well.

    Zeros are ranked with the others and then left out (Pratt 1959). The distribution of the sum of the positive ranks
    is that of all signs, which are equally likely; sums of doubled ranks are whole numbers.

    Args:
        differences: `[data sets]`.
    """
    from scipy import stats

    rounded = np.round(differences, _DIGITS)
    doubled = np.round(2 * stats.rankdata(np.abs(rounded))).astype(int)
    positive, negative = int(doubled[rounded > 0].sum()), int(doubled[rounded < 0].sum())
    ways = np.zeros(positive + negative + 1)  # the share of all signs that gives each sum
    ways[0] = 1.0
    for rank in doubled[rounded != 0]:
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    tail = ways[: min(positive, negative) + 1].sum()
    return SignedRank(p=float(min(2 * tail, 1.0)), positive=positive / 2, negative=negative / 2)


def needed(pairs: int) -> int:
    """Data sets from which on the most extreme signed ranks are significant among so many Holm-adjusted pairs."""
    sets = FEWEST
    while pairs * 2.0 ** (1 - sets) >= LEVEL:
        sets += 1
    return sets


def critical_difference(methods: int, sets: int) -> float:
    """Nemenyi's critical difference of mean ranks at 0.05: `q / √2 · √(k(k + 1) / 6N)`, q of the studentized range."""
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - LEVEL, methods, np.inf))
    return q * math.sqrt(methods * (methods + 1) / (12 * sets))


def groups(mean_ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """First and last method of each largest group whose mean ranks differ by less than the critical difference.

    Args:
        mean_ranks: ascending.
        critical: the critical difference.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(mean_ranks):
        last = max(i for i, other in enumerate(mean_ranks) if other - rank < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
