"""Examples of different adapters and tasks answered together: encoded, batched by length, run, decoded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.batching import by_length, collate
from adapters.errors import BankError
from adapters.generation import generate
from adapters.heads import Head
from adapters.mixed import MixedBody
from adapters.tasks import Encoded, Example, Prediction, Task
from adapters.writing import MixedWriter

if TYPE_CHECKING:
    from adapters.model import Base

CHUNK = 2048
"""Examples encoded and held at a time."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An adapter where a batch finds it.

    Attributes:
        slot: in the pools.
        task: encodes and decodes.
        budget: pieces of a window.
        head: None where the base writes the answers.
    """

    slot: int
    task: Task
    budget: int
    head: Head | None


@dataclass(frozen=True, slots=True)
class _Row:
    """One encoded row: whose it is, and where its answer goes."""

    placed: Placed
    encoded: Encoded
    number: int


class MixedInference:
    """Runs examples of any adapters of one base."""

    def __init__(self, model: Any, base: Base, mixed: MixedBody, *, batch_pieces: int) -> None:
        """Args:
        model: the base, with its language-model head if it can write.
        base: gives the tokenizer.
        mixed: around the model's body.
        batch_pieces: pieces of a batch, padding included.
        """
        self.model, self.base, self.mixed = model, base, mixed
        self.batch_pieces = batch_pieces
        self.pieces = base.pieces()
        self.turn = threading.Lock()
        """Of who encodes: a tokenizer keeps how it shall cut, so that threads would cut each other's texts."""

    def predict(self, wanted: Sequence[tuple[Placed, Example]]) -> list[Prediction]:
        """One prediction each, in order."""
        found: list[Prediction] = []
        for begin in range(0, len(wanted), CHUNK):
            found += self._chunk(wanted[begin : begin + CHUNK])
        return found

    def _chunk(self, wanted: Sequence[tuple[Placed, Example]]) -> list[Prediction]:
        numbers: dict[int, list[int]] = {}
        for number, (placed, _) in enumerate(wanted):
            numbers.setdefault(id(placed), []).append(number)
        encoded: list[tuple[list[int], list[_Row]]] = []
        rows: list[_Row] = []
        for theirs in numbers.values():
            placed = wanted[theirs[0]][0]
            with self.turn:
                made = placed.task.encode([wanted[i][1] for i in theirs], self.pieces, placed.budget)
            mine = [_Row(placed, row, len(rows) + i) for i, row in enumerate(made)]
            rows += mine
            encoded.append((theirs, mine))
        answers = self._answers(rows)
        found: dict[int, Prediction] = {}
        for theirs, mine in encoded:
            task = wanted[theirs[0]][0].task
            decoded = task.decode(
                [wanted[i][1] for i in theirs], [row.encoded for row in mine], [answers[row.number] for row in mine],
                self.pieces,
            )  # fmt: skip
            found.update(zip(theirs, decoded, strict=True))
        return [found[number] for number in range(len(wanted))]

    def _answers(self, rows: Sequence[_Row]) -> list[np.ndarray]:
        """What each row's task reads its prediction from."""
        answers: list[np.ndarray] = [np.zeros(0)] * len(rows)
        headed = [row for row in rows if row.placed.head is not None]
        prompts = self.mixed.sizes("prompt", np.array([row.placed.slot for row in headed], np.int64))
        lengths = [len(row.encoded.input_ids) + int(prompt) for row, prompt in zip(headed, prompts, strict=True)]
        for batch in self._batches(lengths, [row.placed.slot for row in headed]):
            # Rows of one adapter side by side: their states are a slice, which costs no copy.
            self._headed(sorted((headed[i] for i in batch), key=lambda row: row.placed.slot), answers)
        writing = sorted((row for row in rows if row.placed.head is None), key=lambda row: _kind(row.placed))
        for _, group in groupby(writing, key=lambda row: _kind(row.placed)):
            alike = list(group)
            lengths = [len(row.encoded.input_ids) for row in alike]
            for batch in self._batches(lengths, [row.placed.slot for row in alike]):
                self._written([alike[i] for i in batch], answers)
        return answers

    def _batches(self, lengths: Sequence[int], slots: Sequence[int]) -> list[list[int]]:
        """Numbers of rows of like length; of one adapter each where the body cannot keep rows apart."""
        if self.mixed.mixes:
            return by_length(lengths, pieces=self.batch_pieces, rows=None)
        batches = []
        for slot in dict.fromkeys(slots):
            theirs = [number for number, one in enumerate(slots) if one == slot]
            made = by_length([lengths[number] for number in theirs], pieces=self.batch_pieces, rows=None)
            batches += [[theirs[i] for i in batch] for batch in made]
        return batches

    def _headed(self, rows: Sequence[_Row], answers: list[np.ndarray]) -> None:
        """One forward pass of the body, then each adapter's head on its rows."""
        ids = [row.encoded.input_ids for row in rows]
        slots = [row.placed.slot for row in rows]
        hidden = self.mixed.run(ids, slots, [row.encoded.token_types for row in rows])
        begin = 0
        for _, group in groupby(rows, key=lambda row: row.placed.slot):
            theirs = list(group)
            part = slice(begin, begin + len(theirs))
            begin += len(theirs)
            prompt = int(hidden.prompts[part][0])
            head = theirs[0].placed.head
            assert head is not None
            inputs = self._inputs(ids[part], least=hidden.states.shape[1] - prompt)  # as wide as the states
            pooled = None if hidden.pooled is None else hidden.pooled[part]
            found = head.answers(hidden.states[part], pooled, prompt, inputs, self.pieces)
            for row, answer in zip(theirs, found, strict=True):
                answers[row.number] = answer

    def _inputs(self, ids: Sequence[Sequence[int]], *, least: int = 0) -> dict[str, Any]:
        """Pieces and their mask, at least so wide, where the body is."""
        inputs, _ = collate(ids, [[0]] * len(ids), self.mixed.pad_id, least=least)
        return {name: tensor.to(self.mixed.device) for name, tensor in inputs.items()}

    def _written(self, rows: Sequence[_Row], answers: list[np.ndarray]) -> None:
        """What the base writes, a task's rows together, each under its own adapter."""
        writer: Any = MixedWriter(self.model, self.mixed, [row.placed.slot for row in rows])
        inputs = self._inputs([row.encoded.input_ids for row in rows])
        for row, answer in zip(rows, rows[0].placed.task.answers(writer, inputs, self.pieces), strict=True):
            answers[row.number] = answer

    def write(self, slots: Sequence[int], texts: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """What the base writes on behind each text, greedily. Raises BankError where one is too long."""
        tokenizer = self.base.text_tokenizer
        written: list[str] = [""] * len(texts)
        with self.turn:
            ids = [tokenizer(text, verbose=False).input_ids for text in texts]
        self._check_room(slots, [len(row) for row in ids], max_new_tokens)
        for batch in self._batches([len(row) + max_new_tokens for row in ids], slots):
            writer = MixedWriter(self.model, self.mixed, [slots[i] for i in batch])
            rows = generate(writer, tokenizer, [ids[i] for i in batch], max_new_tokens=max_new_tokens)
            for i, row in zip(batch, rows, strict=True):
                written[i] = tokenizer.decode(row, skip_special_tokens=True)
        return written

    def _check_room(self, slots: Sequence[int], lengths: Sequence[int], max_new_tokens: int) -> None:
        """Raises BankError where a text and its answer take more positions than there are, or stand behind a prompt."""
        of_rows = np.array(slots, np.int64)
        if self.mixed.sizes("prompt", of_rows).any():
            raise BankError("Behind a soft prompt nothing is written here. Use lora or prefix.")
        for number, (length, prefix) in enumerate(zip(lengths, self.mixed.sizes("prefix", of_rows), strict=True)):
            needed = length + int(prefix) + max_new_tokens
            if needed > self.base.positions:
                raise BankError(
                    f"text {number}: {length} pieces, {prefix} of its prefix and {max_new_tokens} to write are "
                    f"{needed}; {self.base.name} has {self.base.positions} positions. Shorten it, or write less."
                )


def _kind(placed: Placed) -> str:
    """Rows of one kind can be written together: their tasks ask the same of a model."""
    return repr((placed.task.name, sorted(map(repr, placed.task.card().items()))))
