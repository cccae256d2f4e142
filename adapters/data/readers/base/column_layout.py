"""Which column of a column file has the words and which the tags, from what the columns contain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from adapters.data.columns import bare_name
from adapters.data.tag_spellings import ALONE, BARE, PREFIX, SUFFIX, TagSpelling, find_spelling, kind_of_tags, types_of

SAMPLED_LINES = 2000
"""Lines at the beginning of a file from which its layout is taken."""

NO_WORD = re.compile(r"\d+[-.]\d+")
"""Numbers of CoNLL-U's ranges of words (`1-2`) and of words that are not in the text (`1.1`)."""

_NUMBER = re.compile(r"\d+")
_PHRASES = frozenset({"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"})
"""Types of CoNLL-2000's phrases, which CoNLL-2003 has in a column before its entities."""
_WORD_NAMES = frozenset({"word", "words", "token", "tokens", "form", "text", "char", "character"})
_TAG_NAMES = frozenset({"tag", "tags", "label", "labels", "ne", "ner", "nertag", "nertags", "iob", "bio", "entity"})
_OTHER_NAMES = frozenset({"pos", "postag", "upos", "xpos", "lemma", "chunk", "chunktag", "feats", "head", "deprel"})

Lines = Sequence[Sequence[str]]
"""The cells of the lines of a sentence."""


@dataclass(frozen=True, kw_only=True)
class ColumnLayout:
    """The roles of a file's columns, by number.

    Attributes:
        words, tags: the columns of the words and of the tags.
        index: the column that numbers the words of each sentence, if there is one.
        sure: the tags' cells look like tags; else the last column was taken.
        spelling: of the tags.
        seen: the tags in the sample.
        other_tags: columns that contain tags as well.
        phrases: those of them whose tags are of phrases.
    """

    words: int
    tags: int
    index: int | None = None
    sure: bool = False
    spelling: TagSpelling = field(default_factory=TagSpelling)
    seen: frozenset[str] = frozenset()
    other_tags: tuple[int, ...] = ()
    phrases: tuple[int, ...] = ()

    def is_token(self, cells: Sequence[str]) -> bool:
        """Whether a line that begins like a comment is a token: its tag is one, and its number, if it has one."""
        if not self.sure:
            return True
        if self.index is not None and not _NUMBER.fullmatch(cells[self.index]):
            return False
        return cells[self.tags] in self.seen or self.spelling.fits(cells[self.tags])


def find_layout(sentences: Sequence[Lines], width: int) -> ColumnLayout:
    """The layout of a file by a sample of its sentences, whose lines all have `width` cells.

    Tags are in the first column whose tags have types of entities; then, in this order: letters without types, types
    without letters, the last column of nothing but `O`, types of phrases; else in the last column. Words are in the
    first column that neither numbers words nor contains tags, nor has one value alone.
    """
    lines = [line for sentence in sentences for line in sentence]
    columns = [[line[number] for line in lines] for number in range(width)]
    index = next((n for n in range(width) if width > 2 and _numbers_words(sentences, n)), None)
    kinds = [None if n == index else kind_of_tags(column) for n, column in enumerate(columns)]
    phrases = tuple(n for n, kind in enumerate(kinds) if kind == PREFIX and types_of(columns[n]) <= _PHRASES)
    ranks = [
        [n for n, kind in enumerate(kinds) if kind in (PREFIX, SUFFIX) and n not in phrases],
        [n for n, kind in enumerate(kinds) if kind == ALONE],
        [n for n, kind in enumerate(kinds) if kind == BARE],
        [n for n, kind in enumerate(kinds) if kind == "outside"][::-1],
        list(phrases),
    ]
    found = [number for rank in ranks for number in rank]
    if not found or width < 2:
        words = next((n for n in range(width - 1) if n != index), 0)
        return ColumnLayout(words=words, tags=width - 1, index=index)
    tags, *others = found
    # Where half of the words are `O`, they are types without letters among other tags, and words after all.
    marked = [n for n in found if kinds[n] != BARE or n == tags]
    plain = [n for n in range(width) if n not in marked and n != index and not _says_nothing(columns[n], sentences, n)]
    rest = [n for n in range(width) if n not in (tags, index)]
    words = next(iter([*plain, *rest]))
    return ColumnLayout(
        words=words,
        tags=tags,
        index=index,
        sure=True,
        spelling=find_spelling(Counter(columns[tags])),
        seen=frozenset(columns[tags]),
        other_tags=tuple(sorted(n for n in others if n != words)),
        phrases=phrases,
    )


def by_header(layout: ColumnLayout, names: Sequence[str]) -> ColumnLayout:
    """The layout with the words where the header says so, and the tags, if no column contains any."""
    words = next(number for number, name in enumerate(names) if bare_name(name) in _WORD_NAMES)
    tags = next(number for number, name in enumerate(names) if bare_name(name) in _TAG_NAMES)
    return replace(layout, words=words, tags=layout.tags if layout.sure else tags)


def only_known(names: Sequence[str]) -> bool:
    """Whether a header has no name but those usual in column files."""
    return {bare_name(name) for name in names} <= _WORD_NAMES | _TAG_NAMES | _OTHER_NAMES


def is_header(cells: Sequence[str]) -> bool:
    """Whether a line names the columns: one of words, and one of tags."""
    names = set(map(bare_name, cells))
    return bool(names & _WORD_NAMES) and bool(names & _TAG_NAMES)


def _numbers_words(sentences: Sequence[Lines], column: int) -> bool:
    """Whether a column counts the words of nearly every sentence, or of the whole file."""
    counting = up = anew = 0
    for sentence in sentences:
        cells = [line[column] for line in sentence if not NO_WORD.fullmatch(line[column])]
        if not all(map(_NUMBER.fullmatch, cells)):
            return False
        numbers = [int(cell) for cell in cells]
        counting += all(after in (before + 1, min(numbers[0], 1)) for before, after in pairwise(numbers))
        up += sum(after == before + 1 for before, after in pairwise(numbers))
        anew += sum(after <= before for before, after in pairwise(numbers))
    return up > anew and counting >= 0.9 * len(sentences)


def _says_nothing(cells: Sequence[str], sentences: Sequence[Lines], column: int) -> bool:
    """Whether a column has one value, or one number for each sentence (its own)."""
    if len(cells) < 3 or not all(map(_NUMBER.fullmatch, cells)):
        return len(cells) > 2 and len(set(cells)) == 1
    return all(len({line[column] for line in sentence}) <= 1 for sentence in sentences)
