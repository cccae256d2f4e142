"""Two entities of a text between marks of punctuation, and the window of tokens in which a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

Signs = tuple[tuple[str, str], tuple[str, str]]
SIGNS: Signs = (("@", "*"), ("#", "^"))
"""Of the head and of the tail: the mark, and what encloses the type (Zhou & Chen 2022, arXiv:2102.01373)."""
WORDS: Signs = (("headmark", "headtype"), ("tailmark", "tailtype"))
"""The same for methods that read words only."""
NO_WORD = "…"
"""What an entity is whose words were all deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A text with marks.

    Attributes:
        text: with the marks, each apart from the words by a blank.
        opening: the character of the head's opening mark, and of the tail's.
        closing: the character of the head's closing mark, and of the tail's.
        places: parts of the text without marks: where each begins here, where there, and its length.
    """

    text: str
    opening: tuple[int, int]
    closing: tuple[int, int]
    places: tuple[tuple[int, int, int], ...] = ()

    def unmarked(self, start: int, end: int) -> tuple[int, int] | None:
        """Characters of the text without marks; None of what has none of them."""
        for here, there, length in self.places:
            first, last = max(start, here), min(end, here + length)
            if first < last:
                return first - here + there, last - here + there
        return None


def marked(
    text: str, head: tuple[int, int, str | None], tail: tuple[int, int, str | None], signs: Signs = SIGNS
) -> Marked:
    """A text with marks around two entities, which may lie within one another.

    Args:
        text: the text.
        head: start, end (exclusive) and type of the first entity; without a type its mark is plain.
        tail: the same of the second one.
        signs: what the marks are.
    """
    marks = []
    for side, (start, end, kind) in enumerate((head, tail)):
        sign, around = signs[side]
        name = f" {around} {kind.replace('_', ' ').lower()} {around}" if kind else ""
        marks.append((start, 1, -end, side, f"{sign}{name} "))  # at one place, what closes comes first, then the longer
        marks.append((end, 0, -start, side, f" {sign}"))
    out, at = "", 0
    opening, closing = [0, 0], [0, 0]
    places = []
    for place, opens, _, side, sign in sorted(marks):
        places.append((len(out), at, place - at))
        out += text[at:place]
        at = place
        if opens:
            out += " " if out and not out[-1].isspace() else ""
            opening[side] = len(out)
            out += sign
        else:
            out += sign
            closing[side] = len(out) - 1
            out += " " if place < len(text) and not text[place].isspace() else ""
    places.append((len(out), at, len(text) - at))
    return Marked(
        text=out + text[at:],
        opening=(opening[0], opening[1]),
        closing=(closing[0], closing[1]),
        places=tuple(places),
    )


def without_words(
    text: str, entities: Sequence[tuple[int, int]], gone: Sequence[tuple[int, int]]
) -> tuple[str, list[tuple[int, int]]]:
    """A text from which words are deleted, and where its entities then are, without white space at their ends.

    An entity of which no word is left becomes `NO_WORD`, so that there is still something that the question is about.

    Args:
        text: the text.
        entities: start and end (exclusive) of each, none of them white space alone; they may overlap.
        gone: start and end of each word that is deleted.
    """
    kept = [True] * len(text)
    for start, end in gone:
        kept[start:end] = [False] * (end - start)
    before = [0, *accumulate(map(int, kept))]
    lost = [not any(kept[at] and not text[at].isspace() for at in range(*span)) for span in entities]
    out, at, starts = "", 0, [0] * len(entities)
    for number in sorted(range(len(entities)), key=lambda each: (entities[each][0], -entities[each][1])):
        start = entities[number][0]
        out += "".join(text[i] for i in range(at, start) if kept[i])
        at, starts[number] = start, len(out)
        out += NO_WORD if lost[number] else ""
    out += "".join(text[i] for i in range(at, len(text)) if kept[i])
    places = []
    for start, (_, end) in zip(starts, entities, strict=True):
        added = sum(out for out, (first, _) in zip(lost, entities, strict=True) if first < end)
        last = before[end] + added * len(NO_WORD)
        name = out[start:last]
        places.append((last - len(name.lstrip()), start + len(name.rstrip())))
    return out, places


def window(found: Marked, offsets: Sequence[tuple[int, int]], room: int) -> tuple[Sequence[int], tuple[int, int], bool]:
    """Which tokens a model reads of a text, the places of both opening marks among them, and whether some are cut.

    A text of more than `room` tokens is cut to a window with both entities in its middle. Where these are further
    apart, the first tokens of each are kept, from its opening mark on.

    Args:
        found: the text.
        offsets: (start, end) of the characters of its tokens.
        room: the most tokens; at least 2.
    """
    assert room >= 2, room
    head, tail = (_token_at(offsets, place) for place in found.opening)
    if len(offsets) <= room:
        return range(len(offsets)), (head, tail), False
    first, second = min(head, tail), max(head, tail)
    last = _token_at(offsets, max(found.closing))
    half = room // 2
    if last - first < room or second - first < half:
        free = max(room - (last - first + 1), 0)
        begin = max(min(first - free // 2, len(offsets) - room), 0)
        kept = [*range(begin, begin + room)]
    else:
        kept = [*range(first, first + half), *range(second, min(second + room - half, len(offsets)))]
    return kept, (kept.index(head), kept.index(tail)), True


def _token_at(offsets: Sequence[tuple[int, int]], place: int) -> int:
    """The token of a character."""
    return next(number for number, (start, end) in enumerate(offsets) if start <= place < end)
