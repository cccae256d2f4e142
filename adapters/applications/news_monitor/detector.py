"""Which windows of which series are alarms, at a stated rate of false alarms.

The false-alarm budget accrues at rate α per window, up to 24 windows' worth. The rejection region of a window is a set
of outcomes: a series, and a number of its negative items from which on there is an alarm. An outcome in the region
costs its null probability, that under the baseline, whether it occurs or not. The region is filled greedily from the
least likely outcome, over all series together, while the budget covers it; the rest is carried over. So the expected
number of false alarms is the accrued budget less what is left. Counts are discrete, but none of the rate is lost to
that, nothing is randomized, and a series with too few items to reject costs nothing.

Alpha investing (Foster and Stine 2008) also spends a budget of error probability on a sequence of tests; there it grows
by rejections, here by time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.applications.news_monitor.baseline import EXPERTS, MOST_CELLS, Array, Baseline, When

MAX_BUDGET_WINDOWS = 24
"""Windows whose accrual the budget holds at most, so that a quiet night does not loosen the test of the morning."""
EXCESS = 0.1
"""Largest p of a window with an excess: an alarm continues."""
STATE = ("open", "quiet", "since", "first")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stream is monitored. Durations are in windows.

    Attributes:
        rate: α, expected false alarms per window, over all series of a stream.
        memory: half-life of an item's weight.
        learning: warm-up, from a series' first item to its first test.
        quiet: consecutive windows without an excess that end an alarm.
        longest: maximum duration of an alarm, after which its level is the new one.
    """

    rate: float
    memory: float
    learning: int
    quiet: int = 2
    longest: int = 168


@dataclass(frozen=True, kw_only=True)
class WindowResult:
    """The test of a window of some series: all of [rows].

    Attributes:
        n: items; `k`: negative ones.
        expected: negative ones, by the baseline.
        p: probability of k or more, by the baseline.
        band: counts between which 95 % of windows are, [rows, 2].
        tested: whether the series was tested, that is, after its warm-up and without an alarm.
        raised, ended, settled: an alarm begins; ends; ends as the new level.
    """

    n: Array
    k: Array
    expected: Array
    p: Array
    band: Array
    tested: Array
    raised: Array
    ended: Array
    settled: Array


