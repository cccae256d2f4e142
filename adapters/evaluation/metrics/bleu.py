"""BLEU of a corpus, as sacrebleu counts it: how many of the words' n-grams, n from 1 to 4, are in a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import regex

from adapters.core.errors import numbered
from adapters.evaluation.metrics import base
from adapters.evaluation.metrics.base.sacrebleu import SacrebleuMetric

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDER = 4
_HAN = regex.compile(r"\p{Han}")


class _Count(float):
    """A number of words that may be a mean over seeds; sacrebleu writes it as a whole number."""

    def __format__(self, spec: str) -> str:
        return format(float(self), spec.replace("d", "g"))


class Metric(SacrebleuMetric):
    """Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"; Post 2018,
    arXiv:1804.08771, for the tokenization: `13a`, and `zh` where a reference contains a Chinese character.

    Where no n-gram of some length matches, the score is smoothed as there (`exp`).
    """

    name = "bleu"
    title = "BLEU"
    main = "bleu"
    statistics = 2 + 2 * ORDER

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: none."""
        from sacrebleu.metrics.bleu import BLEU

        super().__init__(labels)
        self.spaced, self.unspaced = BLEU(tokenize="13a", force=True), BLEU(tokenize="zh", force=True)

    def scorer(self, references: Sequence[str]) -> BLEU:
        """Chinese has no spaces between words: each character counts as a word."""
        return self.unspaced if any(map(_HAN.search, references)) else self.spaced

    def score(self, statistics: list[float]) -> float:
        """BLEU of the corpus. Not by `_compute_score_from_stats`, which cuts lengths to whole numbers."""
        predicted, expected, *rest = map(_Count, statistics)
        scorer: Any = self.spaced
        found = scorer.compute_bleu(
            rest[:ORDER], rest[ORDER:], predicted, expected, smooth_method=scorer.smooth_method, max_ngram_order=ORDER
        )
        return float(found.score)

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Precision for each length of n-grams; lengths of predictions and references in the remark."""
        examples, predicted, expected, *rest = map(float, sums)
        hits, totals = rest[:ORDER], rest[ORDER:]
        rows = [
            (f"{n}-grams", (float(base.ratio(np.array(hit), np.array(total))), total))
            for n, (hit, total) in enumerate(zip(hits, totals, strict=True), 1)
        ]
        rows.append(("BLEU avg", (float(self.scores(sums)["bleu"]), totals[0])))
        remark = f"{numbered(int(examples), 'predictions')} of {numbered(int(predicted), 'words')}; "
        remark += "the references nearest in length have "
        remark += f"{expected:,.0f} (of Chinese: characters). Predictions that are too short lower the score."
        columns = ("precision", "support")
        return [base.Section(title="BLEU", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]
