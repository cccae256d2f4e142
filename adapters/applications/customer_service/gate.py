"""When an answer may be given: a calibrated confidence, and a threshold above which errors are bounded.

The confidence is scikit-learn's logistic regression of being right, on a few numbers of a question, fitted to one half
of dev (Platt 1999, of several scores). On the other half, thresholds are tested from a strict one on, each letting more
questions through, by the exact binomial p-value of "of what passes, more than --max_wrong is wrong". The last threshold
before the first that is not rejected is taken. The guarantee: at confidence level --promise (1 − δ, over the draw of
dev), at most --max_wrong of the answers to questions like those of dev are wrong (Learn then Test with fixed-sequence
testing, Angelopoulos et al. 2021, arXiv:2110.01052: as the order does not depend on the errors, no adjustment is
needed). Where the first is not rejected, as dev is too small or the answers too often wrong, there is no guarantee: the
threshold is then one above which at most --max_wrong are wrong of dev's answers and one more wrong one, and is called
an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

STEPS = 20
"""Maximum number of thresholds that are tested; each lets a twentieth of the questions more through."""
FIRST = 0.2
"""Share of the questions that the strictest lets through, or more where that is too few for a wrong one among them."""
CLOSED = 2.0
"""A threshold that no confidence reaches."""
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Lets answers through whose confidence is above a threshold.

    Attributes:
        signals: names of the numbers that the confidence is computed from.
        mean, scale, weight: of each of them.
        bias: of the logistic regression.
        threshold: confidences above it pass; above `CLOSED` is none.
        promised: whether the threshold has the guarantee; else it is an estimate.
        passed, wrong: how many questions of dev passed, and how many of their answers were wrong.
        bound: upper Clopper-Pearson bound of the share of wrong answers, one-sided, at the confidence level
            `promise`.
        needed: questions that must pass without an error for a guarantee.
    """

    signals: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float
    threshold: float = CLOSED
    promised: bool = False
    passed: int = 0
    wrong: int = 0
    bound: float = 1.0
    needed: int = 0

    def confidence(self, values: np.ndarray) -> np.ndarray:
        """The probability of being right `[questions]`, of numbers `[questions, signals]`."""
        scaled = (values - np.array(self.mean)) / np.array(self.scale)
        found: np.ndarray = 1 / (1 + np.exp(-np.clip(scaled @ np.array(self.weight) + self.bias, -40, 40)))
        return found

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, given: Mapping[str, Any]) -> Gate:
        """From `record`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        return cls(**values)


def fitted(signals: Sequence[str], values: np.ndarray, right: np.ndarray) -> Gate:
    """A closed gate with its confidence.

    A wrong answer at the lowest value of each signal and a right one at the highest are added, so that there are both,
    and few questions do not make it certain.

    Args:
        signals: names; of each a higher value speaks for the answer.
        values: `[questions, signals]`, perhaps of no question.
        right: bool `[questions]`.
    """
    from sklearn.linear_model import LogisticRegression

    width = len(signals)
    low, high = (values.min(0), values.max(0)) if len(values) else (np.zeros(width), np.ones(width))
    rows = np.vstack([values, low, high])
    mean, scale = rows.mean(0), np.maximum(rows.std(0), SMALLEST_SCALE)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit((rows - mean) / scale, np.concatenate([np.asarray(right, bool), [False, True]]))
    return Gate(
        signals=tuple(signals),
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        weight=tuple(map(float, model.coef_[0])),
        bias=float(model.intercept_[0]),
    )


def with_threshold(gate: Gate, values: np.ndarray, right: np.ndarray, *, max_wrong: float, promise: float) -> Gate:
    """The gate with the threshold that answers most.

    Args:
        gate: fitted to other questions than these.
        values: `[questions, signals]`.
        right: bool `[questions]`.
        max_wrong: maximum share of wrong answers among those given.
        promise: confidence level (1 − δ) of the guarantee.
    """
    confidence = gate.confidence(values) if len(values) else np.zeros(0)
    needed = enough(0, max_wrong, promise)
    best: tuple[float, int, int] | None = None
    for threshold in _thresholds(confidence, max(enough(1, max_wrong, promise), math.ceil(FIRST * len(values)))):
        passed, wrong = _counts(threshold, confidence, right)
        if not _safe(wrong, passed, max_wrong, promise):
            break
        best = threshold, passed, wrong
    promised = best is not None
    if best is None:
        counted = [(threshold, *_counts(threshold, confidence, right)) for threshold in _thresholds(confidence, 1)]
        estimated = [one for one in counted if one[2] + 1 <= max_wrong * (one[1] + 1)]
        best = max(estimated, key=lambda one: one[1], default=None)
    if best is None:
        return replace(gate, needed=needed)
    threshold, passed, wrong = best
    bound = upper_bound(wrong, passed, promise)
    return replace(gate, threshold=threshold, promised=promised, passed=passed, wrong=wrong, bound=bound, needed=needed)


def enough(wrong: int, max_wrong: float, promise: float) -> int:
    """The least number of answers for a threshold to be safe, where `wrong` of them are wrong."""
    count = wrong + 1
    while not _safe(wrong, count, max_wrong, promise):
        count += 1
    return count


def upper_bound(wrong: int, passed: int, promise: float) -> float:
    """The one-sided upper Clopper-Pearson bound of a share (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    return 1.0 if wrong >= passed else float(beta.ppf(promise, wrong + 1, passed - wrong))


def _thresholds(confidence: np.ndarray, first: int) -> list[float]:
    """Confidences above which `first` questions are, then a twentieth more each, and last all but a twentieth.

    They are ranks, so that none was chosen by its errors. The question at a threshold is not counted among those above
    it, whose errors are then independent of it. The least sure twentieth never passes, however few errors it has: what
    resembles nothing that is known is less sure still, and dev may have no question of that kind.
    """
    order = np.sort(confidence)[::-1]
    step = max(math.ceil(len(order) / STEPS), 1)
    last = len(order) - step
    places = [*range(first, last, step), last] if last > 0 else []
    return [*dict.fromkeys(float(order[place]) for place in places)]


def _counts(threshold: float, confidence: np.ndarray, right: np.ndarray) -> tuple[int, int]:
    """How many questions pass a threshold, and how many wrongly."""
    passes = confidence > threshold
    return int(passes.sum()), int((passes & ~np.asarray(right, bool)).sum())


def _safe(wrong: int, passed: int, max_wrong: float, promise: float) -> bool:
    """Whether the hypothesis that more than `max_wrong` are wrong is rejected at level 1 - `promise`."""
    from scipy.stats import binom

    return passed > 0 and float(binom.cdf(wrong, passed, max_wrong)) <= 1 - promise
