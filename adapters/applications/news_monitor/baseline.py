"""How many negative items a window of each series should have: a mixture of beta-binomials that learns day and hour.

Experts predict the number k of negative ones among the n items of a window, each by a beta-binomial. They differ in the
mean (the level alone; by hour and weekday; the same, moved by the last days) and in the spread beyond chance
(PHI). Their weights are by how well they have predicted so far (prequential likelihood; Dawid 1984), so that hours,
drift and clustered items widen or narrow the prediction as far as they were seen. A mean's own uncertainty is in its
beta-binomial, by the number of items behind it (a Jeffreys prior for the level).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
HOURS, DAYS, MEANS = 24, 7, 3
PHI = (1e6, 1000.0, 500.0, 250.0, 125.0, 60.0, 30.0, 15.0)
"""Precisions of the share from window to window: 1e6 is none but chance's."""
SHRUNK = 20.0
"""Weight, in items, of the level as the prior of an hour's or weekday's share."""
RECENT = 14
"""Factor by which the memory of the last days is shorter."""
EXPERTS = MEANS * len(PHI)
MOST_CELLS = 4_000_000
"""Of one array; more series are predicted in parts."""
FIELDS = ("items", "negative", "day_items", "day_negative", "recent", "scores", "born")


@dataclass(frozen=True, kw_only=True)
class When:
    """A window's place in time: its number, and the hour and weekday in which it begins."""

    number: int
    hour: int
    day: int


