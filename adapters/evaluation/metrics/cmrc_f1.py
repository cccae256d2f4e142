"""Exact match and F1 of Chinese answers, as CMRC 2018's script counts them (DRCD and other Chinese sets use it too)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import regex

from adapters.evaluation.metrics import base
from adapters.evaluation.metrics.answer_f1 import Metric as AnswerF1

_REMOVED = regex.compile(r"[\-:_*\^/\\~`+=，。：？！“”；’《》·、「」（）－～『』]")
_HAN = regex.compile(r"([\u4e00-\u9fa5])")
# What is left between two Chinese characters has the tokens of the Penn Treebank, as NLTK's word_tokenize cuts them.
_CLOSING = r"[\])}>\"'»”’ ]*$"
_OPENING_QUOTE = regex.compile(r'(?:^|(?<=[ (\[{<]))"')
_OPENING_APOSTROPHE = regex.compile(r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)")
_CONTRACTION = regex.compile(r"(?<=[^' ])(?:n't|'(?:s|m|d|ll|re|ve)?)(?=[ .?!,)]|$)")
_TOKEN = regex.compile(
    r"``|\.{2,}"
    rf"|(?:[^\s.,;@#$%&?!()\[\]{{}}<>\"`«»‘„\u2012-\u2015]|(?<!^)\.(?!\.)(?!{_CLOSING})|^\.(?=[^.])|,(?=\d))+|\S"
)


class Metric(AnswerF1):
    """Gold is a list of answers, empty for a question without one; the prediction is a text, empty for no answer.

    As in the script of Cui et al. 2019, arXiv:1810.07366 (github.com/ymcui/cmrc2018): in lower case, without Chinese
    punctuation and some of ASCII's; a token is a Chinese character, or a word of other letters. F1 is of the longest
    contiguous common part, where SQuAD's rule (`answer_f1`) counts shared words wherever they are; of several gold
    answers the best counts. Not as there: a text of other letters is cut into words without being cut into sentences
    first, and a question without an answer is answered by nothing alone.
    """

    name = "cmrc_f1"
    title = "CMRC F1"

    def counts(self, gold: Sequence[str], prediction: str) -> np.ndarray:
        """int64 `[6]`, as of `answer_f1`."""
        predicted = _without_punctuation(prediction)
        if not gold:
            hit = int(not predicted)
            return np.array([0, 0, 0, 1, hit, hit * base.MILLION], dtype=np.int64)
        answers = [_without_punctuation(answer) for answer in gold]
        said = _tokens(predicted)
        f1 = max(_overlap(_tokens(answer), said) for answer in answers)
        return np.array([1, predicted in answers, round(f1 * base.MILLION), 0, 0, 0], dtype=np.int64)

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """As of `answer_f1`."""
        (section,) = super().sections(sums)
        remark = "As CMRC 2018's script counts: Chinese by character, F1 of the longest contiguous common part."
        return [base.Section(**{**vars(section), "title": "Answers (CMRC 2018)", "remark": remark})]


def _without_punctuation(text: str) -> str:
    return str(_REMOVED.sub("", text.lower().strip()))


def _tokens(text: str) -> list[str]:
    out: list[str] = []
    for part in _HAN.split(text):
        out += [part] if _HAN.fullmatch(part) else _words(part)
    return out


def _words(text: str) -> list[str]:
    """The tokens of a text without Chinese characters."""
    text = _OPENING_APOSTROPHE.sub("' ", _OPENING_QUOTE.sub(" `` ", text))
    text = _CONTRACTION.sub(r" \g<0>", text)
    return [word.replace('"', "''") for word in _TOKEN.findall(text)]


def _overlap(gold: Sequence[str], said: Sequence[str]) -> float:
    """F1 of the longest run of tokens that both have."""
    longest, before = 0, [0] * (len(said) + 1)
    for token in gold:
        row = [0] * (len(said) + 1)
        for at, other in enumerate(said, 1):
            if token == other:
                row[at] = before[at - 1] + 1
        longest, before = max(longest, *row), row
    return 2 * longest / (len(gold) + len(said)) if longest else 0.0
