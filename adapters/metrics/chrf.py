"""chrF of a corpus, as sacrebleu counts it: n-grams of characters, n from 1 to 6, that stand in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adapters import metrics
from adapters.corpus_metric import CorpusMetric

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

ORDER = 6


class Metric(CorpusMetric):
    """Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"; recall counts twice (chrF2).

    Nothing is cut into words, so that it is the same for every language, and it tells weak models apart, too.
    """

    name = "chrf"
    main = "chrf"
    statistics = 3 * ORDER

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: none."""
        from sacrebleu.metrics.chrf import CHRF

        super().__init__(labels)
        self.judge = CHRF()

    def theirs(self, references: Sequence[str]) -> CHRF:
        """The same whatever the language."""
        return self.judge

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """Precision and recall of each length of n-grams."""
        written, wanted, hits = sums[1:].reshape(ORDER, 3).T.astype(np.float64)
        precision, recall = metrics.ratio(hits, written), metrics.ratio(hits, wanted)
        each = zip(precision.tolist(), recall.tolist(), metrics.ratio(5 * hits, 4 * wanted + written).tolist(),
                   wanted.tolist(), strict=True)  # fmt: skip
        rows = [(f"{n} characters", row) for n, row in enumerate(each, 1)]
        score = float(self.scores(sums)["chrf"])
        rows.append(("chrF avg", (float(precision.mean()), float(recall.mean()), score, float(wanted[0]))))
        remark = "n-grams of characters without blanks; F2 counts recall twice."
        columns = ("precision", "recall", "F2", "support")
        return [metrics.Section(title="chrF", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]
