"""Which pieces may come next, so that an answer can only be one that its task can read (`constraint.Lines`).

The answers make a machine of states: every thread through it is a rest of pieces and what comes behind them. Several
threads stay alive while they have begun with the same pieces. No thread is followed that could not end in time, so an
answer is whole however short its bound.

Small models that have said all they know begin to say it again. A line may therefore turn to a word that lies before
the last one written: it ends the answer there, and is dropped. Were it forbidden, the model would have to name others.
So does a line behind the first whose type or first word, if the model had its wish, would be none that may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.constraint import Lines

Pieces = tuple[int, ...]
START, NAMED, WORD, LINE, CLOSED, DONE, AGAIN = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is: a state, and the word that it is about (the last one written, or the first that may be)."""

    state: int
    word: int = 0


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
        self.ends = [(end,), tuple(cut(separator))]
        self.end = end
        sizes = [len(pieces) for pieces in self.begins]
        self.shortest = [min(sizes[i:], default=0) for i in range(len(sizes) + 1)]

    def after(self, place: Place) -> Iterator[tuple[Pieces, Place]]:
        """What may be written at a place, and where that leads."""
        state, word = place.state, place.word
        number = len(self.begins)
        if state == START:
            yield self.none, Place(CLOSED)
        if state in (START, LINE) and word < number:
            for name in self.names:
                yield name, Place(NAMED, word)
        if state == NAMED:
            for i in range(number):
                yield self.begins[i], Place(WORD if i >= word else AGAIN, i)
        if state == WORD and word + 1 < number:
            following = self.goes_on[word + 1]
            if following is not None:
                yield following, Place(WORD, word + 1)
            yield self.line, Place(LINE, word + 1)
        if state in (WORD, CLOSED):
            for pieces in self.ends:
                yield pieces, Place(DONE)
        if state in (DONE, AGAIN):
            yield (self.end,), Place(state)

    @property
    def sound(self) -> bool:
        """Whether each part has pieces: a tokenizer that drops line breaks, say, cannot write lines."""
        parts = [*self.names, self.none, *self.begins, *(one for one in self.goes_on if one is not None), self.line]
        return all(parts) and all(self.ends)

    def needed(self, place: Place) -> int:
        """Pieces of the shortest way from a place to an end."""
        if place.state in (WORD, CLOSED):
            return 1
        if place.state == NAMED:
            return self.shortest[place.word] + 1
        if place.state == LINE:
            return min(map(len, self.names)) + self.shortest[place.word] + 1
        return len(self.none) + 1 if place.state == START else 0


class Walk:
    """One answer as it is being written."""

    def __init__(self, machine: Machine, room: int) -> None:
        """Args: the machine, and how many pieces the answer may have."""
        self.machine, self.room = machine, room
        self.written = 0
        self.threads = list(machine.after(Place(START)))
        self.choosing = self.ended = False

    def allowed(self, written: Sequence[int], wish: int | None = None) -> list[int]:
        """Pieces that may come behind those written, which go on from those of the call before.

        Args:
            written: so far.
            wish: the piece that the model would write; None where that is not asked.
        """
        self._follow(written)
        left = self.room - self.written
        open_ones = [rest[0] for rest, place in self.threads if len(rest) + self.machine.needed(place) <= left]
        self.ended |= self.choosing and wish is not None and wish not in open_ones
        return [self.machine.end] if self.ended else sorted(set(open_ones)) or [self.machine.end]

    def again(self, written: Sequence[int]) -> bool:
        """Whether the last line of a whole answer is one to drop."""
        self._follow(written)
        states = {place.state for _, place in self.threads}
        return self.ended or (AGAIN in states and DONE not in states)

    def _follow(self, written: Sequence[int]) -> None:
        for piece in written[self.written :]:
            self._step(piece)
        self.written = max(self.written, len(written))

    def _step(self, piece: int) -> None:
        threads: list[tuple[Pieces, Place]] = []
        entered = [place for rest, place in self.threads if rest == (piece,)]
        for rest, place in self.threads:
            if rest[0] == piece:
                threads += [(rest[1:], place)] if len(rest) > 1 else self.machine.after(place)
        self.threads = list(dict.fromkeys(threads))
        self.choosing = any(place.state in (NAMED, LINE) and place.word > 0 for place in entered)


def walks(constraints: Sequence[Lines | None], tokenizer: Any, *, separator: str, room: int) -> list[Walk]:
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
    made = [Walk(Machine(one, cut, separator=separator, end=end), room) for one in constraints if one is not None]
    if not all(walk.machine.sound and walk.machine.needed(Place(START)) <= room for walk in made):
        return []
    return made
