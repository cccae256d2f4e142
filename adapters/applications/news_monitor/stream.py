"""Continuous operation: one thread reads all inputs of a monitor in turn; alarms are delivered in another."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from adapters.applications.news_monitor.feeds import Feed
from adapters.applications.news_monitor.inputs import Arrival, GrowingFile, Pipe, drained
from adapters.applications.news_monitor.monitor import Monitor
from adapters.applications.news_monitor.settings import STDIN
from adapters.applications.news_monitor.webhook import Delivery
from adapters.core.errors import numbered, verb
from adapters.core.progress import say

IDLE_SECONDS = 0.5


class Stream:
    """`run` it in the thread that made its monitor, then `close` it."""

    def __init__(self, monitor: Monitor, waiting: queue.Queue[Arrival], key: bytes = b"") -> None:
        """Args:
        monitor: whose settings name a file, feeds and a webhook.
        waiting: takes what feeds and standard input bring; what else is put there is taken too.
        key: by which deliveries are signed.

        Raises DataError where the file cannot be read.
        """
        self.monitor, self.waiting = monitor, waiting
        settings, store = monitor.settings, monitor.store
        self.file: GrowingFile | None = None
        self.pipe: Pipe | None = None
        if settings.input == STDIN:
            self.pipe = Pipe(sys.stdin.buffer, settings.max_item_bytes, waiting)
        elif settings.input is not None:
            path = Path(settings.input)
            self.file = GrowingFile(path, store.get(f"read {path.absolute()}"), settings.max_item_bytes)
        self.feeds = [Feed(url, store.get(f"feed {url}"), settings.poll_seconds, waiting) for url in settings.feeds]
        self.delivery = None
        if settings.webhook is not None:
            if past := store.begin_deliveries():
                say(f"{numbered(past, 'events')} of before there was a webhook {verb(past, 'are')} not sent")
            self.delivery = Delivery(store.path, settings.webhook, key)

    def run(self, stopped: threading.Event) -> None:
        """Read until standard input ends, if there is no other input, or until it is stopped.

        Raises SessionError where something could not be written: the monitor must be opened again.
        """
        for thread in (self.pipe, self.delivery, *self.feeds):
            if thread is not None:
                thread.start()
        settings = self.monitor.settings
        while not stopped.is_set():
            # Before anything is read: what comes now is of an input that was behind.
            behind = self._behind()
            alive = self.pipe is not None and self.pipe.is_alive()
            read = self.file.arrival(settings.batch_items) if self.file else None
            if read is not None and read.given:
                self._take([read, *drained(self.waiting, settings.batch_items, 0.001)], behind)
            elif came := drained(self.waiting, settings.batch_items, IDLE_SECONDS):
                self._take(came, behind)
            elif not alive and not self.file and not self.feeds and not settings.push:
                return
            elif not self._behind():
                self.monitor.advance(time.time())

    def _behind(self) -> list[str]:
        """The inputs that have more to be read, as far as is known."""
        return [one.name for one in (self.file, self.pipe, *self.feeds) if one is not None and one.behind]

    def _take(self, arrivals: Sequence[Arrival], behind: Sequence[str]) -> None:
        """Take several arrivals as one batch, and report what became of each."""
        given = [one for arrival in arrivals for one in arrival.given]
        marks = {name: value for arrival in arrivals for name, value in arrival.marks.items()}
        try:
            became = iter(self.monitor.take(given, marks, behind=behind))
        except Exception as error:
            for arrival in arrivals:
                if arrival.settled is not None:
                    arrival.settled(error)
            raise
        for arrival in arrivals:
            own = [next(became) for _ in arrival.given]
            if arrival.settled is not None:
                arrival.settled(own)

    def close(self) -> None:
        """End the threads, and close the file. What was not delivered is in the store."""
        for feed in self.feeds:
            feed.stopped.set()
        if self.delivery is not None:
            self.delivery.stopped.set()
            if self.delivery.is_alive():
                self.delivery.join(timeout=self.delivery.timeout + 1)
        if self.file:
            self.file.close()