class AlarmDetector:
    """Tests all series of a stream, or (for simulations) of several streams, each with a budget of its own.

    Attributes:
        baseline: predicts the negative items of each series.
        budget: unspent false-alarm probability, [streams].
        last: number of the last window.
        open, quiet, since, first: of each series, whether an alarm is on, windows without an excess, the window in
            which it began, and the window of the first item (-1: none).
    """

    def __init__(self, plan: Plan, series: int = 0, streams: int = 1) -> None:
        self.plan = plan
        self.baseline = Baseline(series, plan.memory)
        self.budget, self.last = np.zeros(streams), -1
        self.open, self.quiet = np.zeros(series, bool), np.zeros(series, int)
        self.since, self.first = np.zeros(series, int), np.full(series, -1)

    def grow(self, series: int) -> None:
        """Add series up to this number."""
        more = series - len(self.open)
        self.baseline.grow(series)
        for name, fill in (("open", False), ("quiet", 0), ("since", 0), ("first", -1)):
            own = getattr(self, name)
            setattr(self, name, np.concatenate([own, np.full(more, fill, own.dtype)]))

    def forget(self, chosen: Array) -> None:
        """Reset these series: nothing is known of them."""
        self.baseline.forget(chosen)
        self.open[chosen], self.quiet[chosen], self.first[chosen] = False, 0, -1

    def window(
        self, rows: Array, n: Array, k: Array, when: When, supported: Callable[[int], bool] | None = None
    ) -> WindowResult:
        """Test a window, then learn it where no alarm is on.

        Args:
            rows: series, in ascending order; the streams have equal parts of all series, in order.
            n: their items; 0 where an alarm is on and there are none.
            k: their negative ones.
            when: the window, after the last one; those between had no items, and no alarm was on.
            supported: whether an alarm of the row at this index would rest on more than one source; None: all do.
        """
        plan = self.plan
        accrued = self.budget + (when.number - self.last) * plan.rate
        self.budget = np.minimum(accrued, MAX_BUDGET_WINDOWS * plan.rate)
        self.last = when.number
        self.first[rows] = np.where(self.first[rows] < 0, when.number, self.first[rows])
        ready = (when.number - self.first[rows] >= plan.learning) & ~self.open[rows]
        mixture, parts = self._predict(rows, n, when)
        tail = np.cumsum(mixture[:, ::-1], axis=1)[:, ::-1]
        at = np.arange(len(rows)), k
        least = self._rejection_region(rows, mixture, tail, ready)
        over = k >= least
        raised = over.copy()
        if supported is not None:
            raised[over] = [supported(int(place)) for place in np.flatnonzero(over)]
        was = self.open[rows]
        p = np.minimum(tail[at], 1.0)
        quiet = np.where(was & (p > EXCESS), self.quiet[rows] + 1, 0)
        ended = was & (quiet >= plan.quiet)
        settled = was & ~ended & (when.number - self.since[rows] >= plan.longest)
        self.since[rows] = np.where(raised, when.number, self.since[rows])
        self.quiet[rows], self.open[rows] = quiet, (was | raised) & ~ended & ~settled
        calm = ~was & ~raised
        for part, each in parts:
            own = calm[part]
            self.baseline.learn(rows[part][own], n[part][own], k[part][own], when, each[own])
            self.baseline.learn_alarm(rows[part][raised[part]], least[part][raised[part]], each[raised[part]])
        self.forget(rows[settled])
        below = np.cumsum(mixture, axis=1)
        band = np.stack([(below < edge).sum(1) for edge in (0.025, 0.975)], axis=1)
        return WindowResult(
            n=n,
            k=k,
            expected=mixture @ np.arange(mixture.shape[1]),
            p=p,
            band=np.minimum(band, n[:, None]),
            tested=ready,
            raised=raised,
            ended=ended,
            settled=settled,
        )

    def _predict(self, rows: Array, n: Array, when: When) -> tuple[Array, list[tuple[Array, Array]]]:
        """The mixture of all rows, and the experts in parts that fit into memory: (places, probabilities)."""
        most = int(n.max(initial=0)) + 1
        mixture, parts = np.zeros((len(rows), most)), []
        order, begin = np.argsort(n, kind="stable")[::-1], 0
        while begin < len(rows):
            cells = EXPERTS * (int(n[order[begin]]) + 1)
            part = order[begin : begin + max(MOST_CELLS // cells, 1)]
            begin += len(part)
            own, each = self.baseline.predict(rows[part], n[part], when)
            mixture[part, : own.shape[1]] = own
            parts.append((part, each))
        return mixture, parts

    def _rejection_region(self, rows: Array, mixture: Array, tail: Array, ready: Array) -> Array:
        """The smallest number of negative items that is an alarm, for each row; takes the cost off the budget."""
        least = np.full(len(rows), mixture.shape[1] + 1)
        streams = rows * len(self.budget) // max(len(self.open), 1)
        row, count = np.nonzero((tail <= self.budget[streams][:, None]) & (mixture > 0) & ready[:, None])
        group = streams[row]
        order = np.lexsort((tail[row, count], group))
        row, count, group = row[order], count[order], group[order]
        spent = np.cumsum(mixture[row, count])
        before = np.concatenate([[0.0], spent])[np.searchsorted(group, group)]
        spent = spent - before
        covered = spent <= self.budget[group]
        np.minimum.at(least, row[covered], count[covered])
        cost = np.zeros_like(self.budget)
        np.maximum.at(cost, group[covered], spent[covered])
        self.budget = self.budget - cost
        return least

    # as it is stored --------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """As JSON."""
        arrays = {name: getattr(self, name).tolist() for name in STATE}
        return {"account": self.budget.tolist(), "last": self.last, "baseline": self.baseline.record(), **arrays}

    def restore(self, record: dict[str, Any]) -> None:
        """Continue from a `record`."""
        self.budget, self.last = np.asarray(record["account"], float), int(record["last"])
        self.baseline.restore(record["baseline"])
        for name in STATE:
            setattr(self, name, np.asarray(record[name], getattr(self, name).dtype))
