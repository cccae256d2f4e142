"""Files of items, events and test cases, with what was understood of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from typing import Any

import numpy as np

from adapters.applications.recommendation.catalogue import Catalogue, Item
from adapters.applications.recommendation.events import Case, Events
from adapters.core.errors import DataError, Faults, numbered, verb
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row
from adapters.data.times import seconds_since_1970

ITEMS = ("item_id", "item", "itemid", "product_id", "movie_id", "movieid", "asin", "sku", "article_id", "news_id", "id")
USERS = ("user_id", "user", "userid", "customer_id", "reviewer_id", "reviewerid")
TIMES = ("time", "timestamp", "unixreviewtime", "date", "at")
KINDS = ("kind", "event", "event_type", "action")
RATINGS = ("rating", "stars", "score", "overall")
TITLES = ("title", "name", "headline")
BODIES = ("description", "overview", "abstract", "summary", "text")
TAGS = ("tags", "genres", "categories", "category")
PRICES = ("price",)
PUBLISHED = ("published", "published_at", "release_date", "date", "year")
LONGEST = 20_000
"""Characters of a text that are kept."""
LONGEST_NAME = 200
MOST_UNKNOWN = 0.5
"""Share of events of unknown items above which the files are taken for those of different catalogues."""


def read_items(settings: Any) -> tuple[Catalogue, list[str]]:
    """The items, and what was understood, in lines. Raises DataError with every fault at `file:line`."""
    source = open_file(settings.items_file, encoding=settings.encoding, flag="--items_file")
    named = {
        "item": settings.item_column_name,
        "price": settings.price_column_name,
        "published": settings.published_column_name,
        "slice": settings.slice_column_name,
        "text": settings.text_column_names or None,
        "tags": settings.tags_column_names or None,
    }
    roles, faults = ColumnRoles(source, named), Faults(source.name)
    id = roles.find("item", ITEMS, what="ids of items")
    texts = settings.text_column_names or [*roles.matching(TITLES)[:1], *roles.matching(BODIES)[:1]]
    if not texts:
        known = ", ".join((*TITLES, *BODIES))
        raise DataError(
            f"{source.name}: no column of texts with a usual name ({known}). Columns found: "
            f"{', '.join(source.columns)}. Name some with --text_column_names."
        )
    roles.use("text", *texts)
    tags = settings.tags_column_names or roles.matching(TAGS)
    if tags:
        roles.use("tags", *tags)
    facts = {"price": PRICES, "published": PUBLISHED, "slice": ()}
    others = {name: roles.look(name, usual) for name, usual in facts.items()}
    found: dict[str, Item] = {}
    for row in source.rows(faults):
        item = _item(row, id, texts, tags, others, faults)
        if item is None:
            continue
        before = found.setdefault(item.id, item)
        if before is not item and before == item:
            faults.note("items given twice, alike, read once")
        elif before is not item:
            faults.add(row.where(), f"another item of the id {item.id!r:.60}", "Give each item one row.")
        elif not item.text:
            faults.note("items without a text: nothing but their events can recommend them")
    faults.raise_if_any()
    if not found:
        raise DataError(f"{source.name}: no item. Give a row with an id and a text for each.")
    catalogue = Catalogue(found.values())
    return catalogue, _lines(roles, faults, len(catalogue), "items")


def _item(
    row: Row, id: str, texts: list[str], tags: list[str], others: Mapping[str, str | None], faults: Faults
) -> Item | None:
    """An item of a row; None where it has a fault."""
    name = _cell(row, id)
    if not name or len(name) > LONGEST_NAME:
        what = f"an id of more than {LONGEST_NAME} characters" if name else "an item without an id"
        faults.add(row.where(), what, "Give each item an id, or remove the row.")
        return None
    cost = _parsed(row, others["price"], lambda value: float(str(value).strip().lstrip("$€£")))
    since = _parsed(row, others["published"], lambda value: seconds_since_1970(f"{value}", UTC))  # four digits: a year
    if cost is not None and not (math.isfinite(cost) and cost >= 0):
        cost = math.nan
    for what, value in (("price", cost), ("date", since)):
        if value is not None and math.isnan(value):
            faults.note(f"{what}s that cannot be read, taken as unknown")
    parts = [text for column in texts if (text := _text(row.values.get(column)))]
    return Item(
        id=name,
        text=" ".join(parts)[:LONGEST],
        title=parts[0][:LONGEST_NAME] if parts else "",
        tags=tuple(dict.fromkeys(tag for column in tags for tag in _tags(row.values.get(column)))),
        price=None if cost is None or math.isnan(cost) else cost,
        published=None if since is None or math.isnan(since) else since,
        slice=_cell(row, others["slice"]) if others["slice"] is not None else "",
    )


def read_events(settings: Any, catalogue: Catalogue) -> tuple[Events, list[str]]:
    """The events of items of a catalogue, and what was understood. Raises DataError with every fault."""
    source = open_file(settings.events_file, encoding=settings.encoding, flag="--events_file")
    names = ("user", "item", "time", "kind", "rating")
    roles = ColumnRoles(source, {name: getattr(settings, f"{name}_column_name") for name in names})
    faults = Faults(source.name)
    user = roles.find("user", USERS, what="users")
    item = roles.find("item", ITEMS, what="ids of items")
    time = roles.find("time", TIMES, what="times")
    kind, rating = roles.look("kind", KINDS), roles.look("rating", RATINGS)
    if settings.signal_kinds and kind is None:
        raise DataError(f"{source.name}: --signal_kinds needs a column of kinds ({', '.join(KINDS)}).")
    if settings.min_rating is not None and rating is None:
        raise DataError(f"{source.name}: --min_rating needs a column of ratings ({', '.join(RATINGS)}).")
    rows: dict[tuple[str, int, float, bool], None] = {}
    kinds: dict[str, None] = {}
    count = unknown = late = 0
    latest = -math.inf
    example = ""
    for row in source.rows(faults):
        count += 1
        who, what = _cell(row, user), _cell(row, item)
        if not who or not what:
            faults.add(row.where(), "an event without user or item", "Complete it, or remove the row.")
            continue
        try:
            at = seconds_since_1970(row.values.get(time), UTC)
        except ValueError as error:
            faults.add(row.where(), str(error), f"Times are in the column {time}.")
            continue
        liked = True
        if kind is not None:
            name = _cell(row, kind) or ""
            kinds[name] = None
            liked = not settings.signal_kinds or name in settings.signal_kinds
        if rating is not None and settings.min_rating is not None:
            stars = _parsed(row, rating, lambda value: float(value))
            if stars is None or not math.isfinite(stars):
                faults.add(row.where(), "a rating that is no number", "Complete it, or leave --min_rating out.")
                continue
            liked = liked and stars >= settings.min_rating
        number = catalogue.number.get(what)
        if number is None:
            unknown += 1
            example = example or f"{row.where()}: {what!r:.60}"
            continue
        late += at < latest
        latest = max(latest, at)
        if (who[:LONGEST_NAME], number, at, liked) in rows:
            faults.note("events given twice, read once")
        rows[who[:LONGEST_NAME], number, at, liked] = None
    faults.raise_if_any()
    if count and unknown > MOST_UNKNOWN * count:
        raise DataError(
            f"{source.name}: {unknown:,} of {numbered(count, 'events')} {verb(unknown, 'are')} of items that "
            f"{settings.items_file} does not have ({example}). "
            f"Give the file of the same catalogue, or name the column of the ids (--item_column_name)."
        )
    if unknown:
        faults.note(f"events of unknown items left out (the first: {example})", unknown)
    if late:
        faults.note("events not in order of time, sorted", late)
    missing = [name for name in settings.signal_kinds if name not in kinds]
    if missing:
        raise DataError(f"--signal_kinds {missing[0]}: no event has this kind. Kinds found: {', '.join(kinds)}.")
    if not any(liked for _, _, _, liked in rows):
        raise DataError(f"{source.name}: no event is a like. Lower --min_rating, or give events.")
    events = Events.of(rows, kinds)
    lines = _lines(roles, faults, len(events), "events")
    events, left = events.last_of_each(settings.max_events_per_user)
    if left:
        lines.append(f"{numbered(left, 'events')} left out, of users with more than {settings.max_events_per_user:,}")
    users, likes = numbered(len(events.names), "users"), int(events.liked.sum())
    return events, [*lines, f"{users}; {likes:,} of the events {verb(likes, 'are')} liked"]


def read_cases(path: str, settings: Any, catalogue: Catalogue, events: Events) -> tuple[list[Case], list[str]]:
    """The cases of a test file, and what was understood. Raises DataError with every fault."""
    source = open_file(path, encoding=settings.encoding, flag="--test_file")
    faults = Faults(source.name)
    known = {name: number for number, name in enumerate(events.names)}
    at = float(events.times[-1]) if len(events) else 0.0
    advice = 'A case is {"user": …, "history": […], "target": …}, and candidates.'
    found = []
    for row in source.rows(faults):
        user, lists, goal = _cell(row, "user")[:LONGEST_NAME], {}, _cell(row, "target")
        for name in ("history", "candidates"):
            value = row.values.get(name)
            lists[name] = value if isinstance(value, list | tuple) else () if value is None else None
        wrong = [f"{name} that is no list" for name, value in lists.items() if value is None]
        wrong += [f"a case without a {name}" for name, value in (("user", user), ("target", goal)) if not value]
        ids = [goal, *(_text(id) for value in lists.values() for id in value or ())]
        wrong = wrong or [f"no item {id!r:.60}" for id in dict.fromkeys(ids) if id not in catalogue.number][:1]
        if wrong:
            faults.add(row.where(), wrong[0], advice)
            continue
        target = catalogue.number[goal]
        numbers = {name: tuple(catalogue.number[_text(id)] for id in value or ()) for name, value in lists.items()}
        places = events.of_user.get(known.get(user, -1), np.zeros(0, np.int64))
        if target in numbers["history"]:
            faults.note("targets that the history has already")
        elif (events.items[places] == target).any():
            what = "a target that --events_file has of this user already: it would be learned from"
            faults.add(row.where(), what, "Remove that event, or the case.")
            continue
        candidates = (*dict.fromkeys((*numbers["candidates"], target)),) if numbers["candidates"] else None
        found.append(
            Case(
                user=user,
                at=at,
                history=tuple(dict.fromkeys(numbers["history"])),
                seen=frozenset(numbers["history"]) - {target},
                targets=(target,),
                new=user not in known,
                candidates=candidates,
            )
        )
    faults.raise_if_any()
    if not found:
        raise DataError(f"{path}: no case. Give lines with user, history and target.")
    users = len({case.user for case in found})
    notes = [numbered(times, said) for said, times in faults.notes.items()]
    return found, [f"{source.name}: {numbered(len(found), 'cases')} of {numbered(users, 'users')}", *notes]


def _lines(roles: ColumnRoles, faults: Faults, count: int, what: str) -> list[str]:
    """What was understood of a file."""
    record = roles.record()
    columns = ", ".join(f"{role} from {', '.join(names)}" for role, names in record["columns"].items())
    unused = f"; unused: {', '.join(record['unused'])}" if record["unused"] else ""
    first = f"{roles.source.name}: {count:,} {what} ({record['format']}): {columns}{unused}"
    return [first, *record["notes"], *(numbered(times, said) for said, times in faults.notes.items())]


def _cell(row: Row, column: str) -> str:
    value = row.values.get(column)
    return "" if value is None else _text(value)


def _text(value: object) -> str:
    """A text on one line that can be written as UTF-8."""
    return " ".join(str(value).encode("utf-8", "replace").decode().split()) if value is not None else ""


def _parsed(row: Row, column: str | None, parse: Callable[[Any], float]) -> float | None:
    """A number of a row; None where there is none, nan where it cannot be read."""
    value = None if column is None else row.values.get(column)
    if value is None or value == "":
        return None
    try:
        return parse(value)
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _tags(value: object) -> Iterator[str]:
    """Tags of a cell: a list, or a text with | or , between them."""
    if isinstance(value, list | tuple):
        parts = [_text(one) for one in value]
    else:
        text = _text(value)
        parts = text.split("|" if "|" in text else ",")
    yield from (part.strip() for part in parts if part.strip())
