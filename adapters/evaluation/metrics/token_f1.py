"""Per-tag precision, recall and F1 of single words, with `O` and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapters.data.tag_schemes import OUTSIDE
from adapters.evaluation.metrics import base


class Metric(base.Metric):
    """Counts words, not entities: gold and prediction are tags of one sentence."""

    name = "token_f1"
    title = "Token F1 (without O)"
    compares = ("tags",)
    main = "f1_without_o"

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: tags, including `O`."""
        super().__init__(labels)
        self.index = {label: number for number, label in enumerate(labels)}
        self.entity_rows = np.array([label != OUTSIDE for label in labels])

    @property
    def width(self) -> int:
        """Correct, predicted and gold words of each tag."""
        return 3 * len(self.labels)

    def counts(self, gold: Sequence[str], prediction: Sequence[str]) -> np.ndarray:
        """int64 `[3 * tags]`."""
        out = np.zeros((3, len(self.labels)), dtype=np.int64)
        for true, found in zip(gold, prediction, strict=True):
            out[0, self.index[true]] += true == found
            out[1, self.index[found]] += 1
            out[2, self.index[true]] += 1
        return out.reshape(-1)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """Micro averages without `O`; and accuracy, the micro average with `O`."""
        every = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
        hit, predicted, gold = (counts[..., self.entity_rows].sum(-1) for counts in every)
        precision, recall, f1 = base.precision_recall_f1(hit, predicted, gold)
        accuracy = base.ratio(every[0].sum(-1), every[2].sum(-1))
        return {
            "precision_without_o": precision,
            "recall_without_o": recall,
            "f1_without_o": f1,
            "accuracy_with_o": accuracy,
        }

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Two tables: the tags of entities only, and all tags."""
        every = sums.reshape(3, -1)
        columns = ("precision", "recall", "F1", "support")
        chosen = [label for label in self.labels if label != OUTSIDE]
        without = base.averaged_rows(chosen, *(counts[self.entity_rows] for counts in every))
        # `O` changes only the averages; the rows of the other tags would be the same again.
        with_o = base.averaged_rows(self.labels, *every)
        own = [row for row in with_o if row[0] == OUTSIDE or row[0].endswith("avg")]
        return [
            base.Section(
                title="Tags of words, without O",
                columns=columns,
                rows=without,
                remark="Single words: an entity with a wrong boundary still counts for its other words.",
                counts=("support",),
            ),
            base.Section(
                title="Tags of words, with O",
                columns=columns,
                rows=tuple(own),
                remark="Flattering: most words are O, so the micro average is near 1 for any model.",
                counts=("support",),
            ),
        ]
