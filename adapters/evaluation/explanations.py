"""How good explanations are: measures of attributions to words, from DeYoung et al. 2020 (ERASER, arXiv:1911.03429).

They know no model. Faithfulness compares probabilities of an answer with and without the words that count most (sec.
4.2); plausibility compares attributions with what people marked (sec. 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adapters.evaluation.significance import RESAMPLES, resampled_sums

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
"""Shares of the words that are erased, or kept: ERASER's bins."""


def top(values: np.ndarray, count: int) -> np.ndarray:
    """bool `[words]`: the `count` words with the highest values; of equal ones the first."""
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-np.asarray(values), kind="stable")[:count]] = True
    return chosen


def top_shares(values: np.ndarray) -> np.ndarray:
    """bool `[shares, words]`: the highest values of each of `SHARES`, of one word at least."""
    return np.stack([top(values, max(round(share * len(values)), 1)) for share in SHARES])


def aopc(whole: float, changed: Sequence[float]) -> float:
    """The mean fall of a probability over `SHARES` (area over the perturbation curve).

    Without the highest words it is comprehensiveness, which is high where they were needed; with these alone it is
    sufficiency, which is low where they are enough.

    Args:
        whole: the probability of the answer to the whole text.
        changed: that to each changed text.
    """
    return float(np.mean([whole - one for one in changed]))


def auprc(marked: np.ndarray, values: np.ndarray) -> float:
    """Area under the precision-recall curve of attributions for marked words, as average precision.

    nan where no word is marked, or all are.
    """
    from sklearn.metrics import average_precision_score

    if marked.all() or not marked.any():
        return math.nan
    return float(average_precision_score(marked, values))


def token_f1(marked: np.ndarray, values: np.ndarray, share: float) -> float:
    """F1 of the words with the highest values against the marked ones; nan where none is marked.

    Args:
        marked: bool `[words]`.
        values: `[words]`.
        share: of the words that is taken: the mean share of marked ones in the data, so that nothing of the example's
            own marks is used.
    """
    if not marked.any():
        return math.nan
    found = top(values, max(round(share * len(values)), 1))
    return float(2 * (found & marked).sum() / (found.sum() + marked.sum()))


def rank_correlation(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's correlation of the absolute values of two attributions; 0 where one is constant, nan of a word."""
    from scipy.stats import spearmanr

    if len(values) < 2:
        return math.nan
    one, other = np.abs(values), np.abs(others)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


def mean_with_interval(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> dict[str, float] | None:
    """The mean over examples, its bootstrap interval over them, and their number; nan are left out.

    None if there are no others.
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return None
    means = resampled_sums(known[:, None], seed=seed, resamples=RESAMPLES)[:, 0] / len(known)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return {"value": float(known.mean()), "low": float(low), "high": float(high), "n": len(known)}
