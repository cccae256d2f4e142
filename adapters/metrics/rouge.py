"""ROUGE-1, ROUGE-2 and ROUGE-L of summaries: words, pairs of words, and the longest common subsequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import regex

from adapters import metrics

KINDS = ("rouge1", "rouge2", "rougeL")
_MILLION = 1_000_000  # counts are whole numbers, so shares are counted in millionths
# A run of letters and digits is a word, and so is each character of a script that puts no blanks between words.
_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?V1)[{_ALONE}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_ALONE}]]++")


class Metric(metrics.Metric):
    """Gold is a list of references, the prediction a text; of several references the best counts, for each kind alone.

    The mean over examples of each one's precision, recall and F1, words in lower case, without stemming. Lin 2004,
    "ROUGE: a package for automatic evaluation of summaries". Of English text these are the numbers of Google's
    rouge-score; that one takes letters other than a to z for blanks.
    """

    name = "rouge"
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
        return np.array([1, *(round(share * _MILLION) for three in best for share in three)], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """F1 of each kind."""
        return {kind: metrics.ratio(sums[..., 3 + 3 * i] / _MILLION, sums[..., 0]) for i, kind in enumerate(KINDS)}

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """A row a kind."""
        shares = metrics.ratio(sums[1:].reshape(len(KINDS), 3) / _MILLION, sums[0])
        rows = tuple((f"ROUGE-{kind[5:]}", (*map(float, three), float(sums[0])))
                     for kind, three in zip(KINDS, shares, strict=True))  # fmt: skip
        columns = ("precision", "recall", "F1", "support")
        remark = "Means over texts; of several references the best counts."
        return [metrics.Section(title="ROUGE", columns=columns, rows=rows, remark=remark, counts=("support",))]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())  # type: ignore[no-any-return]


def _compared(reference: Sequence[str], found: Sequence[str]) -> list[tuple[float, float, float]]:
    """Precision, recall and F1 of each kind."""
    out = []
    for n in (1, 2):
        wanted, written = (Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (reference, found))
        out.append(_three((wanted & written).total(), written.total(), wanted.total()))
    return [*out, _three(_common(reference, found), len(found), len(reference))]


def _three(hits: int, written: int, wanted: int) -> tuple[float, float, float]:
    """Precision, recall, F1; 0 where there is nothing."""
    return hits / max(written, 1), hits / max(wanted, 1), 2 * hits / max(written + wanted, 1)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of bits for each word of `one` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(other):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(other)) - 1
    open_ = every
    for word in one:
        here = open_ & places.get(word, 0)
        open_ = ((open_ + here) | (open_ - here)) & every
    return len(other) - open_.bit_count()
