"""All users' events up to a moment: recent popularity of the items, and which items the same users like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.applications.recommendation.events import Events

SECONDS_PER_DAY = 86_400.0
PER_USER = 200
"""Likes of a user that count in which items go together, the last ones: it grows with their square."""
SHRINK = 5.0
"""Added to the denominator of the cosine of two items' users, so that two common users by chance say little."""


class Behaviour:
    """Counts of likes, which are updated, and the cosines of items' users, which stay as of a moment."""

    def __init__(self, count: np.ndarray, recent: np.ndarray, at: np.ndarray, half_life: float, together: Any) -> None:
        """Args:
        count: float64 `[items]`, likes.
        recent: float64 `[items]`, likes that count half after each half-life, as of the item's last one.
        at: float64 `[items]`, the time of the item's last like; -inf without one.
        half_life: seconds.
        together: float32 `[items, items]`, sparse: cosines of items' users.
        """
        self.count, self.recent, self.at, self.half_life, self.together = count, recent, at, half_life, together

    @classmethod
    def of(cls, events: Events, items: int, half_life: float) -> Behaviour:
        """Of the likes among events, in order of time."""
        liked = events.likes
        found = cls.empty(half_life, cooccurrence(liked, items))
        for item, time in zip(liked.items.tolist(), liked.times.tolist(), strict=True):
            found.take(item, time)
        return found

    @classmethod
    def empty(cls, half_life: float, together: Any) -> Behaviour:
        """Before any like, with the cosines of items' users as they were found before."""
        items = together.shape[0]
        return cls(np.zeros(items), np.zeros(items), np.full(items, -np.inf), half_life, together)

    def take(self, item: int, time: float) -> None:
        """Count a like. One that comes late counts as much less as it is older than the item's last one."""
        self.count[item] += 1
        last = self.at[item]
        if time >= last:
            self.recent[item] = 1 + self.recent[item] * self._left(time - last)
            self.at[item] = time
        else:
            self.recent[item] += self._left(last - time)

    def add(self, items: int) -> None:
        """Make room for new items."""
        self.count, self.recent = (np.append(column, np.zeros(items)) for column in (self.count, self.recent))
        self.at = np.append(self.at, np.full(items, -np.inf))
        old = self.together
        indptr = np.append(old.indptr, np.full(items, old.indptr[-1], old.indptr.dtype))
        self.together = matrix(indptr, old.indices, old.data, len(self.count))

    @property
    def latest(self) -> float:
        """The time of the last like of all; 0 without any."""
        last = float(self.at.max(initial=-np.inf))
        return last if np.isfinite(last) else 0.0

    def popularity(self, time: float) -> np.ndarray:
        """float64 `[items]`: recent likes as of a moment."""
        found: np.ndarray = self.recent * np.exp2(-np.maximum(time - self.at, 0) / self.half_life)
        return found

    def with_history(self, history: Sequence[int]) -> np.ndarray:
        """float32 `[items]`: sums of the cosines with the items of a history (item-kNN: Sarwar et al. 2001)."""
        if not len(history):
            return np.zeros(len(self.count), np.float32)
        found: np.ndarray = np.asarray(self.together[list(history)].sum(0), np.float32).ravel()
        return found

    def _left(self, seconds: float) -> float:
        return 0.0 if seconds == np.inf else float(np.exp2(-seconds / self.half_life))


def matrix(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, items: int) -> Any:
    """A sparse matrix `[items, items]` of its parts, by scipy's names. Raises ValueError where they fit no matrix."""
    from scipy.sparse import csr_matrix

    return csr_matrix((data, indices, indptr), (items, items))


def half_life_of(events: Events, days: float | None) -> float:
    """The half-life in seconds: that given, or a tenth of the time that events span."""
    span = float(events.times[-1] - events.times[0]) if len(events) else 0.0
    return days * SECONDS_PER_DAY if days is not None else max(span / 10, 1.0)


def cooccurrence(liked: Events, items: int) -> Any:
    """float32 `[items, items]`, sparse: common users / (√(users of one · users of the other) + 5), without diagonal."""
    from scipy.sparse import csr_matrix, diags

    last, _ = liked.last_of_each(PER_USER)
    shape = len(last.names), items
    matrix = csr_matrix((np.ones(len(last), np.float32), (last.users, last.items)), shape)
    matrix.data[:] = 1  # a repeated like is one
    common = (matrix.T @ matrix).tocoo()
    users = np.sqrt(np.asarray(matrix.sum(0)).ravel())
    common.data /= users[common.row] * users[common.col] + SHRINK
    found = common.tocsr()
    return (found - diags(found.diagonal())).tocsr().astype(np.float32)
