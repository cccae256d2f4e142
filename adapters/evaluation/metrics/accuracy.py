"""Accuracy, macro and micro F1, Matthews correlation and confusions of texts with one label each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from adapters.evaluation.metrics import base

WHOLE_MATRIX = 10
"""Most classes for which the whole confusion matrix is shown."""
SHOWN_CONFUSIONS = 20


class Metric(base.Metric):
    """Gold is a label; the prediction is one too, or None for a parse failure of a prompted model's answer.

    A parse failure is wrong, but no false positive of a class: scikit-learn counts a class that `labels=` leaves out
    in the same way. So micro F1 equals accuracy where every answer was parsed, and is above it elsewhere.
    """

    name = "accuracy"
    title = "Accuracy"
    compares = ("label",)
    main = "accuracy"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the classes."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}

    @property
    def width(self) -> int:
        """Correct, predicted and gold examples of each class."""
        return 3 * len(self.labels)

    def counts(self, gold: str, prediction: str | None) -> np.ndarray:
        """int64 `[3 * classes]`."""
        out = np.zeros((3, len(self.labels)), dtype=np.int64)
        out[2, self.index[gold]] = 1
        if prediction is not None:
            out[1, self.index[prediction]] = 1
            out[0, self.index[gold]] = prediction == gold
        return out.reshape(-1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """Accuracy, macro_f1 (over classes in gold or predictions), micro_f1, and matthews, from -1 to 1."""
        hit, predicted, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        each = base.precision_recall_f1(hit, predicted, gold)[2]
        return {
            "accuracy": base.ratio(hit.sum(-1), gold.sum(-1)),
            "macro_f1": base.macro_mean(each, predicted, gold),
            "micro_f1": base.precision_recall_f1(hit.sum(-1), predicted.sum(-1), gold.sum(-1))[2],
            "matthews": _matthews(hit, predicted, gold),
        }

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each class, then the averages; accuracy and correlation in the remark."""
        scores = self.scores(sums)
        remark = (
            f"Accuracy {100 * float(scores['accuracy']):.2f}; Matthews correlation {float(scores['matthews']):.4f} "
            "(1: all correct, 0: no better than chance)."
        )
        rows = base.averaged_rows(self.labels, *sums.reshape(3, -1))
        columns = ("precision", "recall", "F1", "support")
        return [base.Section(title="Classes", columns=columns, rows=rows, remark=remark, counts=("support",))]

    def details(self, golds: Sequence[str], predictions: Sequence[str | None]) -> list[base.Section]:
        """The confusion matrix; for many classes, the most frequent confusions."""
        failure = "(parse failure)"
        while failure in self.index:
            failure = f"({failure})"
        pairs = Counter(
            (gold, failure if found is None else found) for gold, found in zip(golds, predictions, strict=True)
        )
        if len(self.labels) > WHOLE_MATRIX:
            return self._confusions(pairs)
        columns = (*self.labels, *([failure] if None in predictions else []))
        rows = tuple((gold, tuple(float(pairs[gold, found]) for found in columns)) for gold in self.labels)
        remark = "Rows: gold classes; columns: predicted ones."
        return [
            base.Section(title="Confusion matrix", columns=columns, rows=rows, remark=remark, counts=columns),
        ]

    def _confusions(self, pairs: Counter[tuple[str, str]]) -> list[base.Section]:
        """Ties are in the order of the labels; no section where every prediction is correct."""
        wrong = [(count, gold, found) for (gold, found), count in pairs.items() if gold != found]
        order = {label: number for number, label in enumerate(self.labels)}
        wrong.sort(key=lambda item: (-item[0], order[item[1]], order.get(item[2], len(order))))
        rows = tuple((f"{gold} → {found}", (float(count),)) for count, gold, found in wrong[:SHOWN_CONFUSIONS])
        if not rows:
            return []
        remark = f"gold → predicted; {len(rows)} of {len(wrong)} confused pairs."
        title = "Most frequent confusions"
        return [base.Section(title=title, columns=("examples",), rows=rows, remark=remark, counts=("examples",))]


def _matthews(hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes, from counts `[..., classes]`; 0 where one side is constant.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", in the form of
    scikit-learn's user guide: only c (correct), s (all), p_k and t_k are needed. Parse failures are one more p_k.
    """
    hit, predicted, gold = (counts.astype(np.float64) for counts in (hit, predicted, gold))
    correct, examples = hit.sum(-1), gold.sum(-1)
    failures = examples - predicted.sum(-1)
    between = correct * examples - (predicted * gold).sum(-1)
    within_predicted = examples**2 - (predicted**2).sum(-1) - failures**2
    within_gold = examples**2 - (gold**2).sum(-1)
    return base.ratio(between, np.sqrt(within_predicted * within_gold))
