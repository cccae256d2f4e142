"""Items of news: from a line of JSON, or an object, to id, time, text and source, or to why it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from adapters.core.errors import DataError
from adapters.data.times import seconds_since_1970

TIMES = ("time", "date", "published", "timestamp")
TEXTS = ("text", "headline", "title")
BODIES = ("summary", "body")
SOURCES = ("source", "publisher", "author")
LONGEST = 20_000
"""Characters of a text that are read."""
LONGEST_NAME = 200
"""Characters of an id, a source, a topic, an entity."""


class ItemError(DataError):
    """An item cannot be used. Its message is a reason, the same for the same fault."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One piece of news.

    Attributes:
        id: by which it is known when it comes again.
        at: seconds since 1970, UTC.
        text: title, and what follows it.
        source: who published it; empty where that is not said.
        given: predictions that the row has itself: sentiment, topics, entities.
        where: it was read, as `file:line`.
        input: that it came from.
        together: names what came at once, in no order of time; empty where the order is that of the input.
    """

    id: str
    at: float
    text: str
    source: str
    given: Mapping[str, Any]
    where: str
    input: str = ""
    together: str = ""

    @property
    def digest(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def item_of(given: bytes | Mapping[str, Any], where: str, zone: tzinfo, latest: float) -> Item:
    """An item from a line of JSON or an object.

    Args:
        given: the line, or the object.
        where: it was read.
        zone: of times that name none.
        latest: seconds since 1970; what is later is refused.

    Raises ItemError.
    """
    row = _object(given) if isinstance(given, bytes) else given
    at = _seconds(_first(row, TIMES), zone)
    if at > latest:
        raise ItemError("the time is in the future")
    if at < 0:
        raise ItemError("the time is before 1970")
    text = " ".join(str(row[name]) for name in (_named(row, TEXTS), _named(row, BODIES)) if name is not None)
    text = " ".join(text[:LONGEST].encode("utf-8", "replace").decode().split())
    if not text:
        raise ItemError(f"no text (in {', '.join((*TEXTS, *BODIES))})")
    source = name_of(_first(row, SOURCES) or "")
    id = row.get("id")
    if id is not None and not isinstance(id, str | int):
        raise ItemError("the id is neither a text nor a whole number")
    own = hashlib.sha256(json.dumps([source, at, text]).encode()).hexdigest()[:32]
    if len(str(id)) > LONGEST_NAME:
        raise ItemError(f"the id is longer than {LONGEST_NAME} characters")
    predictions = {name: row[name] for name in ("sentiment", "topics", "entities") if name in row}
    found = own if id in (None, "") else name_of(id)
    return Item(id=found, at=at, text=text, source=source, given=predictions, where=where)


def _object(line: bytes) -> Mapping[str, Any]:
    """The object in a line."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ItemError("not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ItemError("not valid JSON") from error
    if not isinstance(row, Mapping):
        raise ItemError("not a JSON object")
    return row


def _seconds(value: object, zone: tzinfo) -> float:
    """A time in seconds since 1970."""
    if value is None or value == "":
        raise ItemError(f"no time (in {', '.join(TIMES)})")
    try:
        return seconds_since_1970(value, zone)
    except ValueError as error:
        raise ItemError(str(error)) from error


def _named(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the names under which the row has something."""
    return next((name for name in names if row.get(name) not in (None, "")), None)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    name = _named(row, names)
    return None if name is None else row[name]


def name_of(value: object) -> str:
    """A name on one line, of a bounded length, that can be written as UTF-8."""
    return " ".join(str(value).encode("utf-8", "replace").decode().split())[:LONGEST_NAME]
