"""Which windows of which series are alarms, at a rate of false ones that the user states.

The rate is kept by an account. Every window pays in its share of the rate; an outcome (a series, and a number of
negative items or more) that would be an alarm costs its probability under the baseline, before it is known whether it
happens. Outcomes are bought from the least likely upwards, over all series together, as long as the account covers
them; what is left is carried over. So the expected number of false alarms is what was paid in, less the rest: counts
are discrete, but nothing is lost to that, no draw decides, and a series too small to show anything costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.applications.news_monitor.baseline import EXPERTS, MOST_CELLS, Array, Baseline, When

CARRIED = 24
"""Windows whose share of the rate the account holds, at most: a quiet night does not pay for a rash morning."""
EXCESS = 0.1
"""An alarm goes on in a window at least as unlikely as this."""
STATE = ("open", "quiet", "since", "first")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stream is watched, in windows.

    Attributes:
        rate: false alarms a window, over all series of an account.
        memory: after so many, an item counts half.
        learning: so many pass between a series' first item and its first test.
        quiet: so many without an excess end an alarm.
        longest: after so many, an alarm is the new level.
    """

    rate: float
    memory: float
    learning: int
    quiet: int = 2
    longest: int = 168


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A window of some series: all of [rows].

    Attributes:
        rows: numbers of the series.
        n: items; `k`: negative ones.
        expected: negative ones, by the baseline.
        p: probability of k or more, by the baseline.
        band: counts between which 95 % of windows are, [rows, 2].
        tested: whether it could have been an alarm at all.
        over: it is as unlikely as an alarm has to be.
        raised, ended, settled: an alarm begins; ends; ends as the new level.
        open: an alarm is on after the window.
    """

    rows: Array
    n: Array
    k: Array
    expected: Array
    p: Array
    band: Array
    tested: Array
    over: Array
    raised: Array
    ended: Array
    settled: Array
    open: Array


class Watch:
    """All series of a stream, or (for simulations) of many streams with an account each.

    Attributes:
        baseline: what each series should have.
        account: what may be spent, [accounts].
        last: number of the last window.
        open, quiet, since, first: of each series, whether an alarm is on, windows without an excess, the window in
            which it began, and the window of the first item (-1: none).
    """

    def __init__(self, plan: Plan, series: int = 0, accounts: int = 1) -> None:
        self.plan = plan
        self.baseline = Baseline(series, plan.memory)
        self.account, self.last = np.zeros(accounts), -1
        self.open, self.quiet = np.zeros(series, bool), np.zeros(series, int)
        self.since, self.first = np.zeros(series, int), np.full(series, -1)

    def grow(self, series: int) -> None:
        """Add series, until there are so many."""
        more = series - len(self.open)
        self.baseline.grow(series)
        for name, fill in (("open", False), ("quiet", 0), ("since", 0), ("first", -1)):
            own = getattr(self, name)
            setattr(self, name, np.concatenate([own, np.full(more, fill, own.dtype)]))

    def forget(self, chosen: Array) -> None:
        """Begin anew with these series."""
        self.baseline.forget(chosen)
        self.open[chosen], self.quiet[chosen], self.first[chosen] = False, 0, -1

    def window(
        self, rows: Array, n: Array, k: Array, when: When, supported: Callable[[int], bool] | None = None
    ) -> Seen:
        """Test a window, then learn it where no alarm is on.

        Args:
            rows: series, in ascending order; the accounts have equal parts of all series, in order.
            n: their items; 0 where an alarm is on and there are none.
            k: their negative ones.
            when: which window, a later one than the last; those between had no items, and no alarm was on.
            supported: whether an alarm of the row at this place would rest on more than one source; None: all do.
        """
        plan = self.plan
        self.account = np.minimum(self.account + (when.number - self.last) * plan.rate, CARRIED * plan.rate)
        self.last = when.number
        self.first[rows] = np.where(self.first[rows] < 0, when.number, self.first[rows])
        ready = (when.number - self.first[rows] >= plan.learning) & ~self.open[rows]
        mixture, parts = self._predict(rows, n, when)
        tail = np.cumsum(mixture[:, ::-1], axis=1)[:, ::-1]
        at = np.arange(len(rows)), k
        least = self._bought(rows, mixture, tail, ready)
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
        return Seen(
            rows=rows,
            n=n,
            k=k,
            expected=mixture @ np.arange(mixture.shape[1]),
            p=p,
            band=np.minimum(band, n[:, None]),
            tested=ready,
            over=over,
            raised=raised,
            ended=ended,
            settled=settled,
            open=self.open[rows],
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

    def _bought(self, rows: Array, mixture: Array, tail: Array, ready: Array) -> Array:
        """For each row the least number of negative items that is an alarm; spends what that costs."""
        least = np.full(len(rows), mixture.shape[1] + 1)
        accounts = rows * len(self.account) // max(len(self.open), 1)
        row, count = np.nonzero((tail <= self.account[accounts][:, None]) & (mixture > 0) & ready[:, None])
        group = accounts[row]
        order = np.lexsort((tail[row, count], group))
        row, count, group = row[order], count[order], group[order]
        spent = np.cumsum(mixture[row, count])
        before = np.concatenate([[0.0], spent])[np.searchsorted(group, group)]
        spent = spent - before
        paid = spent <= self.account[group]
        np.minimum.at(least, row[paid], count[paid])
        cost = np.zeros_like(self.account)
        np.maximum.at(cost, group[paid], spent[paid])
        self.account = self.account - cost
        return least

    # as it is stored --------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """As JSON."""
        arrays = {name: getattr(self, name).tolist() for name in STATE}
        return {"account": self.account.tolist(), "last": self.last, "baseline": self.baseline.record(), **arrays}

    def restore(self, record: dict[str, Any]) -> None:
        """Take what `record` gave."""
        self.account, self.last = np.asarray(record["account"], float), int(record["last"])
        self.baseline.restore(record["baseline"])
        for name in STATE:
            setattr(self, name, np.asarray(record[name], getattr(self, name).dtype))
