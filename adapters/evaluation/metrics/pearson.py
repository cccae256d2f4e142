"""Pearson's correlation of gold and predicted numbers: how near they are to a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.evaluation.metrics import base

NOISE = 1e-12
"""A variance below this share of the mean square is what rounding leaves of equal numbers."""


class Metric(base.Metric):
    """Gold and prediction are numbers. From -1 to 1; 0 where one side is constant, as for scikit-learn's `matthews`.

    A correlation is a function of sums, so a resample is summed like any other counts. Numbers are taken relative to
    the mean of all golds, which changes no correlation, but keeps the digits of numbers that are far from 0.
    """

    name = "pearson"
    title = "Pearson correlation"
    compares = ("number",)
    main = "pearson"
    count_type = np.float64

    @property
    def width(self) -> int:
        """Examples; what was subtracted; gold, predicted, their squares, and their product."""
        return 7

    def counts(self, gold: float, prediction: float) -> np.ndarray:
        """float64 `[7]`, relative to 0."""
        row: np.ndarray = self.count_all([gold], [prediction], centre=0.0)[0]
        return row

    def count_all(
        self, golds: Sequence[float], predictions: Sequence[float], *, centre: float | None = None
    ) -> np.ndarray:
        """float64 `[examples, 7]`, relative to `centre`: the mean of the golds, unless it is given."""
        gold, found = np.asarray(golds, np.float64), np.asarray(predictions, np.float64)
        if gold.shape != found.shape:
            raise ValueError(f"{gold.shape} golds, {found.shape} predictions")
        middle = float(gold.mean()) if centre is None and len(gold) else centre or 0.0
        gold, found = gold - middle, found - middle
        each = np.ones_like(gold)
        return np.stack([each, middle * each, gold, found, gold * gold, found * found, gold * found], axis=1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """pearson."""
        spreads = _spreads(sums)
        examples, _, gold, found, _, _, both = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
        correlation = base.ratio(examples * both - gold * found, spreads[0] * spreads[1])
        return {"pearson": np.clip(correlation, -1.0, 1.0)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Mean and standard deviation of both sides; the correlation in the remark."""
        examples, middle, *totals = map(float, sums[:4])
        count, spreads = max(examples, 1.0), [float(own) for own in _spreads(sums)]
        rows = tuple(
            (name, ((middle + total) / count, spread / count))
            for name, total, spread in zip(("gold", "predicted"), totals, spreads, strict=True)
        )
        remark = f"Pearson correlation {float(self.scores(sums)['pearson']):.4f} (1: a rising line, 0: no relation)."
        if not all(spreads):
            remark = "All numbers of one side are equal, so that nothing can correlate with them: 0."
        return [base.Section(title="Numbers", columns=("mean", "sd"), rows=rows, remark=remark, as_given=True)]


def _spreads(sums: np.ndarray) -> list[np.ndarray]:
    """Standard deviation times the number of examples, of gold and of predicted numbers; 0 of equal ones."""
    examples, _, gold, found, golds, founds, _ = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    every = [(examples * squares - total**2, squares) for total, squares in ((gold, golds), (found, founds))]
    return [np.sqrt(np.where(own > NOISE * examples * squares, own, 0.0)) for own, squares in every]
