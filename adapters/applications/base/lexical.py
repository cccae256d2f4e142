"""Search by words: BM25 (bm25s), with pairs of characters where a script has no blanks, from 0 to 1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import regex

_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]+|[^\W\p{Han}\p{Hiragana}\p{Katakana}]+")
_WIDE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


def words(text: str) -> list[str]:
    """Words in lower case; of Chinese and Japanese, pairs of neighbouring characters (a single one by itself)."""
    out: list[str] = []
    for run in _WORD.findall(text.lower()):
        if _WIDE.match(run) and len(run) > 1:
            out += [run[i : i + 2] for i in range(len(run) - 1)]
        else:
            out.append(run)
    return out


class Lexical:
    """BM25 scores of texts for a question (Robertson et al. 1994; Lucene's form, k1 = 1.5, b = 0.75).

    They are divided by their upper bound, the sum of the inverse document frequencies of the question's words: a word
    that no text has counts against all of them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Args: texts: that are searched; at least one has a word."""
        import bm25s

        tokens = [words(text) for text in texts]
        self.count = len(texts)
        self._frequency = Counter(word for found in tokens for word in set(found))
        self._index: Any = bm25s.BM25(method="lucene")
        if self._frequency:
            self._index.index(tokens, show_progress=False)

    def scores(self, question: str) -> np.ndarray:
        """float32 `[texts]`, from 0 to 1."""
        asked = list(dict.fromkeys(words(question)))
        known = [word for word in asked if word in self._frequency]
        if not known:
            return np.zeros(self.count, np.float32)
        most = sum(self._inverse(word) for word in asked)
        found: np.ndarray = self._index.get_scores(known)
        return np.asarray(found / most, np.float32)

    def _inverse(self, word: str) -> float:
        """Lucene's inverse document frequency."""
        having = self._frequency[word]
        return math.log(1 + (self.count - having + 0.5) / (having + 0.5))
