"""A prompted model as a predictor: prompts are built, and the model writes an answer or chooses among known ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adapters.batching import by_length
from adapters.generation import generate
from adapters.inference import shared_out
from adapters.progress import Bar
from adapters.prompting.calibration import CONTENT_FREE, Calibration, Reading
from adapters.prompting.choosing import Choices
from adapters.prompting.constrained import walks
from adapters.prompting.scoring import Reader
from adapters.prompting.shots import Nearest
from adapters.prompting.template import Prompt
from adapters.tasks import Encoded, Example, Prediction, Task

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
        batch_rows: int | None = None, batch_pieces: int = 4096,
        calibration: Calibration | None = None, nearest: Nearest | None = None, constrained: bool = False,
        reader: Reader | None = None,
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
        calibration: how the likelihood of known answers becomes an answer.
        nearest: chooses shots for each example; `shots` are then shown to texts without content alone.
        constrained: only answers that the task can read may be written, where it can say which those are.
        reader: of the model, which may have read what these prompts begin with.
        """
        self.calibration = calibration or Calibration()
        self.model, self.base, self.task, self.prompt = model, base, task, prompt
        self.max_new_tokens = max_new_tokens
        self.batch_rows, self.batch_pieces = batch_rows, None if batch_rows else batch_pieces
        self.head = prompt.head(task)
        self.shots = [prompt.demonstration(task, shot) for shot in shots]
        self.nearest, self.constrained = nearest, constrained
        self.near: dict[str, list[str]] = {}
        """Of the examples that are being predicted, the shots of each by its digest."""
        self.channels = [self._channel(shot) for shot in shots] if "channel" in self.calibration.steps else []
        self.choices: Choices | None = None
        if prompt.answer in task.chosen_formats:
            self.choices = Choices(model, base, prompt, task.choices(prompt.form), reader)
        self.room = base.positions - (self.choices.longest if self.choices else max_new_tokens)

    def _channel(self, shot: Example) -> str:
        """A shot as the channel shows it, the separator included."""
        answer = self.task.write_answer(shot, self.prompt.form)
        return "".join(self.prompt.channelled(self.task, shot, answer)) + self.prompt.separator

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order, each example asked once over all processes."""
        return shared_out(examples, self._predict_here)

    def _predict_here(self, examples: list[Example]) -> list[Prediction]:
        out = [dataclasses.replace(self.task.read_answer(e, "", self.prompt.form), unparsed=True, truncated=True)
               for e in examples]  # fmt: skip
        if self.nearest is not None:
            self.near = {}
            for example, near in zip(examples, self.nearest.of(examples), strict=True):
                self.near[example.digest()] = [self.prompt.demonstration(self.task, shot) for shot in near]
        fitting = [self.fit(example) for example in examples]
        asked = [(i, number) for i, number in enumerate(fitting) if number is not None]
        if asked:
            answer = self._chosen if self.choices else self._written
            found = answer([examples[i] for i, _ in asked], [number for _, number in asked])
            for (i, number), prediction in zip(asked, found, strict=True):
                out[i] = dataclasses.replace(prediction, shots_dropped=len(self._shots_of(examples[i])) - number)
        return out

    def _written(self, examples: list[Example], shots: list[int]) -> list[Prediction]:
        """What the model writes, as the task reads it."""
        rows = [self.pieces(example, number) for example, number in zip(examples, shots, strict=True)]
        out: list[Prediction | None] = [None] * len(rows)
        lengths = [len(row) + self.max_new_tokens for row in rows]
        with _steps(len(rows)) as step:
            for batch in by_length(lengths, pieces=self.batch_pieces, rows=self.batch_rows):
                written_by = self._write([rows[i] for i in batch], [examples[i] for i in batch])
                for i, written in zip(batch, written_by, strict=True):
                    out[i] = self.task.read_answer(examples[i], written, self.prompt.form)
                step(len(batch))
        return [prediction for prediction in out if prediction is not None]

    def _chosen(self, examples: list[Example], shots: list[int]) -> list[Prediction]:
        """The likeliest of the known answers, as the task decodes a head's answer."""
        read = self.channel_reading if "channel" in self.calibration.steps else self.reading
        scores = self.calibration.classes(read(examples, shots, [self.calibration]))
        encoded = [Encoded(example=i, input_ids=[], targets=[]) for i in range(len(examples))]
        return self.task.decode(examples, encoded, list(scores), self.base.pieces())

    def reading(self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]) -> Reading:
        """How likely the words are for some examples with so many shots each, and what those calibrations need."""
        assert self.choices is not None
        steps = {step for calibration in wanted for step in calibration.steps}
        empty = contentless(examples[0], wanted)
        asked = [*zip(empty, [len(self.shots)] * len(empty), strict=True), *zip(examples, shots, strict=True)]

        def ask(mask: str) -> list[list[int]]:
            return [self.pieces(example, number, mask) for example, number in asked]

        with _steps(len(asked)) as step:
            return self.choices.reading(ask, empty=len(empty), context=bool(steps & {"pmi", "domain"}), step=step)

    def channel_reading(
        self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]
    ) -> Reading:
        """How likely the texts are behind the words, with as many shots as the longest text leaves room for."""
        assert self.choices is not None
        empty = contentless(examples[0], wanted)
        words = [word for word, _ in self.task.choices(self.prompt.form)]
        texts = [self.prompt.channelled(self.task, example, words[0])[1] for example in [*empty, *examples]]
        longest = max(texts, key=len)
        number = min(shots)
        while number and not self._fits(self.channel_fronts(examples[0], number, words), longest):
            number -= 1
        fronts = self.channel_fronts(examples[0], number, words)
        with _steps(len(texts)) as step:
            return self.choices.channel(fronts, texts, empty=len(empty), step=step)

    def channel_fronts(self, example: Example, shots: int, words: Sequence[str]) -> list[str]:
        """What stands in front of a text for each word: instruction, shots, and the channel up to the text."""
        before = self.head + "".join(self.channels[:shots])
        return [before + self.prompt.channelled(self.task, example, word)[0] for word in words]

    def _fits(self, fronts: Sequence[str], text: str) -> bool:
        tokenizer = self.base.text_tokenizer
        return max(len(self.prompt.cut(front + text, tokenizer)) for front in fronts) <= self.base.positions

    def _shots_of(self, example: Example) -> list[str]:
        """Demonstrations for an example, in order."""
        return self.near.get(example.digest(), self.shots) if self.near else self.shots

    def fit(self, example: Example) -> int | None:
        """How many shots fit in front of an example's query; None where not even the query fits."""
        mask = self.choices.mask(self.choices.longest) if self.choices else ""
        fitting = None
        low, high = 0, len(self._shots_of(example))
        number = high
        while low <= high:  # all shots are tried first, then halves: there may be far more than fit
            if len(self.pieces(example, number, mask)) <= self.room:
                fitting, low = number, number + 1
            else:
                high = number - 1
            number = (low + high) // 2
        return fitting

    def pieces(self, example: Example, shots: int, mask: str = "") -> list[int]:
        """Pieces of an example's prompt with the first so many shots.

        A blank at its end is left to the answer where that is one of known words: it is a part of their first piece.
        """
        question = self.prompt.question(self.task, example, mask)
        text = self.head + "".join(self._shots_of(example)[:shots]) + question
        return self.prompt.cut(text.rstrip(" ") if self.choices else text, self.base.text_tokenizer)

    def _write(self, rows: Sequence[Sequence[int]], examples: Sequence[Example]) -> list[str]:
        """The model's answers, up to the prompt's separator."""
        bounds = [self.task.constraint(e, self.prompt.form) if self.constrained else None for e in examples]
        ways = walks(bounds, self.base.text_tokenizer, separator=self.prompt.separator, room=self.max_new_tokens)
        allowed = (lambda row, written: ways[row].allowed(written)) if ways else None
        answers = generate(self.model, self.base.text_tokenizer, rows, max_new_tokens=self.max_new_tokens,
                           end=self.prompt.separator, allowed=allowed)  # fmt: skip
        texts = self.base.text_tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        texts = [_up_to(self.prompt.separator, text) for text in texts]
        for row, way in enumerate(ways):
            if way.again(answers[row]):
                texts[row] = texts[row].rpartition("\n")[0]
        return texts


@contextmanager
def _steps(number: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that is told how many are done."""
    with Bar("answering", number, shown=number >= BAR_FROM) as bar:

        def step(done: int) -> None:
            for _ in range(done):
                bar.step("")

        yield step


def _up_to(separator: str, text: str) -> str:
    """An answer in front of the separator; white space at its beginning that holds one is left out."""
    answer = text.lstrip()
    blank = text[: len(text) - len(answer)]
    return ("" if separator in blank else blank) + answer.split(separator)[0]


def contentless(example: Example, wanted: Sequence[Calibration]) -> list[Example]:
    """The example with texts without content in the place of its own, if one of the calibrations asks for them."""
    contents = CONTENT_FREE if any("contextual" in calibration.steps for calibration in wanted) else ()
    return [dataclasses.replace(example, inputs=dict.fromkeys(example.inputs, text), gold=None) for text in contents]
