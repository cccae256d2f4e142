"""RSS and Atom feeds, polled: what is new is asked for by ETag and Last-Modified, and read by feedparser."""

from __future__ import annotations

import calendar
import html
import queue
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from adapters.applications.news_monitor.inputs import Arrival
from adapters.applications.news_monitor.monitor import IncomingItem

TIMEOUT_SECONDS = 30
LARGEST = 10_000_000
"""Bytes of a feed that are read."""
AGENT = "taskswap"


class Feed(threading.Thread):
    """Polls one feed, and puts what it has into a queue. An item that comes again is known by its id."""

    def __init__(self, url: str, mark: Mapping[str, Any] | None, seconds: float, into: queue.Queue[Arrival]) -> None:
        """Args: url: of the feed; mark: what was kept of the last poll; seconds: between polls; into: takes items."""
        super().__init__(daemon=True, name=url)
        self.url, self.seconds, self.into = url, seconds, into
        self.mark = dict(mark or {})
        self.stopped = threading.Event()

    def run(self) -> None:
        """Poll until stopped. A failure is reported, and the feed polled again."""
        while not self.stopped.is_set():
            try:
                arrival = self.poll()
            except (OSError, ValueError) as error:
                print(f"{self.url}: {error}; it is polled again in {self.seconds:g} s", file=sys.stderr, flush=True)
            else:
                if arrival.given:
                    self.into.put(arrival)
            self.stopped.wait(self.seconds)

    def poll(self) -> Arrival:
        """What the feed has, if it has changed. Raises OSError, ValueError where there is no feed."""
        import feedparser

        asked = {"If-None-Match": self.mark.get("etag"), "If-Modified-Since": self.mark.get("modified")}
        headers = {"User-Agent": AGENT, **{name: value for name, value in asked.items() if value}}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                body = answer.read(LARGEST)
                mark = {"etag": answer.headers.get("ETag"), "modified": answer.headers.get("Last-Modified")}
                headers = {"content-type": answer.headers.get("Content-Type", "")}
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return Arrival(given=(), marks={})
            raise
        found = feedparser.parse(body, response_headers=headers)
        if not found.version:
            raise ValueError(f"no feed ({found.get('bozo_exception', 'neither RSS nor Atom')})")
        title = str(found.feed.get("title", "")) or self.url
        given = tuple(
            IncomingItem(where=f"{self.url}: entry {number}", item=_item(entry, title))
            for number, entry in enumerate(found.entries, 1)
        )
        self.mark = mark
        return Arrival(given=given, marks={f"feed {self.url}": mark})


def _item(entry: Any, source: str) -> dict[str, Any]:
    """An entry as an item's object; without a date it has no time, and is refused."""
    when = entry.get("published_parsed") or entry.get("updated_parsed")
    return {
        "id": entry.get("id") or entry.get("link"),
        "time": None if when is None else calendar.timegm(when),
        "title": _plain(entry.get("title", "")),
        "summary": _plain(entry.get("summary", "")),
        "source": source,
    }


def _plain(text: str) -> str:
    """A text without its HTML."""
    return html.unescape(re.sub(r"<[^>]*>", " ", text))
