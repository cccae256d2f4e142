"""Entity-level precision, recall and F1: an entity counts if its type and both boundaries are right (conlleval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.data.tag_schemes import spans
from adapters.evaluation.metrics import base


class Metric(base.Metric):
    """Counts exact matches of (type, first word, last word); gold and prediction are IOB2 tags of one sentence.

    Tjong Kim Sang & De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task".
    """

    name = "entity_f1"
    title = "Entity F1"
    compares = ("tags",)
    main = "f1"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: IOB2 tags, which give the types."""
        super().__init__(labels)
        self.types = tuple(sorted({label[2:] for label in labels if label[:2] in ("B-", "I-")}))
        self.index = {kind: number for number, kind in enumerate(self.types)}

    @property
    def width(self) -> int:
        """Correct, predicted and gold entities of each type."""
        return 3 * len(self.types)

    def counts(self, gold: Sequence[str], prediction: Sequence[str]) -> np.ndarray:
        """int64 `[3 * types]`. Both sides must tag the same words."""
        assert len(gold) == len(prediction), (len(gold), len(prediction))
        out = np.zeros((3, len(self.types)), dtype=np.int64)
        true, found = set(spans(gold)), set(spans(prediction))
        for row, entities in zip(out, (true & found, found, true), strict=True):
            for kind, _, _ in entities:
                row[self.index[kind]] += 1
        return out.reshape(-1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """Micro precision, recall and f1, and macro_f1 (over types in gold or predictions)."""
        hit, predicted, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        micro = base.precision_recall_f1(hit.sum(-1), predicted.sum(-1), gold.sum(-1))
        macro = base.macro_mean(base.precision_recall_f1(hit, predicted, gold)[2], predicted, gold)
        return {**dict(zip(("precision", "recall", "f1"), micro, strict=True)), "macro_f1": macro}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each type, then the averages."""
        hit, predicted, gold = sums.reshape(3, -1)
        rows = base.averaged_rows(self.types, hit, predicted, gold)
        columns = ("precision", "recall", "F1", "support")
        remark = "An entity counts if its type and both boundaries are right."
        return [base.Section(title="Entities", columns=columns, rows=rows, remark=remark, counts=("support",))]
