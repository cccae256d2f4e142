"""Exact match and F1 of the words of answers, as SQuAD's script counts them, safe for scripts without blanks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import regex

from adapters import metrics

_MILLION = 1_000_000  # counts are whole numbers, so shares of words are counted in millionths
_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]")
_ARTICLES = regex.compile(r"\b(a|an|the)\b")
_ALONE = regex.compile(r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])")


class Metric(metrics.Metric):
    """Gold is a list of answers, none where the question has none; the prediction is a text, empty for none.

    Answers are compared in lower case, without punctuation, English articles and more than one blank; of several gold
    answers the best counts. Rajpurkar et al. 2016, arXiv:1606.05250, sec. 6.1; 2018, arXiv:1806.03822, for questions
    without an answer, of which only an empty one is right. Beyond SQuAD's own script: any punctuation of Unicode is
    left out, and a character of a script without blanks is a word (Lewis et al. 2020, arXiv:1910.07475, sec. 4).
    """

    name = "answer_f1"
    compares = ("text",)
    main = "f1"

    @property
    def width(self) -> int:
        """Examples, exact matches, and F1 in millionths: of questions with an answer, then of those without."""
        return 6

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[6]`."""
        said = normalised(prediction)
        wanted = [normalised(answer) for answer in gold] or [""]
        exact = said in wanted
        f1 = max(_overlap(answer, said) for answer in wanted)
        own = [1, int(exact), round(f1 * _MILLION)]
        return np.array([*own, 0, 0, 0] if gold else [0, 0, 0, *own], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """exact_match and f1, means over the questions."""
        examples, exact, f1 = np.moveaxis(sums[..., :3] + sums[..., 3:], -1, 0)
        return {"exact_match": metrics.ratio(exact, examples), "f1": metrics.ratio(f1 / _MILLION, examples)}

    def sections(self, sums: np.ndarray) -> list[metrics.Section]:
        """A row for questions with an answer, one for those without where there are some, and all of them."""
        parts = {"with an answer": sums[:3], "without an answer": sums[3:], "micro avg": sums[:3] + sums[3:]}
        rows = []
        for name, (examples, exact, f1) in parts.items():
            if examples or name != "without an answer":
                shares = metrics.ratio(np.array([exact, f1 / _MILLION]), examples)
                rows.append((name, (*map(float, shares), float(examples))))
        columns = ("exact match", "F1", "support")
        remark = "Means over questions; of several answers the best counts."
        return [metrics.Section(title="Answers", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]


def normalised(text: str) -> str:
    """An answer as it is compared."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


def _overlap(wanted: str, said: str) -> float:
    """F1 of the words of two answers."""
    one, other = (_ALONE.sub(r" \1 ", text).split() for text in (wanted, said))
    if not one or not other:
        return float(one == other)
    hits = (Counter(one) & Counter(other)).total()
    return 2 * hits / (len(one) + len(other))
