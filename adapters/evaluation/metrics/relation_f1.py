"""F1 of relations, without `no_relation`: macro as SemEval-2010 task 8 counts it, micro as TACRED does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from adapters.data.related_pairs import NO_RELATION
from adapters.evaluation.metrics import base

_DIRECTED = re.compile(r"(.+)\((?:e1,e2|e2,e1)\)")


class Metric(base.Metric):
    """Gold is a relation; the prediction is one too, or None for a parse failure of a prompted model's answer.

    `Cause-Effect(e1,e2)` and `Cause-Effect(e2,e1)` are one relation in two directions: a prediction is correct in both
    relation and direction, or not at all (Hendrickx et al. 2010, "SemEval-2010 Task 8", sec. 4.2: nine relations and
    Other, with directionality taken into account; Other is in no average). Micro F1 pools all pairs whose gold or
    predicted label is not `no_relation` (Zhang et al. 2017, TACRED).
    """

    name = "relation_f1"
    title = "Relation F1"
    compares = ("label",)
    main = "macro_f1"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the relations, with their directions, and perhaps `no_relation`."""
        super().__init__(labels)
        self.relation = {label: relation_of(label) for label in labels if label != NO_RELATION}
        self.relations = tuple(dict.fromkeys(self.relation.values()))
        self.index = {relation: number for number, relation in enumerate(self.relations)}

    @property
    def width(self) -> int:
        """Correct, predicted and gold pairs of each relation; pairs with their gold label, and pairs."""
        return 3 * len(self.relations) + 2

    def counts(self, gold: str, prediction: str | None) -> np.ndarray:
        """int64 `[3 * relations + 2]`."""
        out = np.zeros(self.width, dtype=np.int64)
        of_each = out[:-2].reshape(3, -1)
        for row, label in ((2, gold), (1, prediction)):
            if label in self.relation:
                of_each[row, self.index[self.relation[label]]] = 1
        if gold == prediction and gold in self.relation:
            of_each[0, self.index[self.relation[gold]]] = 1
        out[-2:] = gold == prediction, 1
        return out

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """macro_f1 over all relations, micro_f1, and accuracy with `no_relation`."""
        hit, predicted, gold = np.moveaxis(sums[..., :-2].reshape(*sums.shape[:-1], 3, -1), -2, 0)
        return {
            "macro_f1": base.precision_recall_f1(hit, predicted, gold)[2].mean(-1),
            "micro_f1": base.precision_recall_f1(hit.sum(-1), predicted.sum(-1), gold.sum(-1))[2],
            "accuracy": base.ratio(sums[..., -2], sums[..., -1]),
        }

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each relation, then the averages."""
        rows = base.averaged_rows(self.relations, *sums[:-2].reshape(3, -1), every_class=True)
        columns = ("precision", "recall", "F1", "support")
        of = "relation and direction" if len(self.relations) < len(self.relation) else "relation"
        remark = f"Accuracy {100 * float(sums[-2] / max(sums[-1], 1)):.2f} with no_relation; correct is the {of}."
        return [base.Section(title="Relations", columns=columns, rows=rows, remark=remark, counts=("support",))]


def relation_of(label: str) -> str:
    """The name of a relation without its direction: `Cause-Effect` of `Cause-Effect(e2,e1)`."""
    found = _DIRECTED.fullmatch(label)
    return found[1] if found else label
