"""chrF of a corpus, as sacrebleu counts it: n-grams of characters, n from 1 to 6, that are in the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.evaluation.metrics import base
from adapters.evaluation.metrics.base.sacrebleu import SacrebleuMetric

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

ORDER = 6


class Metric(SacrebleuMetric):
    """Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"; recall counts twice (chrF2).

    Texts are not split into words, so it is the same for every language; and it tells weak models apart, too.
    """

    name = "chrf"
    title = "chrF"
    main = "chrf"
    statistics = 3 * ORDER

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: none."""
        from sacrebleu.metrics.chrf import CHRF

        super().__init__(labels)
        self.chrf = CHRF()

    def scorer(self, references: Sequence[str]) -> CHRF:
        """The same for every language."""
        return self.chrf

    def score(self, statistics: list[float]) -> float:
        """chrF2 of the corpus."""
        scorer: Any = self.chrf
        return float(scorer._compute_score_from_stats(statistics).score)

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Precision and recall for each length of n-grams."""
        predicted, gold, hits = sums[1:].reshape(ORDER, 3).T.astype(np.float64)
        precision, recall = base.ratio(hits, predicted), base.ratio(hits, gold)
        each = zip(
            precision.tolist(),
            recall.tolist(),
            base.ratio(5 * hits, 4 * gold + predicted).tolist(),
            gold.tolist(),
            strict=True,
        )
        rows = [(f"{n} characters", row) for n, row in enumerate(each, 1)]
        score = float(self.scores(sums)["chrf"])
        rows.append(("chrF avg", (float(precision.mean()), float(recall.mean()), score, float(gold[0]))))
        remark = "n-grams of characters without spaces; F2 weights recall twice."
        columns = ("precision", "recall", "F2", "support")
        return [base.Section(title="chrF", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]
