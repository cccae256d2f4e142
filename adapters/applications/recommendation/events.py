"""Events of users with items, in order of time; and cases, which ask for a user's likes after a moment.

No case looks ahead: its history ends before its first target begins, and what is learned from ends before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events in order of time; equal times stay in the order in which they were given.

    Attributes:
        users: int64 `[events]`, numbers of users.
        items: int64 `[events]`, numbers of items.
        times: float64 `[events]`, seconds.
        liked: bool `[events]`, whether the event is a like, and not only a view.
        names: of the users.
        kinds: of the events, where they have any.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    liked: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, int, float, bool]], kinds: Iterable[str] = ()) -> Events:
        """Events of (user, item, time, liked), in any order, and their kinds."""
        given = list(rows)
        numbers: dict[str, int] = {}
        users = np.array([numbers.setdefault(user, len(numbers)) for user, _, _, _ in given], np.int64)
        items = np.array([item for _, item, _, _ in given], np.int64)
        times = np.array([time for _, _, time, _ in given], np.float64)
        liked = np.array([like for _, _, _, like in given], bool)
        order = np.argsort(times, kind="stable")
        columns = {"users": users, "items": items, "times": times, "liked": liked}
        ordered = {name: column[order] for name, column in columns.items()}
        return cls(**ordered, names=tuple(numbers), kinds=tuple(kinds))

    def __len__(self) -> int:
        return len(self.users)

    def where(self, chosen: np.ndarray) -> Events:
        """Some events, by a mask or their places in order."""
        columns = {name: getattr(self, name)[chosen] for name in ("users", "items", "times", "liked")}
        return replace(self, **columns)

    def before(self, time: float) -> Events:
        """The events before a moment."""
        return self.where(self.times < time)

    @property
    def likes(self) -> Events:
        """The events by which a user likes an item."""
        return self.where(self.liked)

    @cached_property
    def of_user(self) -> dict[int, np.ndarray]:
        """By user, the places of the events, in order of time."""
        order = np.argsort(self.users, kind="stable")
        begins = np.flatnonzero(np.diff(self.users[order], prepend=-1))
        parts = np.split(order, begins[1:]) if len(order) else []
        return {int(self.users[part[0]]): part for part in parts}

    def last_of_each(self, most: int) -> tuple[Events, int]:
        """With the last events of each user only, and how many were left out."""
        kept = np.zeros(len(self), bool)
        for part in self.of_user.values():
            kept[part[-most:]] = True
        return self.where(kept), int((~kept).sum())


@dataclass(frozen=True, kw_only=True)
class Case:
    """A user at a moment: what is known, and what the user liked afterwards.

    Attributes:
        user: the user's name.
        at: the moment, seconds: of the last event that is known, or just before the period of the targets if that is
            later. Popularity and age are of then, as in service they are of the last event of all users.
        history: numbers of the liked items, each once, the oldest first.
        seen: numbers of all items that the user has seen by then; they are not recommended.
        targets: numbers of the items that the user liked afterwards, none of them seen before.
        new: whether the user had no event when learning ended.
        candidates: numbers of the items among which the targets are ranked; None: all that the user has not seen.
    """

    user: str
    at: float
    history: tuple[int, ...]
    seen: frozenset[int]
    targets: tuple[int, ...]
    new: bool
    candidates: tuple[int, ...] | None = None


def cut_times(events: Events, dev: float, test: float) -> tuple[float, float]:
    """The times at which dev and test begin, so that they have about these percentages of the events.

    Events of one time are on one side of a cut: the later one.
    """
    count = len(events)
    first, second = (int(np.ceil(count * (100 - share) / 100)) for share in (dev + test, test))
    return tuple(float(events.times[min(place, count - 1)]) for place in (first, second))  # type: ignore[return-value]


def cases(events: Events, begin: float, end: float, new_user_clicks: int, moments: int = 1) -> list[Case]:
    """Cases of each user who liked something in a period that was not seen before.

    Of a user with events before the period, those are known. Of a new one, the first likes of the period are, and
    whatever comes later is to be found.

    Args:
        events: all of them, the later ones, too.
        begin: of the period, seconds.
        end: what is as late belongs to it no more.
        new_user_clicks: likes of a new user that are known.
        moments: cases of a user, at most; those after the first one know more of the period.
    """
    found = []
    for user, places in sorted(events.of_user.items()):
        times = events.times[places]
        inside = places[(times >= begin) & (times < end)]
        likes = inside[events.liked[inside]]
        new = not (times < begin).any()
        first = min(new_user_clicks, len(likes)) if new else 0
        for known_likes in dict.fromkeys(np.linspace(first, len(likes), moments, endpoint=False).astype(int).tolist()):
            if known_likes:
                at = events.times[likes[known_likes - 1]]
                known = places[times <= at]
            else:
                known = places[times < begin]
            case = _case(events, user, known, likes, new, float(np.nextafter(begin, -np.inf)))
            if case is not None:
                found.append(case)
    return found


def _case(events: Events, user: int, known: np.ndarray, likes: np.ndarray, new: bool, earliest: float) -> Case | None:
    """The case of a user of whom some events are known, at the earliest at a moment; None where nothing is, or nothing
    is left to be found."""
    if not len(known):
        return None
    at = max(float(events.times[known[-1]]), earliest)
    seen = frozenset(events.items[known].tolist())
    later = events.items[likes[events.times[likes] > at]].tolist()
    targets = tuple(item for item in _once(later) if item not in seen)
    if not targets:
        return None
    history = tuple(_once_last(events.items[known[events.liked[known]]].tolist()))
    return Case(user=events.names[user], at=at, history=history, seen=seen, targets=targets, new=new)


def histories(events: Events, items: int) -> Iterator[tuple[int, np.ndarray]]:
    """Of each first like of an item by a user: its place, and the items liked before it, the oldest first, each once.

    What has the same time is not before it. Likes without anything before them are left out.

    Args:
        events: to learn from.
        items: read of a history, at most, the last ones.
    """
    for places in events.of_user.values():
        likes = places[events.liked[places]]
        times, numbers = events.times[likes], events.items[likes].tolist()
        met: set[int] = set()
        before: list[int] = []
        begin = 0
        for place in range(len(likes)):
            if place and times[place] > times[place - 1]:
                for number in numbers[begin:place]:
                    if number in met:
                        before.remove(number)
                    met.add(number)
                    before.append(number)
                begin = place
            if before and numbers[place] not in met:
                yield int(likes[place]), np.array(before[-items:], np.int64)


def _once(numbers: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def _once_last(numbers: Sequence[int]) -> list[int]:
    """Each number once, at the place of its last occurrence."""
    return _once(numbers[::-1])[::-1]
