"""Micro and macro F1 and subset accuracy of texts with any number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.core.errors import numbered
from adapters.evaluation.metrics import base


class Metric(base.Metric):
    """Gold and prediction are lists of labels, possibly empty; order and repetition do not matter.

    A prediction of None (a parse failure) has no label, and is never the exact set.
    """

    name = "multilabel_f1"
    title = "Micro F1"
    compares = ("labels",)
    main = "micro_f1"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: all labels."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}

    @property
    def width(self) -> int:
        """Correct, predicted and gold examples of each label; examples with exactly the gold labels; examples."""
        return 3 * len(self.labels) + 2

    def counts(self, gold: Sequence[str], prediction: Sequence[str] | None) -> np.ndarray:
        """int64 `[3 * labels + 2]`."""
        assert not isinstance(gold, str) and not isinstance(prediction, str), (gold, prediction)
        out = np.zeros(self.width, dtype=np.int64)
        true, found = set(gold), set(prediction or ())
        for row, chosen in zip(out[:-2].reshape(3, -1), (true & found, found, true), strict=True):
            row[[self.index[label] for label in chosen]] = 1
        out[-2:] = prediction is not None and true == found, 1
        return out

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """micro_f1; macro_f1 over all labels, as scikit-learn averages indicators; subset_accuracy."""
        hit, predicted, gold = np.moveaxis(sums[..., :-2].reshape(*sums.shape[:-1], 3, -1), -2, 0)
        return {
            "micro_f1": base.precision_recall_f1(hit.sum(-1), predicted.sum(-1), gold.sum(-1))[2],
            "macro_f1": base.precision_recall_f1(hit, predicted, gold)[2].mean(-1),
            "subset_accuracy": base.ratio(sums[..., -2], sums[..., -1]),
        }

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each label, then the averages."""
        rows = base.averaged_rows(self.labels, *sums[:-2].reshape(3, -1), every_class=True)
        columns = ("precision", "recall", "F1", "support")
        share = 100 * float(self.scores(sums)["subset_accuracy"])
        remark = f"{share:.2f} % of {numbered(int(sums[-1]), 'texts')} have exactly their gold labels."
        return [base.Section(title="Labels", columns=columns, rows=rows, remark=remark, counts=("support",))]
