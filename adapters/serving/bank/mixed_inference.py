"""Examples of different adapters and tasks answered together: encoded, batched by length, run, decoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from adapters.artifacts.heads import Head
from adapters.core.errors import DataError, ModelError
from adapters.models.batching import by_length, collate
from adapters.models.continuation import Continuation, Sampling, generate
from adapters.models.tokenizer import valid_text
from adapters.serving.bank.mixed_generation import MixedGenerator
from adapters.serving.bank.mixed_model import MixedModel
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.observation import Observation, observe
from adapters.tasks.base.predictor import Predictor, RowPredictor, TakesTurns
from adapters.tasks.base.task import InferenceTask

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

Given = TypeVar("Given")
Result = TypeVar("Result")
CHUNK = 2048
"""Examples encoded at a time."""
Proceed = Callable[[], None]
"""Called before each pass of an explanation; what it raises ends that."""
WRITTEN = 4
"""Times as many tokens as in a forward pass that rows may have while they are written: a step computes one of each."""


@dataclass(frozen=True, kw_only=True)
class ResidentAdapter:
    """An adapter in memory, as a batch needs it.

    Attributes:
        slot: in the weight pools.
        task: encodes and decodes.
        budget: tokens in a window.
        head: None where the base generates the answers.
        alone: what answers by itself, of an adapter that cannot join a mixed batch.
    """

    slot: int
    task: InferenceTask
    budget: int
    head: Head | None
    alone: Alone | None = None


class Alone:
    """A predictor of its own behind the bank. Threads take turns: prompted models keep a state while they answer."""

    def __init__(self, predictor: Predictor) -> None:
        """Args: what answers."""
        self.predictor = predictor
        self._next, self._computing = threading.Lock(), threading.Lock()

    def answer(
        self, task: InferenceTask, examples: Sequence[Example]
    ) -> tuple[Sequence[Prediction], list[Observation]]:
        """One prediction per example, and what is counted of each."""
        predictor = self.predictor
        with self._turn():
            if isinstance(predictor, RowPredictor):
                rows, found = predictor.encode_and_predict(examples)
                return found, observe(task, found, rows, predictor.tokenizer)
            found = predictor.predict(examples)
        return found, observe(task, found)

    @contextmanager
    def explained(self, proceed: Proceed) -> Iterator[Predictor]:
        """The predictor, as an explanation reads it: others are answered between its passes.

        Args:
            proceed: called before each of them.
        """

        @contextmanager
        def turn() -> Iterator[None]:
            with self._turn():
                proceed()
                yield

        if isinstance(self.predictor, TakesTurns):
            yield self.predictor.in_turns(turn)
        else:  # one that may have a state between two of its answers
            with turn():
                yield self.predictor

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Who computes. Who waits holds the other lock, so that who has just computed cannot go first again."""
        with self._next:
            self._computing.acquire()
        try:
            yield
        finally:
            self._computing.release()


@dataclass(frozen=True, slots=True)
class _Row:
    """One encoded row, its adapter, and the index of its answer."""

    resident: ResidentAdapter
    encoded: Encoded
    number: int


