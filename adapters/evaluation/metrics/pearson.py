"""Pearson's correlation of gold and predicted numbers: how near they are to a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.evaluation.metrics import base

NOISE = 1e-12
"""A variance below this share of the mean square is what rounding leaves of equal numbers."""


class Metric(base.Metric):
    """Gold and prediction are numbers. From -1 to 1; 0 where one side is constant, as Matthews' correlation is.

    A correlation is a function of sums, so a resample is summed like any other counts. The counts are of standard
    scores, which have the same correlation: numbers that are far from 0 keep their digits, the mean over several seeds
    of the counts has the mean of their correlations, and a paired test does not mistake for a difference in
    correlation that two predictors have different scales.
    """

    name = "pearson"
    title = "Pearson correlation"
    compares = ("number",)
    main = "pearson"
    count_type = np.float64
    bounds = (-1.0, 1.0)

    @property
    def width(self) -> int:
        """Examples; mean and deviation of gold and of predicted; both, their squares, and their product."""
        return 10

    def counts(self, gold: float, prediction: float) -> np.ndarray:
        """float64 `[10]`, of numbers that are standard scores already."""
        x, y = float(gold), float(prediction)
        return np.array([1.0, 0.0, 1.0, 0.0, 1.0, x, y, x * x, y * y, x * y])

    def count_all(self, golds: Sequence[float], predictions: Sequence[float]) -> np.ndarray:
        """float64 `[examples, 10]`."""
        if len(golds) != len(predictions):
            raise ValueError(f"{len(golds)} golds, {len(predictions)} predictions")
        x, *of_gold = _standard(golds)
        y, *of_predicted = _standard(predictions)
        known = np.tile([1.0, *of_gold, *of_predicted], (len(golds), 1))
        return np.column_stack([known, x, y, x * x, y * y, x * y])

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """pearson."""
        counts = np.asarray(sums, np.float64)
        examples, x, y, xx, yy, xy = (counts[..., at] for at in (0, 5, 6, 7, 8, 9))
        spread = _spread(examples, x, xx) * _spread(examples, y, yy)
        return {"pearson": np.clip(base.ratio(examples * xy - x * y, spread), -1.0, 1.0)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Mean and standard deviation of both sides; the correlation in the remark."""
        means = [float(total) for total in sums[1:5] / max(float(sums[0]), 1.0)]
        rows = (("gold", (means[0], means[1])), ("predicted", (means[2], means[3])))
        remark = f"Pearson correlation {float(self.scores(sums)['pearson']):.4f} (1: a rising line, 0: no relation)."
        if not means[1] or not means[3]:
            remark = "All numbers of one side are equal, so that nothing can correlate with them: 0."
        return [base.Section(title="Numbers", columns=("mean", "sd"), rows=rows, remark=remark, as_given=True)]


def _standard(numbers: Sequence[float]) -> tuple[np.ndarray, float, float]:
    """Standard scores, and the mean and the standard deviation that they are of; zeros of equal numbers."""
    values = np.asarray(numbers, np.float64)
    if not len(values) or values.min() == values.max():
        return np.zeros(len(values)), float(values[0]) if len(values) else 0.0, 0.0
    mean, sd = float(values.mean()), float(values.std())
    return (values - mean) / (sd or 1.0), mean, sd


def _spread(examples: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Standard deviation times the number of examples; 0 where a resample drew equal numbers only."""
    own = examples * squares - total**2
    return np.sqrt(np.where(own > NOISE * examples * squares, own, 0.0))
