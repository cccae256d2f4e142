"""The answers that a task allows a prompted model: a span of the text, or lines of a name and a span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LinesConstraint:
    """An answer of lines `name: words`, each with a span of the text after that of the line before; or `none`.

    Attributes:
        names: the names that may begin a line.
        words: the text's words in order, without white space in them.
        between: for each word, the text before it in a span that contains the word before it: a space or nothing; None
            if no span contains both.
        none: the answer without a line.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    between: tuple[str | None, ...]
    none: str


@dataclass(frozen=True, kw_only=True)
class SpanConstraint:
    """An answer that is a span of the text; or `none`.

    Attributes:
        words: as in `LinesConstraint`.
        between: as in `LinesConstraint`.
        none: the answer that is no span; empty if there must be one.
    """

    words: tuple[str, ...]
    between: tuple[str | None, ...]
    none: str


def span_constraint(text: str, offsets: Sequence[tuple[int, int]], none: str) -> SpanConstraint:
    """The constraint for a text whose words have these offsets."""
    found = lines_constraint((), text, offsets, none)
    return SpanConstraint(words=found.words, between=found.between, none=none)


def lines_constraint(names: Iterable[str], text: str, offsets: Sequence[tuple[int, int]], none: str) -> LinesConstraint:
    """The constraint for a text whose words have these offsets; words with white space in them are left out."""
    kept = [(start, end) for start, end in offsets if end > start and not any(map(str.isspace, text[start:end]))]
    ends = [0, *(end for _, end in kept)]
    gaps = [text[before:start] for before, (start, _) in zip(ends, kept, strict=False)]
    between = tuple(None if gap.strip() else " " if gap else "" for gap in gaps)
    return LinesConstraint(
        names=tuple(names), words=tuple(text[start:end] for start, end in kept), between=between, none=none
    )
