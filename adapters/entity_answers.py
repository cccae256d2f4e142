"""Entities as a prompted model writes them, and back: three formats, and one rule for where in the text they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.errors import SettingsError
from adapters.labels import Span

NONE = "none"
"""The answer for a text without entities, where the format has no empty one of its own."""

_LINE = re.compile(r"\s*(?:[-*•]\s*)?([^:]+?)\s*:\s*(.+?)\s*")
_MARK = re.compile(r"<([^<>/]+)>(.*?)</\1>", re.DOTALL)


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
    the second only by an answer that names Paris twice.

    Args:
        mentions: (type, words) in the order in which the model wrote them.
        text: the text that was asked about.
        offsets: (start, end) of each word in it.

    Returns:
        Spans in the order of the text.
    """
    begins = {start: number for number, (start, _) in enumerate(offsets)}
    ends = {end: number + 1 for number, (_, end) in enumerate(offsets)}
    taken = [False] * len(offsets)
    spans: list[Span] = []
    for kind, words in mentions:
        pattern = r"\s+".join(map(re.escape, words.split()))
        for match in re.finditer(f"(?=({pattern}))", text) if pattern else ():
            begin, end = begins.get(match.start(1)), ends.get(match.end(1))
            if begin is not None and end is not None and not any(taken[begin:end]):
                taken[begin:end] = [True] * (end - begin)
                spans.append((kind, begin, end))
                break
    return sorted(spans, key=lambda span: span[1]), len(spans) == len(mentions)


def _write_lines(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return "\n".join(f"{kind}: {' '.join(text[start:end].split())}" for kind, start, end in entities) or NONE


def _read_lines(written: str, text: str) -> Mentions:
    lines = [line for line in written.splitlines() if line.strip()]
    if [line.strip().lower().rstrip(".") for line in lines] == [NONE]:
        return Mentions(found=[], whole=True)
    matches = [_LINE.fullmatch(line) for line in lines]
    return Mentions(found=[(m[1], m[2]) for m in matches if m], whole=bool(lines) and all(matches))


def _write_json(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    return json.dumps(
        [{"type": kind, "text": text[start:end]} for kind, start, end in entities], ensure_ascii=False
    )  # fmt: skip


def _read_json(written: str, text: str) -> Mentions:
    """A list at the beginning of the answer; what follows it is left over."""
    try:
        value, end = json.JSONDecoder().raw_decode(written.lstrip())
    except (ValueError, RecursionError):
        return Mentions(found=[], whole=False)
    items = value if isinstance(value, list) else []
    found = [
        (item["type"], item["text"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("type"), str) and isinstance(item.get("text"), str)
    ]
    rest = written.lstrip()[end:].strip()
    return Mentions(found=found, whole=isinstance(value, list) and len(found) == len(items) and not rest)


def _write_inline(entities: Sequence[tuple[str, int, int]], text: str) -> str:
    out, at = "", 0
    for kind, start, end in entities:
        out += f"{text[at:start]}<{kind}>{text[start:end]}</{kind}>"
        at = end
    return out + text[at:]


def _read_inline(written: str, text: str) -> Mentions:
    """The text again with marks around its entities; it must be the same text."""
    found = [(match[1], match[2]) for match in _MARK.finditer(written)]
    bare = _MARK.sub(lambda match: match[2], written)
    return Mentions(found=found, whole=bare.split() == text.split())


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way of writing entities.

    Attributes:
        write: (type's name, start, end) of each entity in order, and the text -> the answer.
        read: an answer, and the text -> mentions.
        forbidden: what a type's name may not hold, as a pattern, and in words.
    """

    write: Callable[[Sequence[tuple[str, int, int]], str], str]
    read: Callable[[str, str], Mentions]
    forbidden: tuple[str, str]


FORMATS: Mapping[str, Format] = {
    "lines": Format(
        write=_write_lines,
        read=_read_lines,
        forbidden=(rf"[:\r\n]|^\s|\s$|^[-*•]|^{NONE}\.?$|^$", f"a colon, a line break or the lone word {NONE}"),
    ),
    "json": Format(write=_write_json, read=_read_json, forbidden=("^$", "nothing at all")),
    "inline": Format(write=_write_inline, read=_read_inline, forbidden=(r"[<>/\r\n]|^\s|\s$|^$", "one of < > /")),
}


def check_names(names: Mapping[str, str], format: str, where: str) -> None:
    """Raises SettingsError where a format cannot hold the names of the types, or cannot tell two of them apart.

    Args:
        names: what each type is called.
        format: a name of `FORMATS`.
        where: the prompt's file, for the message.
    """
    pattern, words = FORMATS[format].forbidden
    for kind, name in names.items():
        if re.search(pattern, name, re.IGNORECASE):
            raise SettingsError(
                f"{where}: the answer format {format!r} cannot hold the type {name!r}, which has {words}. "
                f"Give {kind!r} another name under [names], or choose another prompt."
            )
    if len({name.lower() for name in names.values()}) < len(names):
        raise SettingsError(f"{where}: two types have one name: {dict(names)}. Change [names].")
