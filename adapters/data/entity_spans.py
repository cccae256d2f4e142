"""Entities as spans of a text, in the forms that annotation tools write, and the words that they are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from adapters.core.errors import Faults, SettingsError
from adapters.data.columns import bare_name
from adapters.data.rows import Row
from adapters.data.tag_schemes import OUTSIDE, Span

STRICT, SNAP, DROP = "strict", "snap", "drop"
EXCLUSIVE, INCLUSIVE = "exclusive", "inclusive"
CHARACTERS, UTF16, BYTES = "characters", "UTF-16 units", "bytes"

CUT_ADVICE = (
    "An entity must begin and end with a word: --spans snap extends it to whole words, --spans drop leaves it out "
    "(both are counted). Where entities are marked by character, as in Chinese: --by_character."
)
SHORT_ADVICE = "If every entity seems to lack its last character, ends are inclusive: --span_ends inclusive."
OVERLAP_ADVICE = "Of overlapping entities, --spans snap and --spans drop keep the longer one (counted)."
WORDLESS_ADVICE = "--spans drop leaves out entities without a word (counted)."

# Keys in lower case, without marks; the likeliest first.
_STARTS = (
    "start",
    "startoffset",
    "begin",
    "beginoffset",
    "from",
    "startchar",
    "charstart",
    "startidx",
    "startindex",
    "startpos",
    "startposition",
    "offset",
)
_ENDS = ("end", "endoffset", "to", "stop", "endchar", "charend", "endidx", "endindex", "endpos", "endposition")
_LABELS = (
    "label",
    "labels",
    "type",
    "entitytype",
    "entitylabel",
    "entitygroup",
    "tag",
    "class",
    "category",
    "entity",
    "nertag",
    "labelname",
)
_TEXTS = ("text", "mention", "surface", "surfaceform", "entitytext", "spantext", "matchtext", "matchedtext")
_LISTS = ("entities", "spans", "ents", "annotations")
_ENOUGH = 1000
"""Spans without a text of their own after which none is expected."""


@dataclass(frozen=True, kw_only=True)
class SpanRules:
    """What is done with spans that do not fit the words of their text.

    Attributes:
        spans: `strict` refuses a span that cuts a word, and spans that overlap; `snap` extends the first to whole
            words, `drop` leaves it out, and both keep the longer one of two that overlap.
        ends: whether a span's end is `exclusive` or `inclusive`; None: exclusive, unless the texts of a form whose ends
            are usually inclusive show them so.
        names: names of labels that are numbers.
        characters: each character of a raw text is a word.
    """

    spans: str = STRICT
    ends: str | None = None
    names: tuple[str, ...] = ()
    characters: bool = False

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        for flag, value, known in (
            ("spans", self.spans, (STRICT, SNAP, DROP)),
            ("span_ends", self.usual_ends, (EXCLUSIVE, INCLUSIVE)),
        ):
            if value not in known:
                raise SettingsError(f"--{flag} {value}: must be {' or '.join(known)}.")

    @property
    def usual_ends(self) -> str:
        """`ends`, without the data."""
        return EXCLUSIVE if self.ends is None else self.ends


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How the offsets of a data set are counted."""

    unit: str = CHARACTERS
    ends: str = EXCLUSIVE

    def in_characters(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Start and exclusive end in characters; None where they are outside the text, or within a character."""
        end += self.ends == INCLUSIVE
        if self.unit == CHARACTERS or text.isascii():
            return start, end
        if not 0 <= start <= end:
            return None
        encoding = "utf-16-le" if self.unit == UTF16 else "utf-8"
        size = 2 if self.unit == UTF16 else 1
        raw = text.encode(encoding, "surrogatepass")
        try:
            before = raw[: start * size].decode(encoding, "surrogatepass")
            inside = raw[start * size : end * size].decode(encoding, "surrogatepass")
        except UnicodeDecodeError:
            return None
        return len(before), len(before) + len(inside) if end * size <= len(raw) else len(text) + 1


@dataclass(frozen=True, kw_only=True)
class GivenSpan:
    """An entity as it was annotated; `own`: its own text, where it has one."""

    start: int
    end: int
    label: str
    own: str | None = None
    inclusive: bool = False
    """Its form is one whose ends are usually inclusive."""

    def agrees(self, text: str, counting: Counting) -> bool:
        """Whether its own text, if there is one, is where it says; white space may differ."""
        if self.own is None:
            return True
        place = counting.in_characters(text, self.start, self.end)
        if place is None or not 0 <= place[0] <= place[1] <= len(text):
            return False
        return text[slice(*place)].split() == self.own.split()


def given_spans(cell: Any, names: Sequence[str] = ()) -> Iterator[GivenSpan | str]:
    """The entities in a cell, in any known form; of what is none, the reason.

    Lists of `{start, end, label}` under these or similar names, or of `[start, end, label]`; a dict with such a list;
    or `{label: {text: [[start, end]]}}` as CLUENER has it.
    """
    if isinstance(cell, dict):
        inner = next((cell[name] for name in _LISTS if isinstance(cell.get(name), list)), None)
        if inner is not None:
            yield from given_spans(inner, names)
            return
        for label, places in cell.items():
            yield from _typed(label, places)
        return
    for item in cell:
        yield from _of_item(item, names)


def in_characters_of(
    given: Iterable[GivenSpan | str], offsets: Sequence[tuple[int, int]], ends: str
) -> Iterator[GivenSpan | str]:
    """Spans that count words, as spans of the characters of these."""
    for span in given:
        if isinstance(span, str):
            yield span
            continue
        last = span.end if ends == INCLUSIVE else span.end - 1
        if 0 <= span.start <= last < len(offsets):
            end = offsets[last][1] - (ends == INCLUSIVE)
            yield replace(span, start=offsets[span.start][0], end=end)
        else:
            yield f"entity {span.label} {span.start}:{span.end} has no word among the {len(offsets)}"


def is_spans(cell: Any) -> bool | None:
    """Whether a cell contains spans rather than tags; None where it is empty."""
    if isinstance(cell, dict):
        return True
    if not isinstance(cell, list | tuple) or not len(cell):
        return None
    return isinstance(cell[0], dict | list | tuple)


def _typed(label: str, places: Any) -> Iterator[GivenSpan | str]:
    """`{text: [[start, end]]}` or `[[start, end]]` of one label."""
    by_text = places if isinstance(places, dict) else {None: places}
    for own, pairs in by_text.items():
        if not isinstance(pairs, list):
            yield f"{{{label!r}: …}} must have lists of [start, end], found {repr(pairs)[:60]}"
            continue
        for pair in pairs:
            if isinstance(pair, list) and len(pair) == 2 and all(type(place) is int for place in pair):
                yield GivenSpan(start=pair[0], end=pair[1], label=label, own=own, inclusive=own is not None)
            else:
                yield f"an entity of {label!r} must be [start, end], found {repr(pair)[:60]}"


def _of_item(item: Any, names: Sequence[str]) -> Iterator[GivenSpan | str]:
    """The entity of a dict or a list; several of Dataturks' `{label, points: […]}`."""
    wrong = f"an entity must be {{start, end, label}}, found {repr(item)[:60]}"
    own: Any = None
    if isinstance(item, dict):
        keys = {bare_name(str(key)): value for key, value in item.items()}
        if isinstance(keys.get("points"), list):
            for point in keys["points"]:
                for found in _of_item(
                    {**point, "label": item.get("label")} if isinstance(point, dict) else point, names
                ):
                    yield found if isinstance(found, str) else replace(found, inclusive=True)
            return
        label_key = next((key for key in _LABELS if keys.get(key) is not None), "")
        start, end, label = _first(keys, _STARTS), _first(keys, _ENDS), keys.get(label_key)
        if end is None and type(start) is int and type(keys.get("length")) is int:
            end = start + keys["length"]
        own = _first(keys, _TEXTS)
    elif isinstance(item, list | tuple) and len(item) == 3:
        start, end, label = item if not isinstance(item[0], str) else (item[1], item[2], item[0])
    else:
        yield wrong
        return
    if isinstance(label, list):
        if len(label) > 1:
            yield f"an entity must have one label, found {repr(label)[:60]}"
            return
        label = label[0] if label else None
    if type(label) is int:
        if not 0 <= label < len(names):
            known = f"--label_names has {len(names)} names" if names else "a number: name the labels with --label_names"
            yield f"the label of an entity is {label}, {known}"
            return
        label = names[label]
    if type(start) is int and type(end) is int and isinstance(label, str):
        yield GivenSpan(start=start, end=end, label=label.strip(), own=own if isinstance(own, str) else None)
    else:
        yield wrong


def _first(keys: dict[str, Any], usual: Iterable[str]) -> Any:
    return next((keys[key] for key in usual if keys.get(key) is not None), None)


def find_counting(
    texts: Callable[[], Iterable[tuple[str, Iterable[GivenSpan | str]]]], rules: SpanRules
) -> tuple[Counting, str]:
    """How offsets are counted, and what else would explain them where they disagree with the spans' own texts.

    They are characters, unless all own texts of the data set agree with UTF-16 units or with bytes instead. Inclusive
    ends that were not asked for are only taken of forms in which they are usual; else they are named in the advice.

    Args:
        texts: returns all texts with their spans, each time from the beginning.
        rules: of the user.
    """
    usual = Counting(ends=rules.usual_ends)
    without = of_form = own = 0
    agreed = True
    for text, found in texts():
        for span in found:
            if isinstance(span, str):
                continue
            without += span.own is None
            own += span.own is not None
            of_form += span.own is not None and span.inclusive
            agreed = agreed and span.agrees(text, usual)
        if not own and without > _ENOUGH:
            break
    if agreed:
        return usual, ""
    other = INCLUSIVE if usual.ends == EXCLUSIVE else EXCLUSIVE
    candidates = [Counting(unit=unit, ends=end) for end in (usual.ends, other) for unit in (CHARACTERS, UTF16, BYTES)]
    for text, found in texts():
        for span in found:
            if not isinstance(span, str):
                candidates = [counting for counting in candidates if span.agrees(text, counting)]
    if candidates and (candidates[0].ends == usual.ends or (rules.ends is None and of_form == own)):
        return candidates[0], ""
    if candidates:
        last = "the last one of the entity" if other == INCLUSIVE else "the one after the entity"
        return usual, (
            f"All entities agree with their own texts if ends are {other}, the character at an end being {last}: "
            f"add --span_ends {other}"
        )
    return usual, "Their offsets are of another text: export text and offsets together again."


def words_of(
    row: Row,
    text: str,
    offsets: Sequence[tuple[int, int]],
    given: Iterable[GivenSpan | str],
    rules: SpanRules,
    counting: Counting,
    advice: str,
    faults: Faults,
) -> list[Span]:
    """The entities of a text as spans of words, in order, without overlap; faults and notes are added to `faults`.

    Args:
        row: for the places of faults; its items are the spans.
        text: the text.
        offsets: of its words.
        given: the spans as annotated.
        rules: of the user.
        counting: of the offsets.
        advice: where a span disagrees with its own text.
        faults: collects what is wrong, and counts what was changed.
    """
    found: list[Span] = []
    for number, span in enumerate(given):
        where = row.where(number)
        if isinstance(span, str):
            faults.add(where, span, advice)
            continue
        place = counting.in_characters(text, span.start, span.end)
        start, end = place or (span.start, len(text) + 1)
        shown = text[max(start, 0) : end]
        what = f"entity {span.label} {span.start}:{span.end} ({shown!r})"
        if not span.agrees(text, counting):
            inside = place is not None and 0 <= start <= end <= len(text)
            problem = f"is {shown!r} in the text" if inside else f"is outside the text of {len(text)} characters"
            faults.add(where, f"entity {span.label} {span.start}:{span.end} {problem}, not {span.own!r}", advice)
        elif not 0 <= start < end <= len(text):
            faults.add(where, f"{what} is outside the text of {len(text)} characters")
        elif span.label == OUTSIDE or not span.label:
            faults.add(where, f"{what} has no usable label")
        else:
            if counting.unit != CHARACTERS and not text.isascii():
                faults.note(f"spans counted in {counting.unit}, converted")
            if counting.ends != rules.usual_ends:
                faults.note(f"spans read with {counting.ends} ends, as their own texts show")
            words = _words(where, text, offsets, (start, end), what, rules, faults)
            if words is not None and (span.label, *words) in found:
                faults.note("spans given twice, read once")
            elif words is not None:
                found.append((span.label, *words))
    return _apart(row, sorted(found, key=lambda one: one[1]), offsets, rules, faults)


def _words(
    where: str,
    text: str,
    offsets: Sequence[tuple[int, int]],
    place: tuple[int, int],
    what: str,
    rules: SpanRules,
    faults: Faults,
) -> tuple[int, int] | None:
    """The first word of a span, and one past its last word; white space at its ends is trimmed."""
    start, end = place
    begin = bisect_right(offsets, start, key=lambda word: word[1])
    after = bisect_left(offsets, end, key=lambda word: word[0])
    if begin >= after:
        if rules.spans == DROP:
            faults.note("spans without a word left out")
        else:
            faults.add(where, f"{what} contains no word", WORDLESS_ADVICE)
        return None
    first, last = offsets[begin], offsets[after - 1]
    if start > first[0] or end < last[1]:
        if rules.spans == STRICT:
            around = text[first[0] : last[1]]
            short = start <= first[0] and end + 1 == last[1]
            advice = f"{CUT_ADVICE} {SHORT_ADVICE}" if short else CUT_ADVICE
            faults.add(where, f"{what} cuts a word: {around!r} (correct its start or end)", advice)
            return None
        done = "extended to whole words" if rules.spans == SNAP else "left out"
        faults.note(f"spans cutting a word, {done}")
        if rules.spans == DROP:
            return None
    if start < first[0] or end > last[1]:
        faults.note("spans with blanks at an end, trimmed")
    return begin, after


def _apart(
    row: Row, found: list[Span], offsets: Sequence[tuple[int, int]], rules: SpanRules, faults: Faults
) -> list[Span]:
    """The spans if none overlap, else the longer ones; a fault where overlaps are refused."""
    if rules.spans == STRICT:
        for (kind, begin, end), (other, next_begin, _) in pairwise(found):
            if next_begin < end:
                what = f"entities overlap: {kind} at word {begin} and {other} at word {next_begin}"
                faults.add(row.where(), what, OVERLAP_ADVICE)
                return []
        return found
    kept: list[Span] = []
    for span in sorted(found, key=lambda one: offsets[one[1]][0] - offsets[one[2] - 1][1]):  # the longest first
        if any(one[1] < span[2] and span[1] < one[2] for one in kept):
            faults.note("spans overlapping a longer one left out")
        else:
            kept.append(span)
    return sorted(kept, key=lambda one: one[1])
