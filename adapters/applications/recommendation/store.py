"""Events and later items in one SQLite file: acknowledged changes are durable, deleted users are erased.

All changes have a number, in one order. So several servers may use one file: each takes in what the others wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adapters.applications.base.sqlite_file import SqliteFile
from adapters.applications.recommendation.catalogue import Item, item_of

EVENT, ITEM, FORGOTTEN = "event", "item", "forgotten"
SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, user TEXT, item TEXT, time REAL, liked INTEGER,
  vector BLOB, weight REAL);
CREATE INDEX IF NOT EXISTS changes_user ON changes (user) WHERE user IS NOT NULL;
"""
COLUMNS = "kind, user, item, time, liked, vector, weight"


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a user: `liked` is False where the item was only seen. `time` is in seconds since 1970."""

    user: str
    item: str
    time: float
    liked: bool = True


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item that came later, with its vector, float32 `[hidden]`, and its weight."""

    item: Item
    vector: np.ndarray
    weight: float


@dataclass(frozen=True, kw_only=True)
class UserDeletion:
    """The events of the user whose name has this hash are deleted."""

    digest: str


Change = Event | NewItem | UserDeletion


class Store(SqliteFile):
    """A recommender's file."""

    schema = SCHEMA

    def add_events(self, events: Iterable[Event]) -> None:
        """Add events, all or none. When it returns, they are on disk. Raises SessionError."""
        rows = ((EVENT, one.user, one.item, one.time, int(one.liked), None, None) for one in events)
        self._add(lambda: rows)

    def add_items(self, items: Iterable[NewItem]) -> None:
        """Add items, all or none. Raises SessionError."""
        rows = (
            (
                ITEM,
                None,
                json.dumps(asdict(one.item), ensure_ascii=False),
                None,
                None,
                np.asarray(one.vector, "<f4").tobytes(),
                float(one.weight),
            )
            for one in items
        )
        self._add(lambda: rows)

    def forget(self, user: str) -> int:
        """Delete a user's events, and remember by a hash that it was done; how many there were. When it returns, the
        name is in no file. Raises SessionError."""
        deleted: list[int] = []

        def rows() -> Iterator[Sequence[object]]:
            deleted.append(self.connection.execute("DELETE FROM changes WHERE user = ?", [user]).rowcount)
            yield (FORGOTTEN, None, digest_of(user), None, None, None, None)

        self._add(rows)
        self._empty_log()
        return deleted[0]

    def after(self, number: int) -> list[tuple[int, Change]]:
        """(number, change) of all changes after one, in order. Raises SessionError."""
        rows = self._rows(f"SELECT number, {COLUMNS} FROM changes WHERE number > ? ORDER BY number", [number])
        return [(row[0], _change(*row[1:])) for row in rows]

    def _add(self, rows: Callable[[], Iterable[Sequence[object]]]) -> None:
        with self.transaction():
            self.connection.executemany(f"INSERT INTO changes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows())


def digest_of(user: str) -> str:
    """The hash of a user's name."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


def _change(kind: str, user: str, item: str, time: float, liked: int, vector: bytes, weight: float) -> Change:
    if kind == EVENT:
        return Event(user=user, item=item, time=time, liked=bool(liked))
    if kind == FORGOTTEN:
        return UserDeletion(digest=item)
    found: Any = item_of(json.loads(item))
    return NewItem(item=found, vector=np.frombuffer(vector, "<f4"), weight=weight)
