"""F1 of whole extractions: entities, and relations whose two entities are right as well (the strict rule)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.evaluation.metrics import base


class Metric(base.Metric):
    """Gold and prediction are `(entities, triples)` of a text, each a set.

    An entity is its start, end and type; a triple its head, tail and relation.

    A relation is correct where its label, its direction, and the spans and types of both its entities are (Taillé et
    al. 2020, arXiv:2009.10684, "strict"). Scores are micro averages.
    """

    name = "triple_f1"
    title = "Strict relation F1"
    compares = ("triples",)
    main = "relation_f1"

    @property
    def width(self) -> int:
        """Correct, predicted and gold entities; the same of relations."""
        return 6

    def counts(self, gold: Any, prediction: Any) -> np.ndarray:
        """int64 `[6]`."""
        found = prediction if prediction is not None else (set(), set())
        return np.array(
            [n for true, given in zip(gold, found, strict=True) for n in (len(true & given), len(given), len(true))]
        )

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """relation_f1, entity_f1, and the precision and recall of both."""
        out: dict[str, np.ndarray] = {}
        for name, at in (("relation", 3), ("entity", 0)):
            each = base.precision_recall_f1(*(sums[..., at + i] for i in range(3)))
            out |= {f"{name}_{of}": value for of, value in zip(("precision", "recall", "f1"), each, strict=True)}
        return out

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for entities and one for relations."""
        rows = tuple(
            (name, (*(float(x) for x in base.precision_recall_f1(*sums[at : at + 3])), float(sums[at + 2])))
            for name, at in (("entities", 0), ("relations", 3))
        )
        columns = ("precision", "recall", "F1", "support")
        return [base.Section(title="Extractions, strict", columns=columns, rows=rows, counts=("support",))]
