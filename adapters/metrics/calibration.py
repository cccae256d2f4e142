"""Expected calibration error: how far a model's confidence lies from how often it is right. Lower is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters import metrics

BINS = 15
_UPPER = np.arange(1, BINS + 1) / BINS
_MILLION = 1_000_000  # counts are whole numbers, so confidence is counted in millionths


class Metric(metrics.Metric):
    """Holds probabilities `[classes]`, in the order of the labels, against gold. **Lower is better**; 0 is perfect.

    Where gold is one label, what is judged is the likeliest class: its probability, and whether it is the gold one.
    Where gold is a list of labels, every label is judged alone: its probability, and whether it is in the list.

    Bins of equal width, (0, 1/15], (1/15, 2/15], …; the error is the mean over bins of |share right - mean confidence|,
    weighted by what is in them. Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning";
    Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """

    name = "calibration"
    compares = ("label", "labels")
    main = "ece"
    of = "detail"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the classes, in the order of the probabilities."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}

    @property
    def width(self) -> int:
        """Size, right ones, and confidence in millionths, of each bin."""
        return 3 * BINS

    def counts(self, gold: str | Sequence[str], prediction: Any) -> np.ndarray:
        """int64 `[3 * bins]`; zeros where there are no probabilities, or where they are not numbers."""
        out = np.zeros((3, BINS), dtype=np.int64)
        if prediction is None:
            return out.reshape(-1)
        sure = np.asarray(prediction, dtype=np.float64)
        assert sure.shape == (len(self.labels),), (sure.shape, len(self.labels))
        if not np.isfinite(sure).all():
            return out.reshape(-1)
        if isinstance(gold, str):
            best = int(sure.argmax())
            sure, right = sure[best : best + 1], np.array([best == self.index[gold]])
        else:
            right = np.zeros(len(sure), dtype=bool)
            right[[self.index[label] for label in gold]] = True
        at = np.minimum(np.searchsorted(_UPPER, sure, side="left"), BINS - 1)
        for row, what in zip(out, (np.ones_like(right), right, np.rint(sure * _MILLION)), strict=True):
            np.add.at(row, at, what.astype(np.int64))
        return out.reshape(-1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """ece; nan where no example had probabilities."""
        size, right, sure = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        total = size.sum(-1)
        gaps = np.abs(right - sure / _MILLION).sum(-1)
        return {"ece": np.where(total > 0, metrics.ratio(gaps, total), np.nan)}

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """One row a bin that holds something."""
        columns = ("confidence", "right", "answers")
        rows = []
        for number, (size, right, sure) in enumerate(sums.reshape(3, -1).T):
            if size:
                name = f"{number / BINS:.2f} to {(number + 1) / BINS:.2f}"
                rows.append((name, (float(sure / _MILLION / size), float(right / size), float(size))))
        remark = "No example came with probabilities, so there is nothing to judge."
        if rows:
            error = 100 * float(self.scores(sums)["ece"])
            remark = f"Expected calibration error {error:.2f}: lower is better, 0 is perfect."
        title = "Confidence, in bins"
        return [metrics.Section(title=title, columns=columns, rows=tuple(rows), remark=remark, counts=("answers",))]
