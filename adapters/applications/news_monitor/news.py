"""The verbs of the news monitor: open the adapters and the store, watch the stream, save a report and print it."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.applications.base.builder import ApplicationBuilder
from adapters.applications.news_monitor.correction import Correction
from adapters.applications.news_monitor.inputs import GrowingFile
from adapters.applications.news_monitor.items import Item
from adapters.applications.news_monitor.monitor import REFUSED, TALLY, Monitor
from adapters.applications.news_monitor.settings import NewsMonitorSettings, check_installed
from adapters.applications.news_monitor.store import Store
from adapters.applications.news_monitor.stream import Stream
from adapters.applications.news_monitor.understanding import (
    ENTITIES,
    ENTITY_SENTIMENT,
    SENTIMENT,
    TOPICS,
    Adapters,
    RecordedPredictions,
    Understand,
    confusion,
)
from adapters.applications.news_monitor.webhook import secret_of
from adapters.core import arguments
from adapters.core.errors import DataError, Faults, SettingsError, numbered, verb
from adapters.core.files import write_json, write_text
from adapters.core.progress import say
from adapters.experiments import run_folder

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from adapters.serving.bank.bank import AdapterBank

DATABASE, LOG, REPORT, TEXT = "monitor.db", "alarms.jsonl", "report.html", "report.txt"
SETTINGS, LOCK = "settings.json", "monitor.lock"
OURS = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOG, REPORT, TEXT, SETTINGS, LOCK)
"""All that is written into the folder of a monitor."""
READ = "input"
"""Name under which the store keeps the path of the replayed file."""
LABELLED = {"text": ("text", "headline", "title", "sentence", "content"), "label": ("label",)}


class NewsMonitor(ApplicationBuilder):
    """Builds and runs a monitor: `open`, `watch`, then `save_and_print`."""

    settings: NewsMonitorSettings

    def __init__(self, doc: str | None, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Parse the flags. The arguments are those of `ApplicationBuilder`."""
        super().__init__(NewsMonitorSettings, doc, defaults, argv)
        check_installed()
        self.monitor: Monitor | None = None

    def open(self) -> Monitor:
        """Open the store and the adapters.

        Raises:
            SettingsError: the folder is not a monitor's, or what it has was made with other settings.
            ArtifactError, SourceError: an adapter, or its base, cannot be read.
        """
        settings = self.settings
        run_folder.check_own(self.folder, OURS)
        self.key = secret_of(settings.webhook_secret_file) if settings.webhook else b""
        reader = Reader.of(settings)
        self.lock = hold(self.folder)
        if settings.overwrite_output_dir:
            for name in set(OURS) - {LOCK}:
                (self.folder / name).unlink(missing_ok=True)
        self.monitor = opened(self.folder, settings, reader, self._on_event)
        write_json(self.folder / SETTINGS, kept_settings(settings))
        return self.monitor

    def watch(self) -> None:
        """Read the past period, or the stream until it ends or Ctrl-C. What was read is on disk at any moment.

        With `--push`, nothing is read: the server that the folder is made for does so.
        """
        if self.settings.replay is not None:
            self._replay(Path(self.settings.replay))
        elif not self.settings.push:
            self._stream()

    def save_and_print(self) -> None:
        """Write the report, and print its text."""
        from adapters.applications.news_monitor.page import page, report

        assert self.monitor is not None
        shown = report(self.monitor)
        write_text(self.folder / TEXT, shown)
        write_text(self.folder / REPORT, page(self.monitor, arguments.as_dict(self.settings)))
        print(shown)
        say(f"written to {self.folder}/")
        if self.settings.push:
            say(f"taskswap serve --application news_monitor={self.folder} takes items by POST /v1/news")
        self._close()

    def _close(self) -> None:
        assert self.monitor is not None
        self.monitor.store.close()
        self.lock.release()

    def _replay(self, path: Path) -> None:
        """Read a file to its end, from where the last run stopped. Raises DataError where it has nothing to read."""
        assert self.monitor is not None
        store, settings = self.monitor.store, self.settings
        other = store.get(READ, str(path.absolute()))
        if other != str(path.absolute()):
            raise SettingsError(f"--output_dir {self.folder}: has the replay of {other}. Name another folder.")
        mark = store.get(f"read {path.absolute()}")
        file = GrowingFile(path, mark, settings.max_item_bytes)
        begin, count, refused, why = time.perf_counter(), 0, 0, ""
        marks: dict[str, Any] = {}
        while (arrival := file.arrival(settings.batch_items, last=True)).given:
            marks = {**arrival.marks, READ: str(path.absolute())}
            became = self.monitor.take(arrival.given, marks)
            count += len(became)
            bad = [what for what in became if what.startswith(REFUSED)]
            refused, why = refused + len(bad), why or next(iter(bad), "").removeprefix(f"{REFUSED}: ")
        if count == refused and mark is None:
            with store.transaction():  # the file may be corrected, or another one given
                store.drop([*marks, TALLY])
            file.close()
            self._close()
            what = (
                f"all {numbered(count, 'lines')} {verb(count, 'were')} refused, the first one as {why}"
                if count
                else "it is empty"
            )
            raise DataError(
                f"{path}: {what}. Each line must be a JSON object with a time, a text, and an id or a link."
            )
        self.monitor.finish()
        file.close()
        seconds = max(time.perf_counter() - begin, 1e-9)
        say(f"{path}: {numbered(count, 'lines')} in {seconds:.1f} s ({60 * count / seconds:,.0f} a minute)")

    def _stream(self) -> None:
        """Read all inputs until standard input ends, if there is no other, or until Ctrl-C."""
        assert self.monitor is not None
        # As many as a batch takes: what a pipe has beyond them stays there.
        stream = Stream(self.monitor, queue.Queue(self.settings.batch_items), self.key)
        try:
            stream.run(threading.Event())
        except KeyboardInterrupt:
            say("stopped; the same command continues from here")
        finally:
            stream.close()
            if self.settings.webhook and (waiting := self.monitor.store.waiting()):
                say(f"{numbered(waiting, 'events')} to be sent to {self.settings.webhook} when it continues")

    def _on_event(self, event: Mapping[str, Any]) -> None:
        log_event(self.folder, event)
        say(in_a_line(event))


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads items.

    Attributes:
        understand: reads them.
        digests: of its adapters: the state learned with one reader is not continued with another.
        correction: for its errors on `--labelled_file`.
    """

    understand: Understand
    digests: str
    correction: Correction | None = None

    @classmethod
    def of(cls, settings: NewsMonitorSettings, bank: AdapterBank | None = None) -> Reader:
        """The adapters of the settings, in this bank or one of their own; or the predictions in the rows.

        Raises SettingsError, ArtifactError, SourceError, DataError.
        """
        given = {
            SENTIMENT: settings.sentiment_adapter,
            TOPICS: settings.topic_adapter,
            ENTITIES: settings.entity_adapter,
            ENTITY_SENTIMENT: settings.entity_sentiment_adapter,
        }
        folders = {name: folder for name, folder in given.items() if folder is not None}
        understand: Understand = RecordedPredictions(settings.negative_labels)
        digests = "rows"
        if folders:
            if bank is None:
                from adapters.serving.bank.bank import AdapterBank

                bank = AdapterBank(settings.model_name_or_path, device=settings.device)
            for name, folder in folders.items():
                bank.load(name, folder, pin=True)
            digests = ", ".join(f"{name} {bank.card(name).get('digest', folder)}" for name, folder in folders.items())
            understand = Adapters(bank, settings.negative_labels, settings.entity_types, list(folders))
        return cls(understand=understand, digests=digests, correction=_correction(settings, understand))


def _correction(settings: NewsMonitorSettings, understand: Understand) -> Correction | None:
    """The correction for the errors of `understand`, which are reported."""
    if settings.labelled_file is None:
        return None
    rows = _labelled(settings.labelled_file)
    found = Correction.of(confusion(understand, rows, settings.negative_labels))
    say(
        f"{settings.labelled_file}: of the negative items {found.sensitivity:.1%} are read as negative, "
        f"of the others {1 - found.specificity:.1%}"
    )
    return found


def hold(folder: Path) -> BaseFileLock:
    """The lock of a monitor's folder: one process watches there. The system releases it when that process ends.

    Raises SettingsError where another one has it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SettingsError(
            f"--output_dir {folder}: another process is watching there. Stop it, or name another folder."
        ) from None
    return lock


