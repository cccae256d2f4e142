"""Accuracy, macro and micro F1 and Matthews correlation of texts with one label each, and who is taken for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from adapters import metrics

WHOLE_MATRIX = 10
"""So many classes have a confusion matrix that can be read."""
SHOWN_CONFUSIONS = 20


class Metric(metrics.Metric):
    """Gold is a label; the prediction is one too, or None where a prompted model's answer could not be read.

    An unread answer is wrong, and no class's false alarm: it counts as scikit-learn counts a class of its own that
    `labels=` leaves out. So micro F1 is the accuracy where every answer was read, and above it elsewhere.
    """

    name = "accuracy"
    compares = ("label",)
    main = "accuracy"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the classes."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}

    @property
    def width(self) -> int:
        """Right, predicted and gold examples of each class."""
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
        """Accuracy, macro_f1 (over classes that gold or predictions hold), micro_f1, and matthews, from -1 to 1."""
        hit, predicted, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        each = metrics.precision_recall_f1(hit, predicted, gold)[2]
        return {
            "accuracy": metrics.ratio(hit.sum(-1), gold.sum(-1)),
            "macro_f1": metrics.macro_mean(each, predicted, gold),
            "micro_f1": metrics.precision_recall_f1(hit.sum(-1), predicted.sum(-1), gold.sum(-1))[2],
            "matthews": _matthews(hit, predicted, gold),
        }

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """One row a class, then the averages; accuracy and correlation in words."""
        scores = self.scores(sums)
        remark = (
            f"Accuracy {100 * float(scores['accuracy']):.2f}; Matthews correlation {float(scores['matthews']):.4f} "
            "(1: all right, 0: as by chance)."
        )
        rows = metrics.averaged_rows(self.labels, *sums.reshape(3, -1))
        columns = ("precision", "recall", "F1", "support")
        return [metrics.Section(title="Classes", columns=columns, rows=rows, remark=remark, counts=("support",))]

    def details(self, golds: Sequence[str], predictions: Sequence[str | None]) -> list[metrics.Section]:
        """The confusion matrix of few classes, the most frequent confusions of many."""
        unread = "(unread)"
        while unread in self.index:
            unread = f"({unread})"
        pairs = Counter(
            (gold, unread if found is None else found) for gold, found in zip(golds, predictions, strict=True)
        )
        if len(self.labels) > WHOLE_MATRIX:
            return self._confusions(pairs)
        columns = (*self.labels, *([unread] if None in predictions else []))
        rows = tuple((gold, tuple(float(pairs[gold, found]) for found in columns)) for gold in self.labels)
        remark = "A row is a gold class, a column what was predicted."
        return [
            metrics.Section(title="Confusion matrix", columns=columns, rows=rows, remark=remark, counts=columns),
        ]

    def _confusions(self, pairs: Counter[tuple[str, str]]) -> list[metrics.Section]:
        """Of equally frequent ones, those of the earlier labels first; no section where all is right."""
        wrong = [(count, gold, found) for (gold, found), count in pairs.items() if gold != found]
        order = {label: number for number, label in enumerate(self.labels)}
        wrong.sort(key=lambda item: (-item[0], order[item[1]], order.get(item[2], len(order))))
        rows = tuple((f"{gold} → {found}", (float(count),)) for count, gold, found in wrong[:SHOWN_CONFUSIONS])
        if not rows:
            return []
        remark = f"gold → predicted; {len(rows)} of {len(wrong)} pairs that were confused."
        title = "Most frequent confusions"
        return [metrics.Section(title=title, columns=("examples",), rows=rows, remark=remark, counts=("examples",))]


def _matthews(hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes, from counts `[..., classes]`; 0 where one side never varies.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", in the form of
    scikit-learn's user guide: only c (right), s (all), p_k and t_k are needed. Unread answers are one more p_k.
    """
    hit, predicted, gold = (counts.astype(np.float64) for counts in (hit, predicted, gold))
    right, examples = hit.sum(-1), gold.sum(-1)
    unread = examples - predicted.sum(-1)
    between = right * examples - (predicted * gold).sum(-1)
    within_predicted = examples**2 - (predicted**2).sum(-1) - unread**2
    within_gold = examples**2 - (gold**2).sum(-1)
    return metrics.ratio(between, np.sqrt(within_predicted * within_gold))
