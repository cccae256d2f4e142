"""Exact match and word F1 of answers, as SQuAD's script counts them; also for scripts without spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import regex

from adapters.data.word_splitter import UNSPACED
from adapters.evaluation.metrics import base

_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]")
_ARTICLES = regex.compile(r"\b(a|an|the)\b")
_ALONE = regex.compile(rf"([{UNSPACED}])")


class Metric(base.Metric):
    """Gold is a list of answers, empty for a question without one; the prediction is a text, empty for no answer.

    Answers are compared in lower case, without punctuation, English articles and repeated spaces; of several gold
    answers the best counts, and one of which nothing remains does not count beside others. Rajpurkar et al. 2016,
    arXiv:1606.05250, sec. 6.1; 2018, arXiv:1806.03822, for questions without an answer, where only an empty answer is
    correct. Beyond SQuAD's own script: all punctuation of Unicode is
    removed, and a character of a script without spaces is a word (Lewis et al. 2020, arXiv:1910.07475, sec. 4).
    """

    name = "answer_f1"
    title = "Answer F1"
    compares = ("text",)
    main = "f1"

    @property
    def width(self) -> int:
        """Examples, exact matches, and F1 in millionths: of questions with an answer, then of those without."""
        return 6

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[6]`."""
        predicted = normalised(prediction)
        answers = [answer for answer in map(normalised, gold) if answer] or [""]
        exact = predicted in answers
        f1 = max(_overlap(answer, predicted) for answer in answers)
        own = [1, int(exact), round(f1 * base.MILLION)]
        return np.array([*own, 0, 0, 0] if gold else [0, 0, 0, *own], dtype=np.int64)

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """exact_match and f1, means over the questions."""
        examples, exact, f1 = np.moveaxis(sums[..., :3] + sums[..., 3:], -1, 0)
        return {"exact_match": base.ratio(exact, examples), "f1": base.ratio(f1 / base.MILLION, examples)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """A row for questions with an answer, one for those without if there are any, and one for all."""
        parts = {"with an answer": sums[:3], "without an answer": sums[3:], "micro avg": sums[:3] + sums[3:]}
        rows = []
        for name, (examples, exact, f1) in parts.items():
            if examples or name != "without an answer":
                shares = base.ratio(np.array([exact, f1 / base.MILLION]), examples)
                rows.append((name, (*map(float, shares), float(examples))))
        columns = ("exact match", "F1", "support")
        remark = "Means over questions; of several gold answers the best counts."
        return [base.Section(title="Answers", columns=columns, rows=tuple(rows), remark=remark, counts=("support",))]


def normalised(text: str) -> str:
    """An answer in the form in which answers are compared."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


def _overlap(gold: str, predicted: str) -> float:
    """F1 of the words of two answers."""
    one, other = (_ALONE.sub(r" \1 ", text).split() for text in (gold, predicted))
    if not one or not other:
        return float(one == other)
    hits = (Counter(one) & Counter(other)).total()
    return 2 * hits / (len(one) + len(other))
