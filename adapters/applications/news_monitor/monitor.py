"""The monitor: items in, once each; windows closed as time passes; alarms raised, updated and ended. All is stored.

monitor = Monitor(settings, Store(path), RecordedPredictions(["negative"]))
monitor.take([IncomingItem(where="news.jsonl:1", item=b'{"time": …}')])      # lines of JSON, or objects
monitor.alarms()
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from adapters.applications.news_monitor.alarms import alarm_events
from adapters.applications.news_monitor.baseline import When
from adapters.applications.news_monitor.copies import Copies
from adapters.applications.news_monitor.correction import Correction
from adapters.applications.news_monitor.detector import AlarmDetector, Plan
from adapters.applications.news_monitor.items import Item, ItemError, item_of
from adapters.applications.news_monitor.settings import LASTING, MINUTES_PER_MONTH, NewsMonitorSettings
from adapters.applications.news_monitor.store import COPY, COUNTED, LATE, UNREAD, Store
from adapters.applications.news_monitor.understanding import Reading, Understand
from adapters.core.errors import SettingsError, UserError

PLACES = 4
"""Kept for each reason for which items are refused."""
MOST_REASONS = 100
SUPPORT = 0.05
"""Largest p of an alarm's window without its largest source of negative items."""
REFUSED = "refused"
CLOCK, NEXT, DETECTOR, SERIES, TALLY, MADE_BY = "clock", "next window", "watch", "series", "tally", "made by"
"""Names of the values that the store keeps in addition to items, windows and alarms."""


@dataclass(frozen=True, kw_only=True)
class IncomingItem:
    """An item as it came.

    Attributes:
        where: it was read, unique in its batch.
        item: a line of JSON, an object, or why there is neither.
        input: that it came from.
        together: names what came at once, in no order of time; empty where the order is that of the input.
    """

    where: str
    item: bytes | Mapping[str, Any] | ItemError
    input: str = ""
    together: str = ""