class Baseline:
    """What was learned of each series.

    Attributes:
        memory: half-life of an item's weight, in windows.
        items: by hour, [series, 24]; `negative` the same.
        day_items: by weekday, [series, 7]; `day_negative` the same.
        recent: of the last days, items, negative ones, and how many by hour and weekday were expected, [series, 3].
        scores: logarithms of the experts' weights, [series, experts].
        born: number of each series' first window, [series, 1]; -1: none.
    """

    def __init__(self, series: int, memory: float) -> None:
        self.memory = memory
        self.last = 0
        self.items, self.negative = np.zeros((series, HOURS)), np.zeros((series, HOURS))
        self.day_items, self.day_negative = np.zeros((series, DAYS)), np.zeros((series, DAYS))
        self.recent = np.zeros((series, 3))
        self.scores = np.zeros((series, EXPERTS))
        self.born = np.full((series, 1), -1.0)

    def grow(self, series: int) -> None:
        """Add series of which nothing is known, up to this number."""
        for name in FIELDS:
            own = getattr(self, name)
            more = np.full((series - len(own), own.shape[1]), -1.0 if name == "born" else 0.0)
            setattr(self, name, np.concatenate([own, more]))

    def forget(self, chosen: Array) -> None:
        """Unlearn these series."""
        for name in FIELDS:
            getattr(self, name)[chosen] = -1.0 if name == "born" else 0.0

    def predict(self, rows: Array, n: Array, when: When) -> tuple[Array, Array]:
        """Probabilities of each number of negative items.

        Args:
            rows: series, [rows].
            n: their items in the window, [rows].
            when: the window.

        Returns:
            Of the mixture [rows, most + 1], and of the experts at all counts [rows, experts, most + 1]; `most` is the
            largest n.
        """
        a, b = self._shapes(rows, when)
        each = beta_binomials(n, a, b)
        weights = self.scores[rows] - self.scores[rows].max(-1, keepdims=True)
        weights = np.exp(weights)
        weights /= weights.sum(-1, keepdims=True)
        return np.einsum("rj,rjk->rk", weights, each), each

    def learn(self, rows: Array, n: Array, k: Array, when: When, each: Array) -> None:
        """Add a window. Args: as of `predict`; k: negative items, [rows]; each: what `predict` gave of experts."""
        self._age(when.number)
        self.born[rows] = np.where(self.born[rows] < 0, when.number, self.born[rows])
        expected, _ = self._by_time(rows, when, *self._level(rows))
        self._score(rows, np.take_along_axis(each, k[:, None, None], axis=2)[:, :, 0])
        self.items[rows, when.hour] += n
        self.negative[rows, when.hour] += k
        self.day_items[rows, when.day] += n
        self.day_negative[rows, when.day] += k
        self.recent[rows] += np.stack([n, k, n * _share(expected)], axis=1)

    def learn_alarm(self, rows: Array, least: Array, each: Array) -> None:
        """Learn of windows that raised an alarm only that they had at least `least`: a censored likelihood.

        Without it the largest windows were missing where the experts are weighted, and the spread was taken for smaller
        than it is; with their counts, a true surge would be taken for spread.
        """
        beyond = np.arange(each.shape[2]) >= least[:, None]
        self._score(rows, np.einsum("rjk,rk->rj", each, beyond.astype(float)))

    def _score(self, rows: Array, found: Array) -> None:
        """Weight the experts by the probabilities that they gave, [rows, experts]."""
        scores = self.scores[rows] + np.log(np.maximum(found, 1e-300))
        self.scores[rows] = scores - scores.max(-1, keepdims=True)

    def _age(self, number: int) -> None:
        """Let all items count less by the windows since the last one."""
        passed, self.last = max(number - self.last, 0), max(number, self.last)
        factor = 0.5 ** (passed / self.memory)
        for name in FIELDS[:-1]:
            own = getattr(self, name)
            own *= factor**RECENT if name == "recent" else factor

    def _level(self, rows: Array) -> tuple[Array, Array, Array]:
        """The share, [rows]; the items behind it; and what an item's weight is worth there.

        Weights halve with age, and the mean varies as that of (sum of weights)^2 / (sum of their squares) items.
        """
        age = np.where(self.born[rows, 0] < 0, 0.0, self.last - self.born[rows, 0])
        worth = 2.0 / (1.0 + 0.5 ** (age / self.memory))
        size = self.items[rows].sum(-1) * worth + 1.0
        return (self.negative[rows].sum(-1) * worth + 0.5) / size, size, worth

    def _by_time(self, rows: Array, when: When, level: Array, size: Array, worth: Array) -> tuple[Array, Array]:
        """The share by hour and weekday, as logits, and the items that it is worth."""
        by_hour, hour_size = _shrunk(self.negative[rows, when.hour] * worth, self.items[rows, when.hour] * worth, level)
        day_items, day_negative = (own[rows, when.day] * worth for own in (self.day_items, self.day_negative))
        by_day, day_size = _shrunk(day_negative, day_items, level)
        return _logit(by_hour) + _logit(by_day) - _logit(level), 1.0 / (1.0 / hour_size + 1.0 / day_size)

    def _shapes(self, rows: Array, when: When) -> tuple[Array, Array]:
        """The experts' beta distributions of the share, two of [rows, experts]."""
        level, size, worth = self._level(rows)
        both, both_size = self._by_time(rows, when, level, size, worth)
        items, negative, expected = self.recent[rows].T
        lately, lately_size = _shrunk(negative, items, level)
        moved = both + _logit(lately) - _logit(_shrunk(expected, items, level)[0])
        means = np.stack([level, _share(both), _share(moved)], axis=1)
        sizes = np.stack([size, both_size, 1.0 / (1.0 / both_size + 1.0 / lately_size)], axis=1)
        precision = 1.0 / (1.0 / sizes[:, :, None] + 1.0 / np.array(PHI))
        shapes = (means[:, :, None] * precision, (1.0 - means[:, :, None]) * precision)
        return shapes[0].reshape(len(rows), EXPERTS), shapes[1].reshape(len(rows), EXPERTS)

    # as it is stored --------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"last": self.last, **{name: getattr(self, name).tolist() for name in FIELDS}}

    def restore(self, record: dict[str, Any]) -> None:
        """Continue from a `record`."""
        self.last = int(record["last"])
        for name in FIELDS:
            own = getattr(self, name)
            setattr(self, name, np.asarray(record[name], dtype=float).reshape(-1, own.shape[1]))


def beta_binomials(n: Array, a: Array, b: Array) -> Array:
    """Probabilities of 0 to the largest n, [rows, experts, most + 1]. Args: n: [rows]; a, b: [rows, experts].

    By the ratio of neighbours, p(k + 1) / p(k) = (n - k)(k + a) / ((k + 1)(n - k - 1 + b)), which takes one logarithm.
    """
    most = int(n.max(initial=0))
    k = np.arange(most)
    left = (n[:, None] - k)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = left * (k + a[:, :, None]) / ((k + 1) * (left - 1 + b[:, :, None]))
        steps = np.log(np.where(left > 0, ratio, 0.0))
    found = np.zeros((*a.shape, most + 1))
    np.cumsum(steps, axis=2, out=found[:, :, 1:])
    found -= found.max(-1, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(-1, keepdims=True)
    return found


def _shrunk(negative: Array, items: Array, level: Array) -> tuple[Array, Array]:
    """A share that is the level where there are few items, and the number of items it is worth."""
    size = items + SHRUNK
    return (negative + SHRUNK * level) / size, size


def _logit(share: Array) -> Array:
    return np.log(share) - np.log1p(-share)


def _share(logit: Array) -> Array:
    found: Array = 1.0 / (1.0 + np.exp(-logit))
    return np.clip(found, 1e-6, 1 - 1e-6)
