"""Which pieces may come next, so that an answer can only be one that its task can read (`constraint`).

The answers make a machine of states: every thread through it is a rest of pieces and what comes behind them. Several
threads stay alive while they have begun with the same pieces. No thread is followed that could not end in time, so an
answer is whole however short its bound.

Lines may come in any order, as long as each is read as a place of its own: the first that reads so and is not taken.
Small models that have said all they know begin to say it again. A line may therefore begin with a word that is taken:
it ends the answer there, and is dropped. Were it forbidden, the model would have to name others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.constraint import Lines, Stretch

Pieces = tuple[int, ...]
START, NAMED, WORD, LINE, CLOSED, DONE, AGAIN = 0, 1, 2, 3, 4, 5, 6
UNENDING = 10**9


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is: a state; the words that lines have named; and the first and last word of the open line."""

    state: int
    taken: frozenset[int] = frozenset()
    first: int = 0
    last: int = 0

    @property
    def named(self) -> frozenset[int]:
        """The words that are taken when the open line ends."""
        return self.taken | {*range(self.first, self.last + 1)}


class Machine:
    """The answers that one text allows."""

    def __init__(self, constraint: Lines, cut: Callable[[str], list[int]], *, separator: str, end: int) -> None:
        """Args:
        constraint: of the text.
        cut: pieces of a text, nothing added.
        separator: text that ends an answer.
        end: the piece that ends an answer.
        """
        self.names = [tuple(cut(f"{name}:")) for name in constraint.names]
        self.none = tuple(cut(constraint.none))
        self.begins = [tuple(cut(f" {word}")) for word in constraint.words]
        self.goes_on = [None if gap is None else tuple(cut(gap + word))
                        for gap, word in zip(constraint.between, constraint.words, strict=True)]  # fmt: skip
        self.line = tuple(cut("\n"))
        self.ends = _ends(cut, separator, end)
        self.end = end
        self.words = constraint.words
        self.between = constraint.between

    def after(self, place: Place) -> Iterator[tuple[Pieces, Place]]:
        """What may be written at a place, and where that leads."""
        state, taken = place.state, place.taken
        number = len(self.begins)
        if state == START:
            yield self.none, Place(CLOSED)
        if state in (START, LINE) and len(taken) < number:
            for name in self.names:
                yield name, Place(NAMED, taken)
        if state == NAMED:
            for i in range(number):
                yield self.begins[i], Place(AGAIN if i in taken else WORD, taken, i, i)
        if state == WORD:
            following = self.goes_on[place.last + 1] if place.last + 1 < number else None
            if following is not None and place.last + 1 not in taken:
                yield following, Place(WORD, taken, place.first, place.last + 1)
            if self._reads_here(place) and len(place.named) < number:
                yield self.line, Place(LINE, place.named)
        if state == CLOSED or (state == WORD and self._reads_here(place)):
            for pieces in self.ends:
                yield pieces, Place(DONE)
        if state in (DONE, AGAIN):
            yield (self.end,), Place(state)

    def _reads_here(self, place: Place) -> bool:
        """Whether the open line is read as this stretch: no stretch on its left reads the same and is free."""
        return not any(
            self._text(i, i + place.last - place.first) == self._text(place.first, place.last)
            and not place.taken & {*range(i, i + place.last - place.first + 1)}
            for i in range(place.first)
        )

    def _text(self, first: int, last: int) -> tuple[Any, ...]:
        """A stretch as it is read."""
        return self.words[first : last + 1], self.between[first + 1 : last + 1]

    @property
    def sound(self) -> bool:
        """Whether each part has pieces: a tokenizer that drops line breaks, say, cannot write lines."""
        parts = [*self.names, self.none, *self.begins, *(one for one in self.goes_on if one is not None), self.line]
        return all(parts) and all(self.ends)

    def needed(self, place: Place) -> int:
        """Pieces of the shortest way from a place to an end, at most."""
        if place.state == WORD and not self._reads_here(place):
            return UNENDING  # what is read elsewhere has its own thread there
        if place.state in (WORD, CLOSED):
            return 1
        if place.state in (NAMED, LINE):
            free = min((len(self.begins[i]) for i in range(len(self.begins)) if i not in place.taken), default=0)
            return free + 1 + (min(map(len, self.names)) if place.state == LINE else 0)
        return len(self.none) + 1 if place.state == START else 0


