"""RSS and Atom feeds, polled: what is new is asked for by ETag and Last-Modified, and read by feedparser."""

from __future__ import annotations

import calendar
import hashlib
import html
import io
import queue
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from adapters.applications.news_monitor.inputs import Arrival
from adapters.applications.news_monitor.items import LONGEST_NAME
from adapters.applications.news_monitor.monitor import IncomingItem

TIMEOUT_SECONDS = 30
LARGEST = 10_000_000
"""Bytes of a feed. A larger one is not read."""
FIRST_SECONDS = 60.0
"""Within which the first poll of a feed is waited for, before its items can be late."""
UNIQUE = ("http://", "https://", "urn:", "tag:")
"""How ids begin that no other feed gives to another entry."""
AGENT = "taskswap"


class Feed(threading.Thread):
    """Polls one feed, and puts what it has into a queue. An item that comes again is known by its id."""

    def __init__(self, url: str, mark: Mapping[str, Any] | None, seconds: float, into: queue.Queue[Arrival]) -> None:
        """Args: url: of the feed; mark: what was kept of the last poll; seconds: between polls; into: takes items."""
        super().__init__(daemon=True, name=f"feed {url}")
        self.url, self.seconds, self.into = url, seconds, into
        self.mark = dict(mark or {})
        self.stopped, self.polled = threading.Event(), threading.Event()
        self.begin = time.monotonic()

    @property
    def behind(self) -> bool:
        """Whether what it had at the start is still to come."""
        return not self.polled.is_set() and time.monotonic() - self.begin < FIRST_SECONDS

    def run(self) -> None:
        """Poll until stopped. A failure is reported, and the feed polled again."""
        while not self.stopped.is_set():
            arrival = Arrival(given=(), marks={})
            try:
                arrival = self.poll()
            except Exception as error:  # whatever a server sends, it is polled again
                what = str(error) or type(error).__name__
                print(f"{self.url}: {what}; it is polled again in {self.seconds:g} s", file=sys.stderr, flush=True)
            if arrival.given:
                self.into.put(arrival)
            else:
                self.polled.set()
            self.stopped.wait(self.seconds)

    def poll(self) -> Arrival:
        """What the feed has, if it has changed. Raises OSError, HTTPException, ValueError where there is no whole feed;
        then it is asked for again as if nothing had come."""
        import feedparser

        asked = {"If-None-Match": self.mark.get("etag"), "If-Modified-Since": self.mark.get("modified")}
        headers = {"User-Agent": AGENT, **{name: value for name, value in asked.items() if value}}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                body = answer.read(LARGEST + 1)
                length = None if answer.chunked else answer.headers.get("Content-Length")
                mark = {"etag": answer.headers.get("ETag"), "modified": answer.headers.get("Last-Modified")}
                headers = {"content-type": answer.headers.get("Content-Type", "")}
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return Arrival(given=(), marks={})
            raise
        if len(body) > LARGEST:
            raise ValueError(f"longer than {LARGEST:,} bytes")
        if length is not None and int(length) != len(body):
            raise ValueError(f"cut off after {len(body):,} of {int(length):,} bytes")
        # As a stream: of bytes alone, feedparser would try to open the file, or the URL, of that name.
        found = feedparser.parse(io.BytesIO(body), response_headers=headers)
        if not found.version:
            raise ValueError(f"no feed ({found.get('bozo_exception', 'neither RSS nor Atom')})")
        title = str(found.feed.get("title", "")) or self.url
        given = tuple(
            IncomingItem(
                where=f"{self.url}: entry {number}",
                item=_item(entry, title, self.url),
                input=self.name,
                together=self.name,
            )
            for number, entry in enumerate(found.entries, 1)
        )
        self.mark = mark
        return Arrival(given=given, marks={self.name: mark}, settled=lambda _: self.polled.set())


def _item(entry: Any, source: str, url: str) -> dict[str, Any]:
    """An entry of a feed as an item's object; without a date it has no time, and is refused."""
    when = entry.get("published_parsed") or entry.get("updated_parsed")
    return {
        "id": _id(str(entry.get("id") or entry.get("link") or ""), url),
        "time": None if when is None else calendar.timegm(when),
        "title": _plain(entry.get("title", "")),
        "summary": _plain(entry.get("summary", "")),
        "source": source,
    }


def _id(given: str, url: str) -> str:
    """An entry's id, which is unique over all feeds: RSS has numbers, too. A long one is replaced by its digest."""
    found = given if not given or given.lower().startswith(UNIQUE) else f"{url} {given}"
    return found if len(found) <= LONGEST_NAME else hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()


def _plain(text: str) -> str:
    """A text without its HTML."""
    return html.unescape(re.sub(r"<[^>]*>", " ", text))
