"""The verbs of the news monitor: open the adapters and the store, watch the stream, save a report and print it."""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.applications.news_monitor.correction import Correction
from adapters.applications.news_monitor.feeds import Feed
from adapters.applications.news_monitor.inputs import Arrival, GrowingFile, Pipe, drained
from adapters.applications.news_monitor.items import Item
from adapters.applications.news_monitor.monitor import Monitor
from adapters.applications.news_monitor.settings import STDIN, NewsMonitorSettings, check_installed
from adapters.applications.news_monitor.store import Store
from adapters.applications.news_monitor.understanding import (
    ENTITIES,
    SENTIMENT,
    TOPICS,
    Adapters,
    Recorded,
    Understand,
    confusion,
)
from adapters.applications.news_monitor.webhook import Delivery, secret_of
from adapters.core import arguments
from adapters.core.errors import DataError, Faults, SettingsError
from adapters.core.files import write_text
from adapters.experiments import run_folder

DATABASE, LOG, REPORT, TEXT = "monitor.db", "alarms.jsonl", "report.html", "report.txt"
OURS = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOG, REPORT, TEXT)
"""All that is written into the folder of a monitor."""
READ = "input"
"""Name under which the store has which file is replayed."""
LABELLED = {"text": ("text", "headline", "title", "sentence", "content"), "label": ("label",)}
IDLE_SECONDS = 0.5


