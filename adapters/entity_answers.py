"""Entities as a prompted model writes them, and back: three formats, and one rule for where in the text they stand."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.alignment import valid_text
from adapters.errors import SettingsError
from adapters.labels import Span

NONE = "none"
"""The answer for a text without entities, where the format has no empty one of its own."""

# What a model writes can be anything, so none of these may look back over what it has passed.
_BULLET = re.compile(r"\A[-*•]\s*+")
_MARK = re.compile(r"<(/?)([^<>/]+)>")
_BEGIN = re.compile(r"\s*+\[\s*+(\]?)")
_NEXT = re.compile(r"\s*+([,\]])\s*+")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """What could be read of an answer: (type's name, words) in order; `whole` unless something was left over."""

    found: list[tuple[str, str]]
    whole: bool


def place(
    mentions: Sequence[tuple[str, str]], text: str, offsets: Sequence[tuple[int, int]]
) -> tuple[list[Span], bool]:
    """Where mentions stand among a text's words, and whether each of them stands somewhere.

    The rule: a mention is at the first place from the left that begins and ends with a word, reads the same but for
    the amount of white space, and holds no word of an earlier mention. So of `Paris … Paris` the first is meant, and
    the second only by an answer that names Paris twice. A lone surrogate reads as U+FFFD, as a model is shown it.

    Args:
        mentions: (type, words) in the order in which the model wrote them.
        text: the text that was asked about.
        offsets: (start, end) of each word in it.

    Returns:
        Spans in the order of the text.
    """
    free, edges = _squeeze(valid_text(text), offsets)
    begins = {start: number for number, (start, _) in enumerate(edges)}
    ends = {end: number + 1 for number, (_, end) in reversed([*enumerate(edges)])}
    starts = sorted(begins)
    tried: dict[str, int] = {}  # where the search for the same words goes on: what did not do before never will
    spans: list[Span] = []
    for kind, words in mentions:
        wanted = " ".join(valid_text(words).split())
        at = free.find(wanted, tried.get(wanted, 0)) if wanted else -1
        while at >= 0 and not (at in begins and at + len(wanted) in ends):
            later = bisect_right(starts, at)
            at = free.find(wanted, starts[later]) if later < len(starts) else -1
        tried[wanted] = at if at >= 0 else len(free)
        if at >= 0:
            spans.append((kind, begins[at], ends[at + len(wanted)]))
            # No mention holds a line break, so what is taken is not found again.
            free = free[:at] + "\n" * len(wanted) + free[at + len(wanted) :]
    return sorted(spans, key=lambda span: span[1]), len(spans) == len(mentions)


def _squeeze(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """The text with every run of white space as one blank, and the words' offsets in it, without blanks at their ends.

    Of words that are white space alone nothing is left: their start lies behind their end.
    """
    out: list[str] = []
    places: list[int] = []
    for character in text:
        places.append(len(out))
        if not character.isspace():
            out.append(character)
        elif out and out[-1] != " ":
            out.append(" ")
    places.append(len(out))
    squeezed = "".join(out)
    edges = [(places[start], places[end]) for start, end in offsets]
    return squeezed, [(a + (squeezed[a : a + 1] == " "), b - (squeezed[b - 1 : b] == " ")) for a, b in edges]


def _write_lines(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return "\n".join(f"{kind}: {' '.join(text[start:end].split())}" for kind, start, end in entities) or NONE


def _read_lines(written: str, text: str) -> Mentions:
    lines = [_BULLET.sub("", line.strip(), 1) for line in re.split(r"[\r\n]+", written) if line.strip()]
    if [line.lower().rstrip(".") for line in lines] == [NONE]:
        return Mentions(found=[], whole=True)
    parts = [[part.strip() for part in line.partition(":")] for line in lines]
    found = [(kind, words) for kind, _, words in parts if kind and words]
    return Mentions(found=found, whole=0 < len(found) == len(lines))


def _write_json(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return json.dumps(
        [{"type": kind, "text": text[start:end]} for kind, start, end in entities], ensure_ascii=False
    )  # fmt: skip


def _read_json(written: str, text: str) -> Mentions:
    """A list at the beginning of the answer, or what there is of one that was cut; what follows it is left over."""
    begin = _BEGIN.match(written)
    if not begin:
        return Mentions(found=[], whole=False)
    items, at, closed = [], begin.end(), bool(begin[1])
    try:
        while not closed:
            item, at = json.JSONDecoder().raw_decode(written, at)
            items.append(item)
            between = _NEXT.match(written, at)
            if not between:
                break
            at, closed = between.end(), between[1] == "]"
    except (ValueError, RecursionError):  # cut short, no JSON, or nested without end
        pass
    found = [
        (item["type"], item["text"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("type"), str) and isinstance(item.get("text"), str)
    ]
    return Mentions(found=found, whole=closed and len(found) == len(items) and not written[at:].strip())


def _write_inline(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    """The text with marks, on one line: a blank line in it would look like the end of the answer."""
    out, at = "", 0
    for kind, start, end in entities:
        out += f"{_BLANKS.sub(' ', text[at:start])}<{kind}>{_BLANKS.sub(' ', text[start:end])}</{kind}>"
        at = end
    return out + _BLANKS.sub(" ", text[at:])


def _read_inline(written: str, text: str) -> Mentions:
    """The text again with marks around its entities; it must be the same text.

    What looks like a mark and stands in the text at that very place is the text's own: in a text with tags, nothing is
    taken for an entity that the model has only copied.
    """
    own = " ".join(valid_text(text).split())
    first, *rest = _MARK.split(valid_text(written))
    bare: list[str] = []
    length = _append(bare, first)
    found: list[tuple[str, str]] = []
    opened: tuple[str, int] | None = None  # type, and where in `bare` its words begin
    paired = True
    for slash, kind, words in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        mark = _BLANKS.sub(" ", f"<{slash}{kind}>")
        if own.startswith(mark, length):
            length += _append(bare, mark)
        elif not slash:
            paired = paired and not opened
            opened = kind, len(bare)
        elif opened and opened[0] == kind:
            found.append((kind, "".join(bare[opened[1] :])))
            opened = None
        else:
            paired = False
        length += _append(bare, words)
    return Mentions(found=found, whole=paired and not opened and "".join(bare).rstrip() == own)


def _append(bare: list[str], part: str) -> int:
    """Put text behind text with single blanks, so that it stays one; how much longer it is."""
    part = _BLANKS.sub(" ", part)
    part = part.removeprefix(" ") if not bare or bare[-1].endswith(" ") else part
    bare += [part] if part else []
    return len(part)


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way of writing entities.

    Attributes:
        write: (type's name, start, end) of each entity in order, and the text -> the answer.
        read: an answer, and the text -> mentions.
        forbidden: what a type's name may not hold, as a pattern, and what it must be, in words.
    """

    write: Callable[[Sequence[tuple[str, int, int]], str], str]
    read: Callable[[str, str], Mentions]
    forbidden: tuple[str, str]


FORMATS: Mapping[str, Format] = {
    "lines": Format(
        write=_write_lines,
        read=_read_lines,
        forbidden=(
            rf"[:\r\n]|^\s|\s$|^[-*•]|^{NONE}\.*$|^$",
            f"without a colon, a line break, a bullet in front or white space around it, and not the lone word {NONE}",
        ),
    ),
    "json": Format(write=_write_json, read=_read_json, forbidden=(r"\A\Z", "something")),
    "inline": Format(
        write=_write_inline,
        read=_read_inline,
        forbidden=(r"[<>/\r\n]|^\s|\s$|^$", "without < > /, a line break or white space around it, and not empty"),
    ),
}


def check_form(names: Mapping[str, str], format: str, separator: str, where: str) -> None:
    """Raises SettingsError where a format cannot hold the names of the types, cannot tell two apart, or is cut short.

    Args:
        names: what each type is called.
        format: a name of `FORMATS`.
        separator: text that ends an answer.
        where: the prompt's file, for the message.
    """
    if separator in FORMATS[format].write([("", 0, 1), ("", 1, 2)], "ab"):
        raise SettingsError(
            f"{where}: the separator {separator!r} stands inside an answer of the format {format!r} and would end it. "
            "Give another separator (a blank line, say)."
        )
    pattern, words = FORMATS[format].forbidden
    for kind, name in names.items():
        if re.search(pattern, name, re.IGNORECASE):
            raise SettingsError(
                f"{where}: the answer format {format!r} cannot hold the type {name!r}: a name must be {words}. "
                f"Give {kind!r} another name under [names], or choose another prompt."
            )
    if len({name.lower() for name in names.values()}) < len(names):
        raise SettingsError(f"{where}: two types have one name: {dict(names)}. Change [names].")
