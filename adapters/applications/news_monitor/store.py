"""The state of a monitor in one SQLite file: each batch is written whole, or not at all.

Items, counts, windows, alarms, pending deliveries, the read position of each input, and the state of the detector
change in one transaction, written ahead (WAL) and flushed at its end. So a monitor that was killed continues where it
was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.applications.base.sqlite_file import SqliteFile

COUNTED, COPY, LATE, UNREAD = "counted", "copy", "late", "unread"
"""What became of an item."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
  id TEXT PRIMARY KEY, at REAL NOT NULL, window INTEGER NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL,
  digest TEXT NOT NULL, status TEXT NOT NULL, copy_of TEXT, sketch BLOB, sentiment TEXT);
CREATE INDEX IF NOT EXISTS items_at ON items (at);
CREATE INDEX IF NOT EXISTS items_sketch ON items (at) WHERE sketch IS NOT NULL;
CREATE TABLE IF NOT EXISTS counts (
  window INTEGER NOT NULL, series TEXT NOT NULL, item TEXT NOT NULL, negative INTEGER NOT NULL,
  PRIMARY KEY (window, series, item)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (
  series TEXT NOT NULL, window INTEGER NOT NULL, n INTEGER NOT NULL, k INTEGER NOT NULL, expected REAL NOT NULL,
  low INTEGER NOT NULL, high INTEGER NOT NULL, p REAL NOT NULL, tested INTEGER NOT NULL,
  PRIMARY KEY (series, window)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms (
  id TEXT PRIMARY KEY, series TEXT NOT NULL, open INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
DELIVERED, UNWANTED = 1, 2
"""What became of an event that does not wait any more: it has arrived, or there was no webhook."""
WEBHOOK = "webhook"
"""Name under which is kept that there was one."""
AT_ONCE = 500
"""Names in one query."""


class Store(SqliteFile):
    """A monitor's file."""

    schema = SCHEMA

    # values -----------------------------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """A value that was kept under a name."""
        found = self._rows("SELECT value FROM kept WHERE name = ?", [name])
        return json.loads(found[0][0]) if found else default

    def put(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""
        self.connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", [name, json.dumps(value)])

    def drop(self, names: Iterable[str]) -> None:
        """Keep nothing more under some names."""
        self.connection.executemany("DELETE FROM kept WHERE name = ?", [[name] for name in names])

    # items ------------------------------------------------------------------------------------------------------------

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """Of the items with these ids that are known, the digests of their texts."""
        found: dict[str, str] = {}
        for begin in range(0, len(ids), AT_ONCE):
            part = ids[begin : begin + AT_ONCE]
            marks = ", ".join("?" * len(part))
            found |= dict(self._rows(f"SELECT id, digest FROM items WHERE id IN ({marks})", part))
        return found

    def add_items(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Add items, with a value for each of the table's columns."""
        names = ":id, :at, :window, :source, :text, :digest, :status, :copy_of, :sketch, :sentiment"
        self.connection.executemany(f"INSERT INTO items VALUES ({names})", rows)

    def add_counts(self, rows: Iterable[Sequence[object]]) -> None:
        """Add (window, series, item, negative)."""
        self.connection.executemany("INSERT INTO counts VALUES (?, ?, ?, ?)", rows)

    def sketches(self) -> list[tuple[str, bytes, float]]:
        """(id, sketch, time) of the items that copies are looked for among, in the order in which they came."""
        chosen = "SELECT id, sketch, at FROM items WHERE sketch IS NOT NULL ORDER BY rowid"
        return [tuple(row) for row in self._rows(chosen)]

    def forget(self, sketches: float, items: float, counts: int) -> None:
        """Delete the sketches and items of before these times, and the counts of before this window."""
        self.connection.execute("UPDATE items SET sketch = NULL WHERE at < ? AND sketch IS NOT NULL", [sketches])
        self.connection.execute("DELETE FROM items WHERE at < ?", [items])
        self.connection.execute("DELETE FROM counts WHERE window < ?", [counts])

    # windows ----------------------------------------------------------------------------------------------------------

    def next_window(self, at_least: int) -> int | None:
        """The first window with items, from this one on."""
        (found,) = self._rows("SELECT MIN(window) FROM counts WHERE window >= ?", [at_least])
        return None if found[0] is None else int(found[0])

    def counts(self, window: int) -> dict[str, tuple[int, int]]:
        """By series, the items of a window and its negative ones."""
        chosen = "SELECT series, COUNT(*), SUM(negative) FROM counts WHERE window = ? GROUP BY series"
        return {name: (int(n), int(k)) for name, n, k in self._rows(chosen, [window])}

    def sources(self, window: int, series: str) -> tuple[Counter[str], Counter[str]]:
        """Items by source, and negative items; an item without a source is its own."""
        chosen = (
            "SELECT CASE items.source WHEN '' THEN ' ' || items.id ELSE items.source END, COUNT(*), SUM(negative) FROM "
            "counts JOIN items ON items.id = counts.item WHERE counts.window = ? AND series = ? GROUP BY 1"
        )
        rows = self._rows(chosen, [window, series])
        return Counter({name: n for name, n, _ in rows}), Counter({name: k for name, _, k in rows if k})

    def negative_items(self, window: int, series: str, most: int) -> list[dict[str, Any]]:
        """The first negative items of a window."""
        chosen = (
            "SELECT items.id, at, source, text FROM counts JOIN items ON items.id = counts.item WHERE counts.window = "
            "? AND series = ? AND negative ORDER BY at, items.id LIMIT ?"
        )
        rows = self._rows(chosen, [window, series, most])
        return [dict(zip(("id", "at", "source", "text"), row, strict=True)) for row in rows]

    def items(self, series: str, begin: int, end: int, most: int) -> list[dict[str, Any]]:
        """Items of a series in the windows from `begin` up to `end`, negative ones first, the latest of each first."""
        names = ("id", "at", "source", "text", "sentiment", "negative")
        chosen = (
            "SELECT items.id, at, source, text, sentiment, negative FROM counts JOIN items ON items.id = counts.item "
            "WHERE counts.window >= ? AND counts.window < ? AND series = ? ORDER BY negative DESC, at DESC LIMIT ?"
        )
        return [dict(zip(names, row, strict=True)) for row in self._rows(chosen, [begin, end, series, most])]

    def add_windows(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Add windows of series, with a value for each of the table's columns."""
        names = ":series, :window, :n, :k, :expected, :low, :high, :p, :tested"
        self.connection.executemany(f"INSERT INTO windows VALUES ({names})", rows)

    def history(self, series: str) -> list[dict[str, Any]]:
        """The windows of a series, in order."""
        names = ("window", "n", "k", "expected", "low", "high", "p", "tested")
        rows = self._rows(f"SELECT {', '.join(names)} FROM windows WHERE series = ? ORDER BY window", [series])
        return [dict(zip(names, row, strict=True)) for row in rows]

    def sentiments(self) -> dict[str, int]:
        """By sentiment, the number of items that are kept and have it, the most frequent first."""
        chosen = (
            "SELECT sentiment, COUNT(*) FROM items WHERE sentiment IS NOT NULL GROUP BY sentiment "
            "ORDER BY COUNT(*) DESC, sentiment"
        )
        return {str(name): int(count) for name, count in self._rows(chosen)}

    def totals(self) -> list[tuple[str, int, int, int]]:
        """(series, windows, items, negative items) of all series, those with most items first."""
        chosen = "SELECT series, COUNT(*), SUM(n), SUM(k) FROM windows GROUP BY series ORDER BY SUM(n) DESC, series"
        return [tuple(row) for row in self._rows(chosen)]

    # alarms -----------------------------------------------------------------------------------------------------------

    def put_alarm(self, record: Mapping[str, Any]) -> None:
        """Add an alarm, or replace its record."""
        values = [record["id"], record["series"], record["state"] != "ended", json.dumps(record, ensure_ascii=False)]
        self.connection.execute("INSERT OR REPLACE INTO alarms VALUES (?, ?, ?, ?)", values)

    def alarms(self, *, only_open: bool = False) -> list[dict[str, Any]]:
        """All alarms, or those that are on, in the order in which they were raised."""
        chosen = "SELECT record FROM alarms" + (" WHERE open" if only_open else "")
        return sorted((json.loads(row[0]) for row in self._rows(chosen)), key=lambda one: (one["since"], one["series"]))

    # deliveries -------------------------------------------------------------------------------------------------------

    def post(self, event: Mapping[str, Any], *, wanted: bool = True) -> None:
        """Add an event. Args: wanted: it is to be delivered."""
        values = [json.dumps(event, ensure_ascii=False), 0 if wanted else UNWANTED]
        self.connection.execute("INSERT INTO outbox (body, delivered) VALUES (?, ?)", values)

    def begin_deliveries(self) -> int:
        """Called where there is a webhook. At the first time, events that were stored when there was none, as if they
        were to be delivered, are past; returns how many. Raises SessionError."""
        with self.transaction():
            if self.get(WEBHOOK):
                return 0
            self.put(WEBHOOK, True)
            tried = f"EXISTS (SELECT 1 FROM outbox WHERE tries OR delivered = {DELIVERED})"  # there was one before
            past = f"UPDATE outbox SET delivered = {UNWANTED} WHERE NOT delivered AND NOT {tried}"
            return self.connection.execute(past).rowcount

    def due(self, now: float) -> tuple[int, str, int] | None:
        """(number, body, tries) of the oldest event that is not delivered, if it is due: they arrive in order."""
        chosen = "SELECT number, body, tries, due FROM outbox WHERE NOT delivered ORDER BY number LIMIT 1"
        found = self._rows(chosen)
        return None if not found or found[0][3] > now else tuple(found[0][:3])

    def events_after(self, number: int, most: int) -> list[tuple[int, str]]:
        """(number, body) of the next events."""
        chosen = "SELECT number, body FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
        return [tuple(row) for row in self._rows(chosen, [number, most])]

    def last_event(self) -> int:
        """Number of the last event; 0 for none."""
        return int(self._rows("SELECT COALESCE(MAX(number), 0) FROM outbox")[0][0])

    def events(self) -> list[str]:
        """All events so far, as JSON."""
        return [row[0] for row in self._rows("SELECT body FROM outbox ORDER BY number")]

    def waiting(self) -> int:
        """How many events are not delivered."""
        return int(self._rows("SELECT COUNT(*) FROM outbox WHERE NOT delivered")[0][0])

    def delivered(self, number: int) -> None:
        """An event has arrived."""
        with self.transaction():
            self.connection.execute(f"UPDATE outbox SET delivered = {DELIVERED}, error = '' WHERE number = ?", [number])

    def failed(self, number: int, error: str, due: float) -> None:
        """An event has not arrived, and is to be sent again."""
        with self.transaction():
            chosen = "UPDATE outbox SET tries = tries + 1, error = ?, due = ? WHERE number = ?"
            self.connection.execute(chosen, [error[:500], due, number])
