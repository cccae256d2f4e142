"""BLEU of a corpus, as sacrebleu counts it: how many of the words' n-grams, n from 1 to 4, stand in a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import regex

from adapters import metrics
from adapters.corpus_metric import CorpusMetric

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDER = 4
_HAN = regex.compile(r"\p{Han}")


class Metric(CorpusMetric):
    """Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"; Post 2018,
    arXiv:1804.08771, for what is cut into words how: `13a`, and `zh` where a reference holds a Chinese character.

    A corpus without one matching n-gram of some length is smoothed as there (`exp`).
    """

    name = "bleu"
    main = "bleu"
    statistics = 2 + 2 * ORDER

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: none."""
        from sacrebleu.metrics.bleu import BLEU

        super().__init__(labels)
        self.spaced, self.unspaced = BLEU(tokenize="13a", force=True), BLEU(tokenize="zh", force=True)

    def theirs(self, references: Sequence[str]) -> BLEU:
        """Chinese has no blanks between words: its characters are taken for words."""
        return self.unspaced if any(map(_HAN.search, references)) else self.spaced

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """The precision of each length of n-grams, and the lengths of what was written and of the references."""
        examples, written, wanted, *rest = map(float, sums)
        hits, totals = rest[:ORDER], rest[ORDER:]
        rows = [(f"{n}-grams", (float(metrics.ratio(np.array(hit), np.array(total))), total))
                for n, (hit, total) in enumerate(zip(hits, totals, strict=True), 1)]  # fmt: skip
        rows.append(("BLEU avg", (float(self.scores(sums)["bleu"]), totals[0])))
        remark = f"{written:,.0f} words were written in {examples:,.0f} texts, the references nearest to them have "
        remark += f"{wanted:,.0f}; fewer lower the score."
        columns = ("precision", "support")
        return [metrics.Section(title="BLEU", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]