def opened(
    folder: Path, settings: NewsMonitorSettings, reader: Reader, on_event: Callable[[Mapping[str, Any]], None]
) -> Monitor:
    """The monitor of a folder, whose log has the events so far. Args: on_event: called with later ones.

    Raises SettingsError where the folder's was made with other settings, SessionError where it cannot be read.
    """
    store = Store(folder / DATABASE)
    try:
        made = Monitor(
            settings, store, reader.understand, correction=reader.correction, reader=reader.digests, on_event=on_event
        )
        write_text(folder / LOG, "".join(f"{line}\n" for line in store.events()))
    except BaseException:
        store.close()
        raise
    return made


def log_event(folder: Path, event: Mapping[str, Any]) -> None:
    """Add an event to the folder's log."""
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(event, ensure_ascii=False) + "\n")


def kept_settings(settings: NewsMonitorSettings) -> dict[str, Any]:
    """Settings as the folder keeps them, for a server that may be started elsewhere."""
    found = arguments.as_dict(settings)
    for name in ("input", "labelled_file", *(name for name in found if name.endswith("_adapter"))):
        if found[name] and Path(found[name]).exists():
            found[name] = str(Path(found[name]).absolute())
    return found


def in_a_line(event: Mapping[str, Any]) -> str:
    """An event in a line."""
    numbers = f"{event['negative']} of {event['items']} negative, {event['expected']:g} expected, p = {event['p']:g}"
    why = f": {event['reason']}" if event.get("reason") else ""
    return f"{event['begin']} {event['event']}: {event['series']} ({numbers}){why}"


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
