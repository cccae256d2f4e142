"""Made-up items of news for the tests of the news monitor."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.applications.news_monitor.monitor import IncomingItem, Monitor
from adapters.applications.news_monitor.settings import NewsMonitorSettings
from adapters.applications.news_monitor.store import Store
from adapters.applications.news_monitor.understanding import RecordedPredictions

START = 1_600_002_000
"""Beginning of a window of an hour."""
FAST: Mapping[str, Any] = {"learning_days": 2.0, "delay_minutes": 0.0}


def rows(
    count: int, seed: int = 0, *, surge: tuple[int, int] = (0, 0), per_hour: int = 60, sources: int = 8
) -> Iterator[dict[str, Any]]:
    """Items with recorded predictions, evenly in time; three of four are negative between two numbers."""
    draw = random.Random(seed)
    for number in range(count):
        share = 0.75 if surge[0] <= number < surge[1] else 0.2
        yield {
            "id": f"n{number}",
            "time": START + 3600 * number // per_hour,
            "text": " ".join(f"{draw.getrandbits(40):x}" for _ in range(5)),
            "source": f"wire {draw.randrange(sources)}",
            "sentiment": "negative" if draw.random() < share else "neutral",
            "topics": [f"topic {draw.randrange(3)}"],
        }


def monitor(path: Path, **settings: Any) -> Monitor:
    """A monitor of recorded predictions, with a store of its own or that of before."""
    given = NewsMonitorSettings(input="-", **{**FAST, **settings})
    given.check()
    return Monitor(given, Store(path), RecordedPredictions(["negative"]))


def taken(found: Monitor, items: Iterable[Any], batch: int = 64, now: float | None = None) -> Monitor:
    """The monitor after these items."""
    given = [IncomingItem(where=f"news:{number}", item=item) for number, item in enumerate(items, 1)]
    for begin in range(0, len(given), batch):
        found.take(given[begin : begin + batch], now=now)
    return found


def write(path: Path, items: Iterable[Mapping[str, Any]]) -> Path:
    """Items as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in items), encoding="utf-8")
    return path


def contents(path: Path) -> dict[str, list[Any]]:
    """All that a store has of items, counts, windows, alarms and events."""
    store = Store(path)
    found = {
        name: store._rows(f"SELECT {columns} FROM {name} ORDER BY {order}")
        for name, columns, order in (
            ("items", "id, at, window, status, copy_of, sentiment", "id"),
            ("counts", "*", "window, series, item"),
            ("windows", "*", "window, series"),
            ("alarms", "record", "id"),
            ("outbox", "body", "number"),
        )
    }
    store.close()
    return found
