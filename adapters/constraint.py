"""What a prompted model may write, as far as a task says it: a stretch of the text, or lines of a name and one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lines:
    """An answer of lines `name: words`, the words a stretch of the text behind that of the line before; or `none`.

    Attributes:
        names: that may begin a line.
        words: of the text, in order, without white space in them.
        between: what stands in front of each word if the one before is in the stretch too: a blank or nothing; None
            where the two are no stretch.
        none: the answer without a line.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    between: tuple[str | None, ...]
    none: str


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """An answer of words that stand side by side in the text; or `none`.

    Attributes:
        words: as in `Lines`.
        between: as in `Lines`.
        none: the answer that is no stretch; empty where there must be one.
    """

    words: tuple[str, ...]
    between: tuple[str | None, ...]
    none: str


def stretch(text: str, offsets: Sequence[tuple[int, int]], none: str) -> Stretch:
    """The constraint of a text whose words have these offsets."""
    found = lines((), text, offsets, none)
    return Stretch(words=found.words, between=found.between, none=none)


def lines(names: Iterable[str], text: str, offsets: Sequence[tuple[int, int]], none: str) -> Lines:
    """The constraint of a text whose words have these offsets; a word with white space in it cannot be named."""
    kept = [(start, end) for start, end in offsets if end > start and not any(map(str.isspace, text[start:end]))]
    ends = [0, *(end for _, end in kept)]
    gaps = [text[before:start] for before, (start, _) in zip(ends, kept, strict=False)]
    between = tuple(None if gap.strip() else " " if gap else "" for gap in gaps)
    return Lines(names=tuple(names), words=tuple(text[start:end] for start, end in kept), between=between, none=none)
