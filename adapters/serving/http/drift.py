"""Drift: the answers of each version of an adapter, counted and compared with those on dev, window after window."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from adapters.artifacts.reference import Reference
from adapters.core.errors import ArtifactError
from adapters.serving.http.drift_window import Window, WindowTest
from adapters.serving.http.settings import Settings
from adapters.serving.http.telemetry import ServerMetrics
from adapters.tasks.base.observation import Observation

if TYPE_CHECKING:
    from adapters.serving.bank.adapter_loader import LoadedAdapter

NO_REFERENCE = "no reference in the card"
COUNTING = "counting"
STEADY = "no drift"
DRIFT = "drift"
VERSIONS = 2
"""Versions of an adapter whose counts are kept, the last ones."""
MOST = 1024
"""Versions of all adapters whose counts are kept."""
ADVICE = "Label some of the new texts and learn from them: taskswap continual --add new_task.toml RUN"


class VersionCounts:
    """The counts of one version of an adapter.

    Attributes:
        card: of the version.
        reference: of the card; None where it has none.
        state: what is known of its drift: the result of the last window, if one is complete.
        window: the answers since then.
        windows: number of complete windows.
        alarms: how many of them differed.
        last: the tests of the last one.
        ended: when it was complete, in seconds since 1970.
    """

    def __init__(self, card: Mapping[str, Any], reference: Reference | None) -> None:
        """Args: the card of the version, and its reference."""
        self.card, self.reference = card, reference
        self.state = NO_REFERENCE if reference is None else COUNTING
        self.window = Window(reference or Reference(texts=0))
        self.windows = self.alarms = 0
        self.last: list[WindowTest] = []
        self.ended = 0.0

    def record(self, adapter: str, version: int, rate: float) -> dict[str, Any]:
        """As JSON."""
        return {
            "adapter": adapter,
            "version": version,
            "state": self.state,
            "answers": self.window.answers,
            "windows": self.windows,
            "alarms": self.alarms,
            "dev_texts": None if self.reference is None else self.reference.texts,
            "last": None
            if not self.windows
            else {
                "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.ended)),
                "alarm": self.state == DRIFT,
                "tests": [_test_record(test, rate) for test in self.last],
            },
        }


class Drift:
    """Counts what a bank has answered, in a thread of its own: no request waits for it.

    Windows do not overlap, so each is a sample of its own, and the rate of false alarms is that of a window.
    """

    def __init__(self, settings: Settings, metrics: ServerMetrics) -> None:
        """Args: the size of a window and the rate of false alarms; what counts them for Prometheus."""
        self.size, self.rate, self.metrics = settings.drift_window, settings.drift_rate, metrics
        self.log = logging.getLogger("adapters.serving")
        self.lock = threading.Lock()
        self.counts: dict[tuple[str, int], VersionCounts] = {}
        self.thread = ThreadPoolExecutor(1, "drift") if self.size else None

    def start(self) -> None:
        """Import what the first window needs, so that no request waits for it then."""
        if self.thread is not None:
            self.thread.submit(importlib.import_module, "scipy.stats")

    def close(self) -> None:
        """Count what was answered, then end the thread. Blocks."""
        if self.thread is not None:
            self.thread.shutdown()

    @property
    def counts_answers(self) -> bool:
        """Whether answers are counted."""
        return self.thread is not None

    def take(self, observed: Sequence[tuple[LoadedAdapter, Observation]]) -> None:
        """Take what was observed of some answers; returns at once."""
        if self.thread is not None and observed:
            self.thread.submit(self._count, observed)

    def state(self, adapter: str, version: int) -> str | None:
        """What is known of a version's drift, in words; None where answers are not counted."""
        if not self.counts_answers:
            return None
        with self.lock:
            found = self.counts.get((adapter, version))
            return "no answers yet" if found is None else found.state

    def report(self) -> list[dict[str, Any]]:
        """The counts of each version, as JSON, sorted by name."""
        with self.lock:
            return [counts.record(*key, self.rate) for key, counts in sorted(self.counts.items())]

    # in the thread ----------------------------------------------------------------------------------------------------

    def _count(self, observed: Sequence[tuple[LoadedAdapter, Observation]]) -> None:
        try:
            for adapter, seen in observed:
                self._count_one(adapter, seen)
        except Exception:  # nobody waits for this thread's results
            self.log.exception("answers could not be counted for drift")

    def _count_one(self, adapter: LoadedAdapter, seen: Observation) -> None:
        counts = self.counts.get((adapter.name, adapter.version))
        if counts is None or counts.card is not adapter.card:
            counts = self._begin(adapter)
        self.metrics.count_observation(adapter.name, seen)
        if counts.reference is None:
            return
        counts.window.add(seen)
        if counts.window.answers >= self.size:
            self._end(adapter, counts)

    def _begin(self, adapter: LoadedAdapter) -> VersionCounts:
        """Counts of a version that has not answered yet, in the place of those that are too old."""
        reference = None
        try:
            reference = Reference.of_card(adapter.card)
        except ArtifactError as error:
            self.log.warning("drift of %s: %s", adapter.name, error)
        counts = VersionCounts(adapter.card, reference)
        with self.lock:
            own = sorted(key for key in self.counts if key[0] == adapter.name and key[1] != adapter.version)
            for key in own[: max(0, len(own) - VERSIONS + 1)]:
                del self.counts[key]
            while len(self.counts) >= MOST:
                del self.counts[next(iter(self.counts))]
            self.counts[adapter.name, adapter.version] = counts
        return counts

    def _end(self, adapter: LoadedAdapter, counts: VersionCounts) -> None:
        """Test a complete window, say what moved, and begin the next."""
        assert counts.reference is not None
        tests = counts.window.tests()
        moved = [test for test in tests if test.adjusted is not None and test.adjusted < self.rate]
        with self.lock:
            counts.window, counts.last, counts.ended = Window(counts.reference), tests, time.time()
            counts.windows += 1
            counts.alarms += bool(moved)
            counts.state = DRIFT if moved else STEADY
        self.metrics.count_window(adapter.name, alarm=bool(moved))
        if moved:
            self.log.warning(
                "drift: %s, version %d, over its last %s answers: %s. %s",
                adapter.name,
                adapter.version,
                f"{self.size:,}",
                "; ".join(map(_moved, moved)),
                ADVICE,
                extra={
                    "fields": {
                        "adapter": adapter.name,
                        "version": adapter.version,
                        "tests": [_test_record(test, self.rate) for test in tests],
                    }
                },
            )


def _test_record(test: WindowTest, rate: float) -> dict[str, Any]:
    """A test as JSON."""
    return {
        "name": test.name,
        "p": test.p,
        "adjusted_p": test.adjusted,
        "moved": test.adjusted is not None and test.adjusted < rate,
        "what": test.what,
        "dev": round(test.dev, 6),
        "window": round(test.window, 6),
    }


def _moved(test: WindowTest) -> str:
    """What moved from what to what."""
    return f"{test.what} from {test.dev:.3g} on dev to {test.window:.3g} (p = {test.adjusted:.1g})"