class Monitor:
    """One stream. Not for several threads."""

    def __init__(
        self,
        settings: NewsMonitorSettings,
        store: Store,
        understand: Understand,
        *,
        correction: Correction | None = None,
        reader: str = "",
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Args:
        settings: checked.
        store: empty, or that of a monitor with the same settings, which is continued.
        understand: reads items.
        correction: of shares that are shown.
        reader: identifies `understand` (digests of adapters); another one needs another folder.
        on_event: called with each event of an alarm, after it was stored.

        Raises SettingsError where the store was made with other settings.
        """
        self.settings, self.store, self.understand = settings, store, understand
        self.correction, self.on_event = correction, on_event
        self.zone = ZoneInfo(settings.time_zone)
        self.seconds = 60.0 * settings.window_minutes
        self.plan = plan_of(settings)
        self.series: list[str] = store.get(SERIES, [])
        self.detector = AlarmDetector(self.plan, len(self.series))
        self.copies = Copies(settings.copy_similarity, 3600 * settings.copy_hours)
        self.clock: float | None = store.get(CLOCK)
        self.newest = -np.inf if self.clock is None else self.clock
        self.inputs: dict[str, float] = {}  # the newest time of each
        self.next: int | None = store.get(NEXT)
        self.tally: dict[str, Any] = store.get(TALLY, {})
        self.live = False
        self.became: dict[str, str] = {}  # by place: of the items of the last batch
        self._continue(reader)

    def _continue(self, reader: str) -> None:
        """Continue from the stored state."""
        made_by = {"reader": reader, **{name: getattr(self.settings, name) for name in LASTING}}
        known = self.store.get(MADE_BY)
        if known is None:
            with self.store.transaction():
                self.store.put(MADE_BY, made_by)
        elif known != made_by:
            changed = ", ".join(f"{name} {known.get(name)!r}" for name in made_by if known.get(name) != made_by[name])
            raise SettingsError(
                f"{self.store.path}: its state was learned with {changed}. Give the same values, another "
                "--output_dir, or --overwrite_output_dir."
            )
        if (state := self.store.get(DETECTOR)) is not None:
            self.detector.restore(state)
        for id, sketch, at in self.store.sketches():
            self.copies.add(id, sketch, at)

    # items ------------------------------------------------------------------------------------------------------------

    def take(
        self,
        given: Sequence[IncomingItem],
        marks: Mapping[str, Any] | None = None,
        now: float | None = None,
        behind: Collection[str] = (),
    ) -> list[str]:
        """Read items, count them, and close the windows that they end. When it returns, all is on disk.

        Returns what became of each: that it was counted, or why not.

        Args:
            given: in the order in which they came.
            marks: values to keep with them: how far an input was read.
            now: seconds since 1970; None: now.
            behind: inputs that have more to be read. The clock does not pass the newest item of any of them, so that
                what they have is not late because another input is ahead.

        Raises SessionError if it cannot be written; then nothing of it is.
        """
        settings, now = self.settings, time.time() if now is None else now
        self.became = {}
        items = self._new(given, now + 60 * settings.ahead_minutes)
        rows, counted = self._sorted(items, behind)
        self._tick(behind)
        youngest = max((item.at for item in items), default=-np.inf)
        self.live |= youngest > now - 60 * settings.delay_minutes - self.seconds
        counts = self._read(rows, counted)
        events: list[dict[str, Any]] = []
        with self.store.transaction():
            self.store.add_items(rows.values())
            self.store.add_counts(counts)
            for name, value in (marks or {}).items():
                self.store.put(name, value)
            events = self._close()
            self.store.put(TALLY, self.tally)
            self.store.put(CLOCK, self.clock)
        self._announce(events)
        return [self.became[one.where] for one in given]

    def advance(self, now: float) -> None:
        """Close the windows that ended `--delay_minutes` before now: no input has anything left to be read.

        Before an item was as young as that when it came, the newest item is taken for now: a history that is piped in
        has other times.
        """
        if self.live:
            self.newest = max(self.newest, now)
        self._tick()
        if self.clock is None or (self.next is not None and self._open_from() <= self.next):
            return
        with self.store.transaction():
            events = self._close()
            self.store.put(CLOCK, self.clock)
        self._announce(events)

    def finish(self) -> None:
        """Close all windows with items: nothing more comes."""
        self._tick()
        if self.clock is None:
            return
        with self.store.transaction():
            events = self._close(everything=True)
        self._announce(events)

    def alarms(self) -> list[dict[str, Any]]:
        """All alarms, in the order in which they were raised."""
        return self.store.alarms()

    def _new(self, given: Sequence[IncomingItem], latest: float) -> list[Item]:
        """The items that are new."""
        items: dict[str, Item] = {}
        found = []
        for one in given:
            try:
                if isinstance(one.item, ItemError):
                    raise one.item
                item = item_of(one.item, one.where, self.zone, latest)
                found.append(replace(item, input=one.input, together=one.together))
            except ItemError as error:
                self._count(f"{REFUSED}: {error}", one.where)
            except Exception as error:  # else the same item would end the monitor at each start
                self._count(f"{REFUSED}: {_unforeseen(error)}", one.where)
        known = self.store.digests([item.id for item in found])
        for item in found:
            before = known.get(item.id) or (items[item.id].digest if item.id in items else None)
            if before is None:
                items[item.id] = item
            elif before == item.digest:
                self._count("came again", item.where)
            else:
                self._count("came again with another text: the first one stays", item.where)
        return [*items.values()]

    def _sorted(self, items: Sequence[Item], behind: Collection[str]) -> tuple[dict[str, dict[str, Any]], list[Item]]:
        """The row of each item for the store, and the items that count: neither late nor copies.

        What becomes of an item depends on those before it, and not on which came in one batch with it.
        """
        rows: dict[str, dict[str, Any]] = {}
        counted = []
        for item in _by_time(items):
            window = self.window_of(item.at)
            self.newest = max(self.newest, item.at)
            if item.input:
                self.inputs[item.input] = max(self.inputs.get(item.input, -np.inf), item.at)
            self._tick(behind)
            status, original, sketch = COUNTED, None, None
            late = self.clock is not None and window < self._open_from()
            if late or (self.next is not None and window < self.next):
                status = LATE
                self._count("came too late to be counted (--delay_minutes)", item.where)
            else:
                sketch = self.copies.sketch(item.text)
                original = self.copies.original(sketch, item.at)
                if original is None:
                    self.copies.add(item.id, sketch, item.at)
                    counted.append(item)
                else:
                    status, sketch = COPY, None
                    self._count("copies of another", item.where)
            rows[item.id] = {
                **{name: getattr(item, name) for name in ("id", "at", "source", "text", "digest")},
                **{"window": window, "status": status, "copy_of": original, "sketch": sketch, "sentiment": None},
            }
        return rows, counted

    def _read(self, rows: dict[str, dict[str, Any]], items: Sequence[Item]) -> list[tuple[int, str, str, int]]:
        """The counts of the items: (window, series, item, negative); sentiment and status of the rows are filled in."""
        counts = []
        for item, reading in zip(items, self._understood(items), strict=True):
            if not isinstance(reading, Reading):
                self._count(f"not read: {reading}", item.where)
                rows[item.id]["status"] = UNREAD
                continue
            rows[item.id]["sentiment"] = reading.sentiment
            self._count("counted", item.where)
            for name, negative in reading.series.items():
                counts.append((self.window_of(item.at), name, item.id, int(negative)))
        return counts

    def _understood(self, items: Sequence[Item]) -> list[Reading | str]:
        """The reading of each item. Where they cannot be read together, each is read alone, so that what is wrong with
        one harms no other, and does not end the monitor at each start. Raises UserError, which is of no item."""
        try:
            return self.understand(items) if items else []
        except UserError:
            raise
        except Exception as error:
            if len(items) == 1:
                return [_unforeseen(error)]
            return [reading for item in items for reading in self._understood([item])]

    def _count(self, what: str, where: str) -> None:
        """Count what became of an item, with its first places."""
        self.became[where] = what
        what = what if what in self.tally or len(self.tally) < MOST_REASONS else "others"
        own = self.tally.setdefault(what, {"count": 0, "places": []})
        own["count"] += 1
        if len(own["places"]) < PLACES:
            own["places"].append(where)

    # windows ----------------------------------------------------------------------------------------------------------

    def _tick(self, behind: Collection[str] = ()) -> None:
        """Bring the clock to the newest item, or to that of the input which is furthest behind. It never goes back."""
        to = min([self.newest, *(self.inputs.get(name, -np.inf) for name in behind)])
        if to > -np.inf:
            self.clock = to if self.clock is None else max(self.clock, to)

    def window_of(self, at: float) -> int:
        """Number of the window of a time."""
        return int(at // self.seconds)

    def when(self, window: int) -> When:
        """A window's hour and weekday, in the zone of the settings."""
        begin = datetime.fromtimestamp(window * self.seconds, UTC).astimezone(self.zone)
        return When(number=window, hour=begin.hour, day=begin.weekday())

    def _open_from(self) -> int:
        """The first window that has not ended by the clock, less the delay."""
        assert self.clock is not None
        return self.window_of(self.clock - 60 * self.settings.delay_minutes)

    def _close(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """Close the windows that have ended; returns the events of alarms."""
        events: list[dict[str, Any]] = []
        if self.clock is None:
            return events
        until = self.window_of(self.clock) + 1 if everything else self._open_from()
        window = begin = self._first(until)
        while window < until:
            events += self._close_one(window)
            window += 1
            if not self.detector.open.any():
                following = self.store.next_window(window)
                window = until if following is None else min(following, until)
        if self.next is None or until > self.next:
            self.next = until
            self.store.put(NEXT, until)
        if begin < until:
            self.store.put(DETECTOR, self.detector.record())
            self.store.put(SERIES, self.series)
            oldest = until * self.seconds
            self.copies.forget(oldest - self.copies.seconds)
            kept = oldest - 86400 * self.settings.keep_days
            self.store.forget(oldest - self.copies.seconds, kept, self.window_of(kept))
        for event in events:
            self.store.post(event, wanted=self.settings.webhook is not None)
        return events

    def _first(self, until: int) -> int:
        """The first window to close."""
        if self.next is not None and self.detector.open.any():
            return self.next
        following = self.store.next_window(-(10**12) if self.next is None else self.next)
        return until if following is None else following

    def _close_one(self, window: int) -> list[dict[str, Any]]:
        """Test and learn one window; returns the events of alarms."""
        counts = self.store.counts(window)
        number = {name: i for i, name in enumerate(self.series)}
        for name in counts:
            if name not in number and len(self.series) < self.settings.max_series:
                number[name] = len(self.series)
                self.series.append(name)
            elif name not in number:
                self._count("of topics and entities beyond --max_series", name)
        self.detector.grow(len(self.series))
        still = {self.series[i]: (0, 0) for i in np.flatnonzero(self.detector.open)}
        chosen = sorted((number[name], *own) for name, own in {**still, **counts}.items() if name in number)
        rows, n, k = (np.array([one[i] for one in chosen], int) for i in range(3))
        when = self.when(window)
        names = [self.series[row] for row in rows]

        def supported(place: int) -> bool:
            every, negative = self.store.sources(window, names[place])
            return self._supported(int(rows[place]), when, every, negative)

        result = self.detector.window(rows, n, k, when, supported)
        self.store.add_windows(
            {
                **{"series": names[i], "window": window, "n": int(result.n[i]), "k": int(result.k[i])},
                **{"low": int(result.band[i, 0]), "high": int(result.band[i, 1])},
                **{"expected": float(result.expected[i]), "p": float(result.p[i]), "tested": int(result.tested[i])},
            }
            for i in np.flatnonzero(result.n)
        )
        begin, end = window * self.seconds, (window + 1) * self.seconds
        return alarm_events(self.store, self.correction, begin, end, names, result)

    def _supported(self, row: int, when: When, every: Counter[str], negative: Counter[str]) -> bool:
        """Whether a window would be an excess without its largest source of negative items, too."""
        if self.settings.min_sources < 2:
            return True
        if len(negative) < self.settings.min_sources:
            return False
        largest, most = negative.most_common(1)[0]
        n, k = every.total() - every[largest], negative.total() - most
        mixture, _ = self.detector.baseline.predict(np.array([row]), np.array([n]), when)
        return float(mixture[0, k:].sum()) <= SUPPORT

    def _announce(self, events: Sequence[Mapping[str, Any]]) -> None:
        if self.on_event is not None:
            for event in events:
                self.on_event(event)


def _by_time(items: Sequence[Item]) -> Iterator[Item]:
    """Items in the order in which they came; those that came together, the oldest first: a feed lists the newest first,
    whose time would make all others late."""
    for together, part in groupby(items, lambda item: item.together):
        own = [*part]
        yield from sorted(own, key=lambda item: item.at) if together else own


def _unforeseen(error: Exception) -> str:
    """Why an item cannot be read, where nobody has thought of it; the same for the same fault."""
    return f"it fails ({type(error).__name__})"


def plan_of(settings: NewsMonitorSettings) -> Plan:
    """The settings in windows."""
    return Plan(
        rate=settings.false_alarms_per_month * settings.window_minutes / MINUTES_PER_MONTH,
        memory=max(settings.windows(settings.memory_days), 1.0),
        learning=round(settings.windows(settings.learning_days)),
        quiet=settings.quiet_windows,
        longest=max(round(settings.windows(settings.longest_days)), 1),
    )
