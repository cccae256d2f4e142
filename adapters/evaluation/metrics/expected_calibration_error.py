"""Expected calibration error: the gap between a model's confidence and its accuracy. Lower is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.evaluation.metrics import base

BINS = 15
_UPPER = np.arange(1, BINS + 1) / BINS


class Metric(base.Metric):
    """Compares probabilities `[classes]`, in the order of the labels, with gold. **Lower is better**; 0 is perfect.

    Where gold is one label, the most probable class counts: its probability, and whether it is the gold one.
    Where gold is a list of labels, every label counts by itself: its probability, and whether it is in the list.

    Bins of equal width, (0, 1/15], (1/15, 2/15], …; the error is the mean over bins of |share correct - mean
    confidence|, weighted by their sizes. Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian
    binning"; Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """

    name = "expected_calibration_error"
    title = "Expected calibration error"
    compares = ("label", "labels")
    main = "ece"
    lower_is_better = True
    of = "detail"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the classes, in the order of the probabilities."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}

    @property
    def width(self) -> int:
        """Size, correct answers, and confidence in millionths, of each bin."""
        return 3 * BINS

    def counts(self, gold: str | Sequence[str], prediction: Any) -> np.ndarray:
        """int64 `[3 * bins]`; zeros where probabilities are missing or not finite."""
        out = np.zeros((3, BINS), dtype=np.int64)
        if prediction is None:
            return out.reshape(-1)
        confidence = np.asarray(prediction, dtype=np.float64)
        assert confidence.shape == (len(self.labels),), (confidence.shape, len(self.labels))
        if not np.isfinite(confidence).all():
            return out.reshape(-1)
        if isinstance(gold, str):
            best = int(confidence.argmax())
            confidence, right = confidence[best : best + 1], np.array([best == self.index[gold]])
        else:
            right = np.zeros(len(confidence), dtype=bool)
            right[[self.index[label] for label in gold]] = True
        bins = np.minimum(np.searchsorted(_UPPER, confidence, side="left"), BINS - 1)
        for row, added in zip(out, (np.ones_like(right), right, np.rint(confidence * base.MILLION)), strict=True):
            np.add.at(row, bins, added.astype(np.int64))
        return out.reshape(-1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """ece; nan where no example had probabilities."""
        size, right, confidence = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        total = size.sum(-1)
        gaps = np.abs(right - confidence / base.MILLION).sum(-1)
        return {"ece": np.where(total > 0, base.ratio(gaps, total), np.nan)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each bin that is not empty."""
        columns = ("confidence", "correct", "answers")
        rows = []
        for number, (size, right, confidence) in enumerate(sums.reshape(3, -1).T):
            if size:
                name = f"{number / BINS:.2f} to {(number + 1) / BINS:.2f}"
                rows.append((name, (float(confidence / base.MILLION / size), float(right / size), float(size))))
        remark = "No prediction came with probabilities, so there is no score."
        if rows:
            error = 100 * float(self.scores(sums)["ece"])
            remark = f"Expected calibration error {error:.2f}: lower is better, 0 is perfect."
        title = "Confidence, in bins"
        return [base.Section(title=title, columns=columns, rows=tuple(rows), remark=remark, counts=("answers",))]
