"""Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901): how much the score falls when a word is erased.

It asks a model for nothing but answers, as many as there are words. Two words of which either is enough get nothing, as
neither is missed.
"""

from __future__ import annotations

import numpy as np

from adapters.artifacts.explaining import base
from adapters.core.errors import ModelError


class Attribution(base.Attribution):
    """One answer for each word, or for each run of words of a long text."""

    name = "occlusion"
    preference = 3

    def misfit(self, answer: base.Answer) -> str:
        """It needs scores of the answer without a word."""
        try:
            answer.empty  # noqa: B018 - computed here, and kept
        except ModelError as error:
            return str(error).rstrip(".")
        return ""

    def attribute(self, answer: base.Answer, options: base.Options) -> np.ndarray:
        """The whole score less the one without the word; words that are erased together share it equally."""
        count = len(answer.words)
        size = words_at_a_time(count, options)
        runs = [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
        erased = np.zeros((len(runs), count), bool)
        for row, run in zip(erased, runs, strict=True):
            row[run] = True
        found = np.zeros(count)
        for run, score in zip(runs, answer.without(erased), strict=True):
            found[run] = (answer.score.value - score.value) / (run.stop - run.start)
        return found

    def notes(self, answer: base.Answer, options: base.Options) -> list[str]:
        """Whether several words were erased at a time."""
        size = words_at_a_time(len(answer.words), options)
        return [f"the text is long: {size} words were erased at a time, and share their value"] if size > 1 else []


def words_at_a_time(count: int, options: base.Options) -> int:
    """How many of a number of words are erased together."""
    return max(-(-count // options.passes), 1)