class MixedInference:
    """Runs examples of any adapters of one base."""

    def __init__(self, model: Any, base: Base, mixed: MixedModel, *, batch_tokens: int) -> None:
        """Args:
        model: the base, with its language-model head if it has one.
        base: for its tokenizer.
        mixed: wraps the model's body.
        batch_tokens: tokens in a batch, padding included.
        """
        self.model, self.base, self.mixed = model, base, mixed
        self.batch_tokens = batch_tokens
        self.tokenizer = base.word_tokenizer

    def predict(
        self, pairs: Sequence[tuple[ResidentAdapter, Example]], observed: list[Observation] | None = None
    ) -> list[Prediction]:
        """One prediction per example, in order; `observed` receives what is counted of each."""
        predictions: list[Prediction] = []
        for begin in range(0, len(pairs), CHUNK):
            predictions += self._predict_chunk(pairs[begin : begin + CHUNK], observed)
        return predictions

    def _predict_chunk(
        self, pairs: Sequence[tuple[ResidentAdapter, Example]], observed: list[Observation] | None
    ) -> list[Prediction]:
        by_adapter: dict[int, list[int]] = {}
        for number, (resident, _) in enumerate(pairs):
            by_adapter.setdefault(id(resident), []).append(number)
        encoded: list[tuple[list[int], list[_Row]]] = []
        rows: list[_Row] = []
        predictions: dict[int, Prediction] = {}
        seen: dict[int, Observation] = {}
        for numbers in by_adapter.values():
            resident = pairs[numbers[0]][0]
            if resident.alone is not None:
                found, counted = resident.alone.answer(resident.task, [pairs[i][1] for i in numbers])
                predictions.update(zip(numbers, found, strict=True))
                seen.update(zip(numbers, counted, strict=True))
                continue
            windows = resident.task.encode([pairs[i][1] for i in numbers], self.tokenizer, resident.budget)
            adapter_rows = [_Row(resident, window, len(rows) + i) for i, window in enumerate(windows)]
            rows += adapter_rows
            encoded.append((numbers, adapter_rows))
        answers = self._answers(rows)
        for numbers, adapter_rows in encoded:
            task, windows = pairs[numbers[0]][0].task, [row.encoded for row in adapter_rows]
            decoded = task.decode(
                [pairs[i][1] for i in numbers],
                windows,
                [answers[row.number] for row in adapter_rows],
                self.tokenizer,
            )
            predictions.update(zip(numbers, decoded, strict=True))
            if observed is not None:
                seen.update(zip(numbers, observe(task, decoded, windows, self.tokenizer), strict=True))
        if observed is not None:
            observed += [seen[number] for number in range(len(pairs))]
        return [predictions[number] for number in range(len(pairs))]

    def answers(self, resident: ResidentAdapter, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """What an adapter's task decodes of each encoded row."""
        return self._answers([_Row(resident, row, number) for number, row in enumerate(encoded)])

    def logits(self, resident: ResidentAdapter, head: Head, embeddings: torch.Tensor, row: Encoded) -> torch.Tensor:
        """The logits of copies of a row with other embeddings, with gradients.

        Args:
            resident: the adapter.
            head: its head.
            embeddings: of the row's tokens in each copy, `[rows, tokens, width]`.
            row: what else is read of it.
        """
        hidden = self.mixed.run_embedded(embeddings, resident.slot, row)
        inputs = self._inputs([row.input_ids] * len(embeddings))
        return head.logits(hidden.states, hidden.pooled, int(hidden.prompts[0]), inputs)

    def _answers(self, rows: Sequence[_Row]) -> list[np.ndarray]:
        """For each row the array from which its task decodes a prediction."""
        answers: list[np.ndarray] = [np.zeros(0)] * len(rows)
        headed = [row for row in rows if row.resident.head is not None]
        prompts = self.mixed.sizes("prompt", np.array([row.resident.slot for row in headed], np.int64))
        lengths = [len(row.encoded.input_ids) + int(prompt) for row, prompt in zip(headed, prompts, strict=True)]
        for batch in self._batches(lengths, [row.resident.slot for row in headed]):
            # Rows of one adapter are adjacent: their states are then a slice, which needs no copy.
            self._run_heads(sorted((headed[i] for i in batch), key=lambda row: row.resident.slot), answers)
        generating = sorted((row for row in rows if row.resident.head is None), key=lambda row: _kind(row.resident))
        for _, group in groupby(generating, key=lambda row: _kind(row.resident)):
            alike = list(group)
            lengths = [len(row.encoded.input_ids) for row in alike]
            for batch in self._batches(lengths, [row.resident.slot for row in alike]):
                self._run_generation([alike[i] for i in batch], answers)
        return answers

    def _batches(self, lengths: Sequence[int], slots: Sequence[int]) -> list[list[int]]:
        """Numbers of rows of similar length; of one adapter per batch if the body cannot keep rows apart."""
        batches = []
        for numbers in self._together(slots):
            slot_batches = by_length([lengths[number] for number in numbers], tokens=self.batch_tokens, rows=None)
            batches += [[numbers[i] for i in batch] for batch in slot_batches]
        return batches

    def _together(self, slots: Sequence[int]) -> list[list[int]]:
        """Numbers of rows that may share a batch: all, or those of one adapter if the body cannot keep rows apart."""
        if self.mixed.mixes:
            return [[*range(len(slots))]]
        return [[number for number, one in enumerate(slots) if one == slot] for slot in dict.fromkeys(slots)]

    def _run_heads(self, rows: Sequence[_Row], answers: list[np.ndarray]) -> None:
        """One forward pass of the body, then each adapter's head on its rows."""
        ids = [row.encoded.input_ids for row in rows]
        slots = [row.resident.slot for row in rows]
        hidden = self.mixed.run(ids, slots, [row.encoded.token_types for row in rows])
        begin = 0
        for _, group in groupby(rows, key=lambda row: row.resident.slot):
            adapter_rows = list(group)
            part = slice(begin, begin + len(adapter_rows))
            begin += len(adapter_rows)
            prompt = int(hidden.prompts[part][0])
            head = adapter_rows[0].resident.head
            assert head is not None
            inputs = self._inputs(ids[part], least=hidden.states.shape[1] - prompt)  # as wide as the states
            pooled = None if hidden.pooled is None else hidden.pooled[part]
            head_answers = head.answers(hidden.states[part], pooled, prompt, inputs, self.tokenizer)
            for row, answer in zip(adapter_rows, head_answers, strict=True):
                answers[row.number] = answer

    def _inputs(self, ids: Sequence[Sequence[int]], *, least: int = 0) -> dict[str, Any]:
        """Token ids and their mask, at least `least` wide, on the body's device."""
        inputs, _ = collate(ids, [[0]] * len(ids), self.mixed.pad_id, least=least)
        return {name: tensor.to(self.mixed.device) for name, tensor in inputs.items()}

    def _run_generation(self, rows: Sequence[_Row], answers: list[np.ndarray]) -> None:
        """Answers that the base generates for rows of one task, each under its own adapter."""
        model: Any = MixedGenerator(self.model, self.mixed, [row.resident.slot for row in rows])
        inputs = self._inputs([row.encoded.input_ids for row in rows])
        for row, answer in zip(rows, rows[0].resident.task.answers(model, inputs, self.tokenizer), strict=True):
            answers[row.number] = answer

    def prompt(self, slot: int, text: str, sampling: Sampling) -> list[int]:
        """Tokens of a text to continue, those that end a text left out.

        Raises ModelError if the adapter has a soft prompt, DataError if the text with its continuation exceeds the
        positions.
        """
        ids = self.tokenizer.encode_data(valid_text(text)).input_ids
        after = len(self.tokenizer.after)
        ids = ids[: len(ids) - after] if after else ids
        row = np.array([slot], np.int64)
        if self.mixed.sizes("prompt", row).any():
            raise ModelError("Text generation with a soft prompt is not supported. Use lora or prefix.")
        prefix, new = int(self.mixed.sizes("prefix", row)[0]), sampling.max_new_tokens
        needed = len(ids) + prefix + new
        if needed > self.base.positions:
            raise DataError(
                f"{len(ids)} tokens of text, {prefix} of a prefix and {new} to generate are {needed}; {self.base.name} "
                f"has {self.base.positions} positions. Shorten the text or lower max_new_tokens."
            )
        return list(ids)

    def generate(
        self,
        slots: Sequence[int],
        rows: Sequence[Sequence[int]],
        sampling: Sequence[Sampling],
        on_text: Callable[[int, str], bool] | None = None,
        on_complete: Callable[[int, Continuation], None] | None = None,
        more: Callable[[], tuple[int, Sequence[int], Sampling] | None] = lambda: None,
    ) -> list[Continuation]:
        """Continuations of rows of `prompt`, each under its own adapter; the rest as `models.continuation.generate`.

        `more` returns a row with its slot. It is not asked where the body cannot keep rows apart.
        """
        found: dict[int, Continuation] = {}
        for numbers in self._together(slots):
            group = list(numbers)
            generator = MixedGenerator(self.model, self.mixed, [slots[i] for i in group])

            def another(
                group: list[int] = group, generator: MixedGenerator = generator
            ) -> tuple[Sequence[int], Sampling] | None:
                joining = more() if self.mixed.mixes else None
                if joining is None:
                    return None
                generator.add(joining[0])
                group.append(len(group))
                return joining[1:]

            written = generate(
                generator,
                self.base.tokenizer,
                [rows[i] for i in group],
                [sampling[i] for i in group],
                None if on_text is None else partial(_renumbered, on_text, group),
                None if on_complete is None else partial(_renumbered, on_complete, group),
                tokens=WRITTEN * self.batch_tokens,
                more=another,
            )
            found.update(zip(group, written, strict=True))
        return [found[number] for number in range(len(found))]


def _renumbered(call: Callable[[int, Given], Result], group: Sequence[int], number: int, given: Given) -> Result:
    """Call something with the number of a row among all rows."""
    return call(group[number], given)


def _kind(resident: ResidentAdapter) -> str:
    """Rows of one kind can be generated together: their tasks call the model in the same way."""
    return repr((resident.task.name, sorted(map(repr, resident.task.card().items()))))
