"""Entities as a prompted model writes them: three formats, and one rule that locates the entities in the text."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.core.errors import SettingsError
from adapters.data.tag_schemes import Span
from adapters.models.tokenizer import valid_text

NONE = "none"
"""The answer for a text without entities, in formats whose answers cannot be empty."""

# A generated answer can be any text, so none of these patterns may backtrack.
_BULLET = re.compile(r"\A[-*•]\s*+")
_MARK = re.compile(r"<(/?)([^<>/]+)>")
_BEGIN = re.compile(r"\s*+\[\s*+(\]?)")
_NEXT = re.compile(r"\s*+([,\]])\s*+")
_WHITE_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """What was read from an answer: (type's name, words) in order; `complete` unless a part could not be read."""

    found: list[tuple[str, str]]
    complete: bool


def locate_mentions(
    mentions: Sequence[tuple[str, str]], text: str, offsets: Sequence[tuple[int, int]]
) -> tuple[list[Span], bool]:
    """The spans of mentions among a text's words, and whether every mention has one.

    The rule: a mention is the first span from the left that begins and ends with a word, reads the same except for the
    amount of white space, and contains no word of an earlier mention. So an answer with one `Paris` means the first of
    `Paris … Paris`, and the second is found only for an answer with two. A lone surrogate is read as U+FFFD, as it is
    in the prompt.

    Args:
        mentions: (type, words) in the order in which the model generated them.
        text: the text of the query.
        offsets: (start, end) of each word in it.

    Returns:
        Spans in the order of the text.
    """
    free, edges = _squeeze(valid_text(text), offsets)
    begins = {start: number for number, (start, _) in enumerate(edges)}
    ends = {end: number + 1 for number, (_, end) in reversed([*enumerate(edges)])}
    starts = sorted(begins)
    tried: dict[str, int] = {}  # where the search for the same words continues: what did not match before never will
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
            # No mention contains a line break, so a span is not found twice.
            free = free[:at] + "\n" * len(wanted) + free[at + len(wanted) :]
    return sorted(spans, key=lambda span: span[1]), len(spans) == len(mentions)


def _squeeze(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """The text with every run of white space as one space, and the words' offsets in it, without spaces at their ends.

    Nothing is left of words that are only white space: their start is after their end.
    """
    out: list[str] = []
    positions: list[int] = []
    for character in text:
        positions.append(len(out))
        if not character.isspace():
            out.append(character)
        elif out and out[-1] != " ":
            out.append(" ")
    positions.append(len(out))
    squeezed = "".join(out)
    edges = [(positions[start], positions[end]) for start, end in offsets]
    return squeezed, [(a + (squeezed[a : a + 1] == " "), b - (squeezed[b - 1 : b] == " ")) for a, b in edges]


def _write_lines(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return "\n".join(f"{kind}: {' '.join(text[start:end].split())}" for kind, start, end in entities) or NONE


def _read_lines(written: str, text: str) -> Mentions:
    lines = [_BULLET.sub("", line.strip(), 1) for line in re.split(r"[\r\n]+", written) if line.strip()]
    if [line.lower().rstrip(".。") for line in lines] == [NONE]:
        return Mentions(found=[], complete=True)
    # A Chinese model writes the full-width colon.
    parts = [[part.strip() for part in line.partition(":" if ":" in line else "：")] for line in lines]
    found = [(kind, words) for kind, _, words in parts if kind and words]
    return Mentions(found=found, complete=0 < len(found) == len(lines))


def _write_json(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return json.dumps([{"type": kind, "text": text[start:end]} for kind, start, end in entities], ensure_ascii=False)


def _read_json(written: str, text: str) -> Mentions:
    """The list at the beginning of the answer, which may be cut short; text after it makes the answer incomplete."""
    begin = _BEGIN.match(written)
    if not begin:
        return Mentions(found=[], complete=False)
    items, at, closed = [], begin.end(), bool(begin[1])
    try:
        while not closed:
            item, at = json.JSONDecoder().raw_decode(written, at)
            items.append(item)
            between = _NEXT.match(written, at)
            if not between:
                break
            at, closed = between.end(), between[1] == "]"
    except (ValueError, RecursionError):  # cut short, not JSON, or nested too deeply
        pass
    found = [
        (item["type"], item["text"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("type"), str) and isinstance(item.get("text"), str)
    ]
    return Mentions(found=found, complete=closed and len(found) == len(items) and not written[at:].strip())


def _write_inline(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    """The text with marks, on one line, since a blank line in it would look like the end of the answer."""
    out, at = "", 0
    for kind, start, end in entities:
        out += f"{_WHITE_SPACE.sub(' ', text[at:start])}<{kind}>{_WHITE_SPACE.sub(' ', text[start:end])}</{kind}>"
        at = end
    return out + _WHITE_SPACE.sub(" ", text[at:])


def _read_inline(written: str, text: str) -> Mentions:
    """The text again with marks around its entities; it must be the same text.

    A mark that is in the text at that very position is part of the text: in a text with tags, a copied tag is no
    entity.
    """
    own = " ".join(valid_text(text).split())
    first, *rest = _MARK.split(valid_text(written))
    bare: list[str] = []
    length = _append(bare, first)
    found: list[tuple[str, str]] = []
    opened: tuple[str, int] | None = None  # type, and the index in `bare` at which its words begin
    paired = True
    for slash, kind, words in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        mark = _WHITE_SPACE.sub(" ", f"<{slash}{kind}>")
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
    return Mentions(found=found, complete=paired and not opened and "".join(bare).rstrip() == own)


def _append(bare: list[str], part: str) -> int:
    """Append a part with single spaces for its white space; returns the number of characters added."""
    part = _WHITE_SPACE.sub(" ", part)
    part = part.removeprefix(" ") if not bare or bare[-1].endswith(" ") else part
    bare += [part] if part else []
    return len(part)


@dataclass(frozen=True, kw_only=True)
class EntityFormat:
    """One way of writing entities.

    Attributes:
        write: (type's name, start, end) of each entity in order, and the text -> the answer.
        read: an answer, and the text -> mentions.
        forbidden: a pattern that no type's name may match, and the rule in words.
    """

    write: Callable[[Sequence[tuple[str, int, int]], str], str]
    read: Callable[[str, str], Mentions]
    forbidden: tuple[str, str]


FORMATS: Mapping[str, EntityFormat] = {
    "lines": EntityFormat(
        write=_write_lines,
        read=_read_lines,
        forbidden=(
            rf"[:\r\n]|^\s|\s$|^[-*•]|^{NONE}[.。]*$|^$",
            f"without a colon, a line break, a leading bullet or white space around it, and not the lone word {NONE}",
        ),
    ),
    "json": EntityFormat(write=_write_json, read=_read_json, forbidden=(r"\A\Z", "non-empty")),
    "inline": EntityFormat(
        write=_write_inline,
        read=_read_inline,
        forbidden=(r"[<>/\r\n]|^\s|\s$|^$", "without < > /, a line break or white space around it, and not empty"),
    ),
}


def check_form(names: Mapping[str, str], format: str, separator: str, where: str) -> None:
    """Raises SettingsError where names are not possible in a format or not distinct, or where the separator is.

    Args:
        names: the name of each type.
        format: a key of `FORMATS`.
        separator: text that ends an answer.
        where: the prompt's file, for the message.
    """
    if separator in FORMATS[format].write([("", 0, 1), ("", 1, 2)], "ab"):
        raise SettingsError(
            f"{where}: the separator {separator!r} occurs inside answers of the format {format!r} and would end them. "
            "Give another separator (a blank line, say)."
        )
    pattern, words = FORMATS[format].forbidden
    for kind, name in names.items():
        if re.search(pattern, name, re.IGNORECASE):
            raise SettingsError(
                f"{where}: the answer format {format!r} cannot express the type {name!r}: a name must be {words}. "
                f"Give {kind!r} another name under [verbalizer], or choose another prompt."
            )
    if len({name.lower() for name in names.values()}) < len(names):
        raise SettingsError(f"{where}: two types have the same name: {dict(names)}. Change [verbalizer].")
