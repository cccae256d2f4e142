"""A prompted model as a predictor: prompts are built, the model writes, the task reads what it wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.batching import by_length
from adapters.generation import generate
from adapters.inference import autocast, shared_out
from adapters.progress import Bar
from adapters.prompting.template import Prompt
from adapters.tasks import Example, Prediction, Task

if TYPE_CHECKING:
    from adapters.model import Base

BAR_FROM = 32
"""Examples from which a progress bar is worth its line."""


class PromptPredictor:
    """Asks a frozen language model. With several processes each takes a share of the examples and all get all answers.

    A query is never cut. Where it does not fit with all shots, the last ones are dropped, and the prediction says how
    many; where it does not fit alone, the model is not asked, and the prediction says that it was truncated.
    """

    def __init__(
        self, model: Any, base: Base, task: Task, prompt: Prompt, shots: Sequence[Example], *, max_new_tokens: int,
        batch_rows: int | None = None, batch_pieces: int = 4096, precision: str = "no",
    ) -> None:  # fmt: skip
        """Args:
        model: with a language-model head, where it shall run.
        base: gives the tokenizer and the number of positions.
        task: writes shots and reads answers.
        prompt: the template.
        shots: demonstrations, in order.
        max_new_tokens: the longest answer, in pieces.
        batch_rows: rows of a batch; None bounds the batch by `batch_pieces` instead.
        batch_pieces: pieces of a batch with its answers, padding included.
        precision: `no`, `bf16` or `fp16`: autocast of the forward pass.
        """
        self.model, self.base, self.task, self.prompt = model, base, task, prompt
        self.max_new_tokens, self.precision = max_new_tokens, precision
        self.batch_rows, self.batch_pieces = batch_rows, None if batch_rows else batch_pieces
        self.room = base.positions - max_new_tokens
        self.head = prompt.head(task)
        self.shots = [prompt.demonstration(task, shot) for shot in shots]

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order, each example asked once over all processes."""
        return shared_out(examples, self._predict_here)

    def _predict_here(self, examples: list[Example]) -> list[Prediction]:
        out = [dataclasses.replace(self.task.read_answer(e, "", self.prompt.form), unparsed=True, truncated=True)
               for e in examples]  # fmt: skip
        fitted = [self.fit(example) for example in examples]
        asked = [i for i, (row, _) in enumerate(fitted) if row is not None]
        rows = [row for row, _ in fitted if row is not None]
        lengths = [len(row) + self.max_new_tokens for row in rows]
        with Bar("answering", len(rows), shown=len(rows) >= BAR_FROM) as bar:
            for batch in by_length(lengths, pieces=self.batch_pieces, rows=self.batch_rows):
                for number, written in zip(batch, self._write([rows[i] for i in batch]), strict=True):
                    i = asked[number]
                    read = self.task.read_answer(examples[i], written, self.prompt.form)
                    out[i] = dataclasses.replace(read, shots_dropped=len(self.shots) - fitted[i][1])
                    bar.step("")
        return out

    def fit(self, example: Example) -> tuple[list[int] | None, int]:
        """Pieces of an example's prompt with as many shots as fit, and how many; None where not even the query fits."""
        question = self.prompt.question(self.task, example)
        fitting: tuple[list[int] | None, int] = None, 0
        low, high = 0, len(self.shots)
        number = high
        while low <= high:  # all shots are tried first, then halves: there may be far more than fit
            row = self._pieces(self.head + "".join(self.shots[:number]) + question)
            if len(row) <= self.room:
                fitting, low = (row, number), number + 1
            else:
                high = number - 1
            number = (low + high) // 2
        return fitting

    def _pieces(self, text: str) -> list[int]:
        ids: list[int] = self.base.text_tokenizer(text, verbose=False).input_ids
        return ids

    def _write(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The model's answers, up to the prompt's separator."""
        device = next(self.model.parameters()).device
        with autocast(device, self.precision):
            answers = generate(self.model, self.base.text_tokenizer, rows, max_new_tokens=self.max_new_tokens,
                               end=self.prompt.separator)  # fmt: skip
        texts = self.base.text_tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.split(self.prompt.separator)[0] for text in texts]