class NewsMonitor:
    """One monitor: `open`, `watch`, then `save_and_print`."""

    def __init__(self, doc: str | None, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Parse the flags. Args: doc: printed by --help; defaults: of flags; argv: None takes the process's."""
        words = list(sys.argv[1:] if argv is None else argv)
        self.settings: NewsMonitorSettings = arguments.parse(
            NewsMonitorSettings, dict(defaults), (doc or "").strip(), words
        )
        self.settings.check()
        check_installed()
        self.folder = Path(self.settings.output_dir)
        self.monitor: Monitor | None = None

    def open(self) -> Monitor:
        """Open the store and the adapters.

        Raises:
            SettingsError: the folder is not a monitor's, or what it has was made with other settings.
            ArtifactError, SourceError: an adapter, or its base, cannot be read.
        """
        settings = self.settings
        run_folder.check_own(self.folder, OURS)
        if settings.overwrite_output_dir:
            for name in OURS:
                (self.folder / name).unlink(missing_ok=True)
        self.key = secret_of(settings.webhook_secret_file) if settings.webhook else b""
        understand, reader = _reader(settings)
        correction = None
        if settings.labelled_file is not None:
            rows = _labelled(settings.labelled_file)
            correction = Correction.of(confusion(understand, rows, settings.negative_labels))
            _say(
                f"{settings.labelled_file}: of the negative items {correction.sensitivity:.1%} are read as negative, "
                f"of the others {1 - correction.specificity:.1%}"
            )
        store = Store(self.folder / DATABASE)
        self.monitor = Monitor(settings, store, understand, correction=correction, reader=reader, told=self._tell)
        write_text(self.folder / LOG, "".join(f"{line}\n" for line in store.events()))
        return self.monitor

    def watch(self) -> None:
        """Read the past period, or the stream until it ends or Ctrl-C. What was read is on disk at any moment."""
        if self.settings.replay is not None:
            self._replay(Path(self.settings.replay))
        else:
            self._stream()

    def save_and_print(self) -> None:
        """Write the report, and print its text."""
        from adapters.applications.news_monitor.page import page, report

        assert self.monitor is not None
        shown = report(self.monitor)
        write_text(self.folder / TEXT, shown)
        write_text(self.folder / REPORT, page(self.monitor, arguments.as_dict(self.settings)))
        print(shown)
        _say(f"written to {self.folder}/")

    def _replay(self, path: Path) -> None:
        """Read a file to its end, from where it was read to."""
        assert self.monitor is not None
        store, settings = self.monitor.store, self.settings
        other = store.get(READ, str(path.absolute()))
        if other != str(path.absolute()):
            raise SettingsError(f"--output_dir {self.folder}: has the replay of {other}. Name another folder.")
        file = GrowingFile(path, store.get(f"read {path.absolute()}"), settings.max_item_bytes)
        begin, count = time.perf_counter(), 0
        while (arrival := file.arrival(settings.batch_items, last=True)).given:
            self.monitor.take(arrival.given, {**arrival.marks, READ: str(path.absolute())})
            count += len(arrival.given)
        self.monitor.finish()
        file.close()
        seconds = max(time.perf_counter() - begin, 1e-9)
        _say(f"{path}: {count:,} lines in {seconds:.1f} s ({60 * count / seconds:,.0f} a minute)")

    def _stream(self) -> None:
        """Read all inputs until standard input ends, if there is no other, or until Ctrl-C."""
        assert self.monitor is not None
        monitor, settings, store = self.monitor, self.settings, self.monitor.store
        waiting: queue.Queue[Arrival] = queue.Queue(4 * settings.batch_items)
        file = pipe = None
        if settings.input == STDIN:
            pipe = Pipe(sys.stdin.buffer, settings.max_item_bytes, waiting)
            pipe.start()
        elif settings.input is not None:
            path = Path(settings.input)
            file = GrowingFile(path, store.get(f"read {path.absolute()}"), settings.max_item_bytes)
        feeds = [Feed(url, store.get(f"feed {url}"), settings.poll_seconds, waiting) for url in settings.feeds]
        delivery = None
        if settings.webhook is not None:
            delivery = Delivery(store.path, settings.webhook, self.key)
        for thread in [*feeds, *([delivery] if delivery else [])]:
            thread.start()
        try:
            while True:
                alive = pipe is not None and pipe.is_alive()
                read = file.arrival(settings.batch_items) if file else None
                if read is not None and read.given:
                    monitor.take(read.given, read.marks)
                    continue
                came = drained(waiting, settings.batch_items, IDLE_SECONDS)
                if came.given:
                    monitor.take(came.given, came.marks)
                elif not alive and not file and not feeds:
                    break
                else:
                    monitor.advance(time.time())
        except KeyboardInterrupt:
            _say("stopped; the same command goes on from here")
        finally:
            for feed in feeds:
                feed.stopped.set()
            if delivery is not None:
                delivery.stopped.set()
                delivery.join(timeout=delivery.timeout + 1)
                if store.waiting():
                    _say(f"{store.waiting():,} events wait for {settings.webhook}; they are sent when it goes on")
            if file:
                file.close()

    def _tell(self, event: Mapping[str, Any]) -> None:
        """Log an event, and say it."""
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        _say(told(event))


def told(event: Mapping[str, Any]) -> str:
    """An event in a line."""
    numbers = f"{event['negative']} of {event['items']} negative, {event['expected']:g} expected, p = {event['p']:g}"
    why = f": {event['reason']}" if event.get("reason") else ""
    return f"{event['begin']} {event['event']}: {event['series']} ({numbers}){why}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _reader(settings: NewsMonitorSettings) -> tuple[Understand, str]:
    """What reads items, and the digests of its adapters."""
    given = {
        SENTIMENT: settings.sentiment_adapter,
        TOPICS: settings.topic_adapter,
        ENTITIES: settings.entity_adapter,
    }
    folders = {name: folder for name, folder in given.items() if folder is not None}
    if not folders:
        return Recorded(settings.negative_labels), "rows"
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(settings.model_name_or_path, device=settings.device)
    for name, folder in folders.items():
        bank.load(name, folder, pin=True)
    digests = ", ".join(f"{name} {bank.card(name).get('digest', folder)}" for name, folder in folders.items())
    return Adapters(bank, settings.negative_labels, settings.entity_types), digests


def _labelled(path: str) -> list[Item]:
    """Items with their labels. Raises DataError."""
    from adapters.data.columns import ColumnRoles
    from adapters.data.dataset_files import open_file

    source = open_file(path, encoding="utf-8", flag="--labelled_file")
    roles, faults = ColumnRoles(source), Faults(source.name)
    text, label = (roles.find(role, names, what=f"{role}s") for role, names in LABELLED.items())
    found: list[Item] = []
    for row in source.rows(faults):
        own, said = (str(row.values.get(name) or "").strip() for name in (text, label))
        if not own or not said:
            faults.add(row.where(), "a row without text or label", "Complete it, or remove the row.")
            continue
        given = {**row.values, "label": said}
        found.append(Item(id=str(len(found)), at=0.0, text=own, source="", given=given, where=row.where()))
    faults.raise_if_any()
    if not found:
        raise DataError(f"{path}: no row. Give items with their labels.")
    return found