class StretchMachine:
    """The stretches of one text, and what says that there is none."""

    def __init__(self, constraint: Stretch, cut: Callable[[str], list[int]], *, separator: str, end: int) -> None:
        """Args: as of `Machine`."""
        self.none = tuple(cut(f" {constraint.none}")) if constraint.none else ()
        self.begins = [tuple(cut(f" {word}")) for word in constraint.words]
        self.goes_on = [None if gap is None else tuple(cut(gap + word))
                        for gap, word in zip(constraint.between, constraint.words, strict=True)]  # fmt: skip
        self.ends = _ends(cut, separator, end)
        self.end = end

    def after(self, place: Place) -> Iterator[tuple[Pieces, Place]]:
        """What may be written at a place, and where that leads."""
        if place.state == START:
            if self.none:
                yield self.none, Place(CLOSED)
            for i, pieces in enumerate(self.begins):
                yield pieces, Place(WORD, last=i)
        if place.state == WORD and place.last + 1 < len(self.begins):
            following = self.goes_on[place.last + 1]
            if following is not None:
                yield following, Place(WORD, last=place.last + 1)
        if place.state in (WORD, CLOSED):
            for pieces in self.ends:
                yield pieces, Place(DONE)
        if place.state == DONE:
            yield (self.end,), place

    @property
    def sound(self) -> bool:
        """Whether each part has pieces, and there is something to write."""
        parts = [*self.begins, *(one for one in self.goes_on if one is not None), *self.ends]
        return all(parts) and bool(self.begins or self.none)

    def needed(self, place: Place) -> int:
        """Pieces of the shortest way from a place to an end."""
        if place.state == START:
            return min(map(len, [*self.begins, *([self.none] if self.none else [])]), default=0) + 1
        return 1 if place.state in (WORD, CLOSED) else 0


def _ends(cut: Callable[[str], list[int]], separator: str, end: int) -> list[Pieces]:
    """What may end an answer: its last piece, and the separator, by itself and as it is cut between two words.

    The two differ where a tokenizer takes white space apart in front of a word: an empty line is two pieces then.
    """
    word = cut("a")
    between = cut(f"a{separator}a")
    fits = between[: len(word)] == word and between[-len(word) :] == word
    inside = between[len(word) : len(between) - len(word)] if fits else []
    return list(dict.fromkeys([(end,), tuple(cut(separator)), *([tuple(inside)] if inside else [])]))


class Walk:
    """One answer as it is being written."""

    def __init__(self, machine: Machine | StretchMachine, room: int) -> None:
        """Args: the machine, and how many pieces the answer may have."""
        self.machine, self.room = machine, room
        self.written = 0
        self.threads = list(machine.after(Place(START)))

    def allowed(self, written: Sequence[int]) -> list[int]:
        """Pieces that may come behind those written, which go on from those of the call before."""
        self._follow(written)
        left = self.room - self.written
        open_ones = [rest[0] for rest, place in self.threads if len(rest) + self.machine.needed(place) <= left]
        return sorted(set(open_ones)) or [self.machine.end]

    def again(self, written: Sequence[int]) -> bool:
        """Whether the last line of a whole answer is one to drop."""
        self._follow(written)
        states = {place.state for _, place in self.threads}
        return AGAIN in states and DONE not in states

    def _follow(self, written: Sequence[int]) -> None:
        for piece in written[self.written :]:
            self._step(piece)
        self.written = max(self.written, len(written))

    def _step(self, piece: int) -> None:
        threads: list[tuple[Pieces, Place]] = []
        for rest, place in self.threads:
            if rest[0] == piece:
                threads += [(rest[1:], place)] if len(rest) > 1 else self.machine.after(place)
        self.threads = list(dict.fromkeys(threads))


def walks(constraints: Sequence[Lines | Stretch | None], tokenizer: Any, *, separator: str, room: int) -> list[Walk]:
    """A walk for each row; none where any row is free.

    Args:
        constraints: of each row.
        tokenizer: cuts texts.
        separator: text that ends an answer.
        room: pieces of an answer.
    """
    if not constraints or any(one is None for one in constraints):
        return []

    def cut(text: str) -> list[int]:
        options = {"add_special_tokens": False, "split_special_tokens": True}
        ids: list[int] = tokenizer(text, verbose=False, **options).input_ids
        return ids

    end = int(tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id)
    options: dict[str, Any] = {"separator": separator, "end": end}
    machines: list[Machine | StretchMachine] = [
        Machine(one, cut, **options) if isinstance(one, Lines) else StretchMachine(one, cut, **options)
        for one in constraints
        if one is not None
    ]
    made = [Walk(machine, room) for machine in machines]
    if not all(walk.machine.sound and walk.machine.needed(Place(START)) <= room for walk in made):
        return []
    return made
