"""Errors for what a user can do wrong. Messages say what was given, what was needed, and what to do."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

MAX_SHOWN_FAULTS = 20
MAX_OF_A_KIND = 5
"""Faults that are listed of those that differ in a number or a quoted value alone."""
MAX_SHOWN_PLACES = 4
"""Places that are listed of a fault which occurs often."""
MAX_LISTED = 10
"""Names that are listed in a line."""


_OF_ONE = {"are": "is", "were": "was", "have": "has", "do": "does"}
"""Verbs whose form for one is not made by an s."""
_VALUE = re.compile(r"(?<!\w)'(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|\S*\d\S*")
"""What differs among faults of one kind: what is quoted, and numbers with what they are part of."""


class UserError(ValueError):
    """Invalid input by the user. Commands print only the message and exit with code 2."""


class SettingsError(UserError):
    """A flag or a settings file has an invalid value."""


class SourceError(UserError):
    """A model or a dataset cannot be found or fetched."""


class DataError(UserError):
    """A dataset contains rows that cannot be read without guessing.

    Attributes:
        faults: those of single rows, where it is they that cannot be read.
    """

    faults: Faults | None = None


class ModelError(UserError):
    """A base model does not suit the method, the task or the memory of this machine."""


class UnmixableError(ModelError):
    """An adapter cannot join others in a mixed batch; it can answer alone."""


class ArtifactError(UserError):
    """An artifact is damaged, foreign, or belongs to another base model."""


class BankError(UserError):
    """The name of an adapter is unknown, taken or not allowed, or the bank has no room for it."""


class UnknownAdapterError(BankError):
    """The bank has no adapter of that name."""


class CheckpointError(UserError):
    """A checkpoint is damaged, or could not be written."""


class ComparisonError(UserError):
    """Runs cannot be compared."""


class SessionError(UserError):
    """A conversation's session is another customer's, or could not be written."""


class Faults:
    """Collects faults of a dataset, and counts what was left out or changed in reading it.

    One error lists the first five faults of each kind and twenty in all, each with its places and its number; how many
    more there are like them; and the total.

    Attributes:
        count: faults so far.
        advice: what to do about them, each sentence once.
        notes: what was left out or changed, with its number.
    """

    def __init__(self, subject: str) -> None:
        """Args: subject: what is being read, for the message (a path or the name of a dataset)."""
        self.subject = subject
        self.count = 0
        self.advice: list[str] = []
        self.notes: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}
        self._times: Counter[str] = Counter()
        self._kinds: dict[str, list[str]] = {}
        self._more: Counter[str | None] = Counter()

    def add(self, where: str, what: str, advice: str = "") -> None:
        """Add a fault. `where` is `file:line`; `advice` says what to do and is printed once."""
        self.count += 1
        if what not in self._places:
            kind = _VALUE.sub("", what)
            if len(self._places) < MAX_SHOWN_FAULTS and len(self._kinds.get(kind, ())) < MAX_OF_A_KIND:
                self._kinds.setdefault(kind, []).append(what)
                self._places[what] = []
            else:
                self._more[kind if kind in self._kinds else None] += 1
        if what in self._places:
            self._times[what] += 1
            places = self._places[what]
            if len(places) < MAX_SHOWN_PLACES:
                places.append(where)
        if advice and advice not in self.advice:
            self.advice.append(advice)

    def note(self, what: str, count: int = 1) -> None:
        """Count what was left out or changed, in words that follow a number: `rows without a label left out`."""
        self.notes[what] += count

    @property
    def shown(self) -> list[str]:
        """A line for each fault that is listed: its first place, and the number and more places; and one for the rest
        of its kind."""
        lines = []
        for kind, listed in self._kinds.items():
            lines += [self._line(what, self._places[what]) for what in listed]
            if self._more[kind]:
                lines.append(f"… and {self._more[kind]:,} more like this")
        return [*lines, f"… and {numbered(self._more[None], 'others')}"] if self._more[None] else lines

    def _line(self, what: str, places: Sequence[str]) -> str:
        first, *others = places
        times = self._times[what]
        if times == 1:
            return f"{first}: {what}"
        file = first.rpartition(":")[0]
        more = ", ".join(place.removeprefix(f"{file}:") for place in others)
        return f"{first}: {what} ({times:,} times: also at {more}{', …' if times > len(places) else ''})"

    def raise_if_any(self) -> None:
        """Raises DataError that lists the faults, if there are any."""
        if not self.count:
            return
        head = f"{self.subject}: {numbered(self.count, 'faults')}:"
        error = DataError("\n  ".join([head, *self.shown]) + "".join(f"\n{a}" for a in self.advice))
        error.faults = self
        raise error


def numbered(count: int, what: str) -> str:
    """A number before words that begin with a plural: `5 rows left out`, and of one `1 row left out`."""
    first, blank, rest = what.partition(" ")
    if count == 1:
        first = f"{first[:-3]}y" if first.endswith("ies") else first.removesuffix("s")
    return f"{count:,} {first}{blank}{rest}"


def listing(names: Sequence[str], what: str, most: int = MAX_LISTED) -> str:
    """The number of things and the names of the first of them: `2 adapters: mood, ner`, `no adapters`."""
    if not names:
        return f"no {what}"
    return f"{numbered(len(names), what)}: {', '.join(names[:most])}{', …' if len(names) > most else ''}"


def verb(count: int, plural: str) -> str:
    """The form of a verb after a number of things, by that for several: `are` is `is` for one, and `occur` `occurs`."""
    return _OF_ONE.get(plural, f"{plural}s") if count == 1 else plural


def there_are(count: int, what: str) -> str:
    """`there are 5 training examples`, and of one `there is 1 training example`: `what` ends with a plural."""
    return f"there {verb(count, 'are')} {count:,} {what.removesuffix('s') if count == 1 else what}"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A clause for an error message: the most similar known names, or all of them if none is similar."""
    names: Sequence[str] = sorted(known)
    similar = most_similar(given, names)
    if similar:
        return f"did you mean {' or '.join(map(repr, similar))}?"
    return f"known: {', '.join(names) or 'none'}"


def refuse_single(given: object, needed: str, example: str) -> None:
    """Refuse what stands alone where several are needed: a text would be read letter by letter.

    Args:
        given: what must be a list, or another iterable.
        needed: what is taken, in the plural: `a list of requests`.
        example: of one in a list.

    Raises:
        DataError: it is a text, an object, or no iterable.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        shown = f"{given!r:.60}" + ("…" if len(repr(given)) > 60 else "")
        raise DataError(f"Give {needed}, even for one: {example}. Found {shown}.")


def most_similar(given: str, known: Iterable[str], *, least: float = 0.6) -> list[str]:
    """Up to three known names that are like a given one in any case, the most similar first; `least`: from 0 to 1."""
    by_lower: dict[str, list[str]] = {}
    for name in known:
        by_lower.setdefault(name.lower(), []).append(name)
    close = difflib.get_close_matches(given.lower(), by_lower, n=3, cutoff=least)
    return [name for lower in close for name in by_lower[lower]][:3]


def cause(error: Exception) -> str:
    """Why something cannot be read, for the middle of a message: without Python's numbers and names of classes."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{Path(error.filename).name}: " if error.filename else ""
        return f"{name}{error.strerror[:1].lower()}{error.strerror[1:]}"
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]!r}" if error.args else "it lacks an entry"
    return str(error) or "it is incomplete"
