"""ROUGE-1, ROUGE-2 and ROUGE-L of summaries: words, pairs of words, and the longest common subsequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import regex

from adapters.data.word_splitter import UNSPACED
from adapters.evaluation.metrics import base

KINDS = ("rouge1", "rouge2", "rougeL")
# A run of letters and digits is a word, and so is each character of a script without spaces between words.
_WORD = regex.compile(rf"(?V1)[{UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]++")


class Metric(base.Metric):
    """Gold is a list of references, the prediction a text; of several references the best counts, for each kind.

    Means over examples of precision, recall and F1, with words in lower case and without stemming; a character of a
    script without spaces is a word. Lin 2004, "ROUGE: a
    package for automatic evaluation of summaries". For English text these are the numbers of Google's rouge-score,
    which takes letters other than a to z for spaces.
    """

    name = "rouge"
    title = "ROUGE-L"
    compares = ("text",)
    main = "rougeL"

    @property
    def width(self) -> int:
        """Examples; then precision, recall and F1 of each kind, in millionths."""
        return 1 + 3 * len(KINDS)

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[10]`."""
        found = _words(prediction)
        each = [_compared(_words(reference), found) for reference in gold]
        best = [max((one[kind] for one in each), key=lambda three: three[2]) for kind in range(len(KINDS))]
        return np.array([1, *(round(share * base.MILLION) for three in best for share in three)], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """F1 of each kind."""
        return {kind: base.ratio(sums[..., 3 + 3 * i] / base.MILLION, sums[..., 0]) for i, kind in enumerate(KINDS)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for each kind."""
        shares = base.ratio(sums[1:].reshape(len(KINDS), 3) / base.MILLION, sums[0])
        rows = tuple(
            (f"ROUGE-{kind[5:]}", (*map(float, three), float(sums[0])))
            for kind, three in zip(KINDS, shares, strict=True)
        )
        columns = ("precision", "recall", "F1", "support")
        remark = "Means over texts; of several references the best counts. Chinese, Japanese and Thai by character."
        return [base.Section(title="ROUGE", columns=columns, rows=rows, remark=remark, counts=("support",))]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())  # type: ignore[no-any-return]


def _compared(reference: Sequence[str], found: Sequence[str]) -> list[tuple[float, float, float]]:
    """Precision, recall and F1 of each kind."""
    out = []
    for n in (1, 2):
        expected, predicted = (
            Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (reference, found)
        )
        out.append(_three((expected & predicted).total(), predicted.total(), expected.total()))
    return [*out, _three(_common(reference, found), len(found), len(reference))]


def _three(hits: int, predicted: int, expected: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of counts; 0 where a denominator is 0."""
    return hits / max(predicted, 1), hits / max(expected, 1), 2 * hits / max(predicted + expected, 1)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bit vectors (Hyyrö 2004)."""
    positions: dict[str, int] = {}
    for position, word in enumerate(other):
        positions[word] = positions.get(word, 0) | 1 << position
    every = (1 << len(other)) - 1
    open_ = every
    for word in one:
        matches = open_ & positions.get(word, 0)
        open_ = ((open_ + matches) | (open_ - matches)) & every
    return len(other) - open_.bit_count()
