"""What an explanation needs of a task: the words of an example, their tokens, and the answer that is explained."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError, did_you_mean
from adapters.data.word_splitter import split_words
from adapters.tasks.base.example import Example

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word of an example's inputs.

    Attributes:
        column: the input that it is in.
        start: its first character there.
        end: the character after its last one.
    """

    column: str
    start: int
    end: int


Span = tuple[str, int, int]
"""Characters of an input that a token was made of: the column, the first one, and the one after the last."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Which words the tokens of a model's rows are of.

    Attributes:
        words: of the example, in order.
        rows: for each row of the model's input `[tokens, words]`: the share of a token that is a word's. A row of zeros
            is a special token, a mark or white space; the shares of any other add up to 1.
    """

    words: Sequence[Word]
    rows: Sequence[csr_matrix]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A part of an answer that is explained.

    Attributes:
        name: as people read it: a label, an entity, an answer.
        of: what the task needs to find its scores: a class, or a place in the input.
    """

    name: str
    of: Any = None


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """Scores of answers of which one is given, linear in what the model says.

    Attributes:
        scores: `[alternatives]`, of NumPy or torch. A single one is compared with nothing: a number, or a label that
            is there or not.
        chosen: index of the one that is explained.
    """

    scores: Any
    chosen: int

    def contrast(self) -> Any:
        """The chosen score less the mean of the others: of two classes the log odds.

        It does not change where all scores do by the same amount, which changes no probability either.
        """
        count = len(self.scores)
        if count == 1:
            return self.scores[0]
        return (count * self.scores[self.chosen] - self.scores.sum()) / (count - 1)

    def probability(self) -> float:
        """Of the chosen one among the others; of a single one its logistic function."""
        scores = np.asarray(self.scores, np.float64)
        scores = np.array([scores[0], 0.0]) if len(scores) == 1 else scores
        shares = np.exp(scores - scores.max())
        return float(shares[self.chosen] / shares.sum())


def words_of(texts: Mapping[str, str]) -> list[Word]:
    """The words of texts by column."""
    return [
        Word(column=column, start=start, end=end) for column, text in texts.items() for start, end in split_words(text)
    ]


def traced(words: Sequence[Word], rows: Sequence[Sequence[Span | None]]) -> Traced:
    """The tokens of words, from the characters that each token was made of.

    Args:
        words: in order within each column, none overlapping.
        rows: for each token of each row its characters; None for a special token or a mark. A token of several words
            is theirs by the share of its characters; one of white space alone is no word's.
    """
    places = WordPlaces(words)
    return of_shares(words, [[{} if span is None else places.within(*span) for span in spans] for spans in rows])


class WordPlaces:
    """Finds words by their characters."""

    def __init__(self, words: Sequence[Word]) -> None:
        """Args: words: in order within each column, none overlapping."""
        self.words = words
        self.numbers: dict[str, list[int]] = {}
        for number, word in enumerate(words):
            self.numbers.setdefault(word.column, []).append(number)
        self.ends = {column: [words[i].end for i in numbers] for column, numbers in self.numbers.items()}

    def within(self, column: str, start: int, end: int) -> dict[int, float]:
        """The words of which some characters are among these, by number, and how many."""
        found: dict[int, float] = {}
        numbers = self.numbers.get(column, [])
        for number in numbers[bisect_left(self.ends.get(column, []), start + 1) :]:
            common = min(self.words[number].end, end) - max(self.words[number].start, start)
            if common <= 0:
                break
            found[number] = float(common)
        return found


def of_shares(words: Sequence[Word], rows: Sequence[Sequence[Mapping[int, float]]]) -> Traced:
    """The tokens of words, where for each token of each row the weights of its words are known."""
    from scipy import sparse

    found = []
    for tokens in rows:
        places = [(i, word, weight / sum(own.values())) for i, own in enumerate(tokens) for word, weight in own.items()]
        at = tuple(np.array([place[axis] for place in places], np.int64) for axis in (0, 1))
        values = np.array([place[2] for place in places], np.float64)
        found.append(sparse.csr_matrix((values, at), (len(tokens), len(words))))
    return Traced(words=words, rows=found)


def text_without(example: Example, words: Sequence[Word], erased: np.ndarray) -> dict[str, Any]:
    """The inputs of an example from whose texts some words are deleted.

    Args:
        example: the example.
        words: of it, in order within each column.
        erased: bool `[words]`.
    """
    inputs = dict(example.inputs)
    for column in dict.fromkeys(word.column for word in words):
        text, kept, at = str(inputs[column]), "", 0
        for word in (word for word, gone in zip(words, erased, strict=True) if gone and word.column == column):
            kept += text[at : word.start]
            at = word.end
        inputs[column] = kept + text[at:]
    return inputs


def index_of(wanted: str, names: Sequence[str], what: str) -> int:
    """The place of a name that was asked for. Raises DataError with the similar ones."""
    if wanted not in names:
        raise DataError(f"{what} {wanted!r} is not there: {did_you_mean(wanted, names)}")
    return list(names).index(wanted)
