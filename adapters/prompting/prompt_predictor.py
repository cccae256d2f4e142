"""A prompted model as a predictor, which generates an answer or chooses the likeliest label."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError
from adapters.core.progress import ProgressBar
from adapters.models.generation import generate
from adapters.prompting.calibration import CONTENT_FREE, Calibration, LabelLogProbs
from adapters.prompting.chat_template import ChatTemplate
from adapters.prompting.constrained_decoding import constrained_answers
from adapters.prompting.demonstrations import Nearest
from adapters.prompting.label_scoring import LabelScorer
from adapters.prompting.likelihood import CachedScorer
from adapters.prompting.prompt_form import ChatForm, PlainForm, PromptForm
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.predictor import Turn, shared_out
from adapters.tasks.base.task import PromptableTask

if TYPE_CHECKING:
    from adapters.models.base_model import Base

BAR_FROM = 32
"""Number of examples from which a progress bar is shown."""
TURN = 8
"""Examples that are answered in a turn, where others ask the same model."""


class PromptPredictor:
    """Prompts a frozen language model. Several processes share the examples, and all get all predictions.

    A query is never truncated. If it does not fit with all shots, the last ones are dropped, and the prediction says
    how many; if it does not fit without shots, there is no answer, and the prediction is marked as truncated.
    """

    def __init__(
        self,
        model: Any,
        base: Base,
        task: PromptableTask,
        prompt: Prompt,
        shots: Sequence[Example],
        *,
        chat: ChatTemplate | None = None,
        max_new_tokens: int,
        batch_rows: int | None = None,
        batch_tokens: int = 4096,
        calibration: Calibration | None = None,
        nearest: Nearest | None = None,
        constrained: bool = False,
        scorer: CachedScorer | None = None,
    ) -> None:
        """Args:
        model: with a language-model head, on its device.
        base: provides the tokenizer and the number of positions.
        task: formats shots and parses answers.
        prompt: the template.
        shots: demonstrations, in order.
        chat: the base's chat template, if the prompt is written as turns; a channel is one text in any case.
        max_new_tokens: maximum length of an answer.
        batch_rows: rows of a batch; None limits the batch by `batch_tokens` instead.
        batch_tokens: tokens of a batch with its answers, padding included.
        calibration: of the label log-probabilities.
        nearest: chooses shots for each example; `shots` are then used only with content-free texts.
        constrained: whether generation is constrained to answers that the task can parse, if it defines them.
        scorer: of the model, with its cache; None for a new one.
        """
        self.calibration = calibration or Calibration()
        self.model, self.base, self.task, self.prompt = model, base, task, prompt
        self.max_new_tokens = max_new_tokens
        self.batch_rows, self.batch_tokens = batch_rows, None if batch_rows else batch_tokens
        self.plain_form = PlainForm(prompt, task, base.word_tokenizer)
        self.form: PromptForm = ChatForm(prompt, task, chat) if chat else self.plain_form
        self.instruction = self.plain_form.instruction
        self.demonstrations = list(shots)
        self.shots = [self.form.shot(shot) for shot in shots]
        self.nearest, self.constrained = nearest, constrained
        self.nearest_shots: dict[str, list[Any]] = {}
        """Shots of the examples that are being predicted, by the digest of the example."""
        self.channel_shots = [self._channel_shot(shot) for shot in shots] if "channel" in self.calibration.steps else []
        self.scorer = scorer or CachedScorer(model)
        self.label_scorer: LabelScorer | None = None
        if prompt.answer in task.chosen_formats:
            words = task.choices(prompt.form)
            self.label_scorer = LabelScorer(model, base, prompt, self.form, self.plain_form, words, self.scorer)
        self.room = base.positions - (self.label_scorer.longest if self.label_scorer else max_new_tokens)
        self.turn: Turn = nullcontext
        self.turn_examples: int | None = None

    def in_turns(self, turn: Turn) -> PromptPredictor:
        """The same predictor on the same model, which answers a few examples in a turn; all of a call where they are
        calibrated by one another."""
        other = copy.copy(self)
        other.turn, other.nearest_shots = turn, {}
        other.turn_examples = None if {"batch", "channel"} & {*self.calibration.steps} else TURN
        return other

    def shown(self, example: Example) -> list[Example]:
        """The demonstrations that are shown before an example: those that fit, in order."""
        chosen = self.nearest.of([example])[0] if self.nearest is not None else self.demonstrations
        return chosen[: self.with_shots(chosen).fit(example) or 0]

    def with_shots(self, shots: Sequence[Example]) -> PromptPredictor:
        """The same, with these demonstrations before every example."""
        other = copy.copy(self)
        other.demonstrations, other.nearest, other.nearest_shots = list(shots), None, {}
        other.shots = [self.form.shot(shot) for shot in shots]
        channel = "channel" in self.calibration.steps
        other.channel_shots = [self._channel_shot(shot) for shot in shots] if channel else []
        return other

    def log_likelihood(self, example: Example, written: str) -> float:
        """The log-probability of a written answer after an example's prompt, summed over its tokens.

        Raises ModelError where not even the query fits.
        """
        number = self.fit(example)
        if number is None:
            raise ModelError("The text does not fit into the prompt, so it was not read. Shorten it.")
        scorer = LabelScorer(
            self.model, self.base, self.prompt, self.form, self.plain_form, [(written, 0)], CachedScorer(self.model)
        )
        with self.turn():
            found = scorer.word_log_probs(
                lambda mask: [self.tokens(example, number, mask)],
                content_free=0,
                unconditional=False,
                step=lambda _: None,
            )
        return float(found.words[0, 0])

    def _channel_shot(self, shot: Example) -> str:
        """A shot in the channel's direction, the separator included."""
        answer = self.task.write_answer(shot, self.prompt.form)
        return "".join(self.prompt.channel_parts(self.task, shot, answer)) + self.prompt.separator

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order; each example is predicted once over all processes."""
        return shared_out(examples, self._predict_share)

    def _predict_share(self, examples: list[Example]) -> list[Prediction]:
        """Predictions of the examples that are this process's, in turns."""
        out: list[Prediction] = []
        size = self.turn_examples or max(len(examples), 1)
        for begin in range(0, len(examples), size):
            with self.turn():
                out += self._predict_together(examples[begin : begin + size])
        return out

    def _predict_together(self, examples: list[Example]) -> list[Prediction]:
        out = [
            dataclasses.replace(self.task.read_answer(e, "", self.prompt.form), parse_failure=True, truncated=True)
            for e in examples
        ]
        if self.nearest is not None:
            self.nearest_shots = {}
            for example, shots in zip(examples, self.nearest.of(examples), strict=True):
                self.nearest_shots[example.digest()] = [self.form.shot(shot) for shot in shots]
        fitting = [self.fit(example) for example in examples]
        prompted = [(i, number) for i, number in enumerate(fitting) if number is not None]
        if prompted:
            answer = self._choose if self.label_scorer else self._generate
            predictions = answer([examples[i] for i, _ in prompted], [number for _, number in prompted])
            for (i, number), prediction in zip(prompted, predictions, strict=True):
                out[i] = dataclasses.replace(prediction, shots_dropped=len(self._shots_of(examples[i])) - number)
        return out

    def _generate(self, examples: list[Example], shots: list[int]) -> list[Prediction]:
        """Generated answers, parsed by the task."""
        out: dict[int, Prediction] = {}
        with _steps(len(examples)) as step:
            for number in dict.fromkeys(shots):  # rows with the same shots begin alike
                alike = [i for i, own in enumerate(shots) if own == number]
                rows = [self.tokens(examples[i], number) for i in alike]
                texts = self._generate_texts(rows, [examples[i] for i in alike], lambda row: step(1))
                for i, text in zip(alike, texts, strict=True):
                    out[i] = self.task.read_answer(examples[i], text, self.prompt.form)
        return [out[i] for i in range(len(examples))]

    def _choose(self, examples: list[Example], shots: list[int]) -> list[Prediction]:
        """The likeliest labels, decoded by the task as the output of a head."""
        score = self.channel_log_probs if "channel" in self.calibration.steps else self.label_log_probs
        scores = self.calibration.classes(score(examples, shots, [self.calibration]))
        encoded = [Encoded(example=i, input_ids=[], targets=[]) for i in range(len(examples))]
        return self.task.decode(examples, encoded, list(scores), self.base.word_tokenizer)

    def label_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], calibrations: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the words after each example with its number of shots, as the calibrations need them."""
        assert self.label_scorer is not None
        steps = {step for calibration in calibrations for step in calibration.steps}
        empty = content_free(examples[0], calibrations)
        rows = [*zip(empty, [len(self.shots)] * len(empty), strict=True), *zip(examples, shots, strict=True)]

        def prompts(mask: str) -> list[list[int]]:
            return [self.tokens(example, number, mask) for example, number in rows]

        with _steps(len(rows)) as step:
            return self.label_scorer.word_log_probs(
                prompts, content_free=len(empty), unconditional=bool(steps & {"pmi", "domain"}), step=step
            )

    def channel_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], calibrations: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the texts after the words, with as many shots as fit the longest text."""
        assert self.label_scorer is not None
        empty = content_free(examples[0], calibrations)
        words = [word for word, _ in self.task.choices(self.prompt.form)]
        texts = [self.prompt.channel_parts(self.task, example, words[0])[1] for example in [*empty, *examples]]
        longest = max(texts, key=len)
        number = min(shots)
        while number and not self._fits(self.channel_contexts(examples[0], number, words), longest):
            number -= 1
        contexts = self.channel_contexts(examples[0], number, words)
        with _steps(len(texts)) as step:
            return self.label_scorer.channel_log_probs(contexts, texts, content_free=len(empty), step=step)

    def channel_contexts(self, example: Example, shots: int, words: Sequence[str]) -> list[str]:
        """For each word the prompt up to the text: instruction, shots, and the beginning of the channel."""
        before = self.instruction + "".join(self.channel_shots[:shots])
        return [before + self.prompt.channel_parts(self.task, example, word)[0] for word in words]

    def _fits(self, contexts: Sequence[str], text: str) -> bool:
        tokenizer = self.base.word_tokenizer
        return max(len(self.prompt.tokenize(context + text, tokenizer)) for context in contexts) <= self.base.positions

    def _shots_of(self, example: Example) -> list[Any]:
        """Demonstrations for an example, in order."""
        return self.nearest_shots.get(example.digest(), self.shots) if self.nearest_shots else self.shots

    def fit(self, example: Example) -> int | None:
        """Number of shots that fit before an example's query; None if not even the query fits."""
        mask = self.label_scorer.mask(self.label_scorer.longest) if self.label_scorer else ""
        fitting = None
        low, high = 0, len(self._shots_of(example))
        number = high
        while low <= high:  # all shots first, then bisection
            if len(self.tokens(example, number, mask)) <= self.room:
                fitting, low = number, number + 1
            else:
                high = number - 1
            number = (low + high) // 2
        return fitting

    def tokens(self, example: Example, shots: int, mask: str = "") -> list[int]:
        """Tokens of an example's prompt with its first shots."""
        return self.form.tokens(self._shots_of(example)[:shots], example, mask)

    def _generate_texts(
        self, rows: Sequence[Sequence[int]], examples: Sequence[Example], finished: Callable[[int], None]
    ) -> list[str]:
        """Generated texts up to what ends an answer; `finished` is called with the number of each that is complete."""
        constraints = [self.task.constraint(e, self.prompt.form) if self.constrained else None for e in examples]
        constrained = constrained_answers(
            constraints,
            self.base.tokenizer,
            separator=self.form.end_text,
            max_tokens=self.max_new_tokens,
            lead=self.form.lead,
            end_tokens=self.form.end_tokens,
        )

        def allowed(row: int, generated: list[int]) -> list[int] | None:
            answer = constrained[row]
            return None if answer is None else answer.allowed(generated)

        answers = generate(
            self.model,
            self.base.tokenizer,
            rows,
            max_new_tokens=self.max_new_tokens,
            end=self.form.end_text,
            end_tokens=self.form.end_tokens,
            allowed=allowed if any(constrained) else None,
            tokens=self.batch_tokens,
            together=self.batch_rows,
            finished=finished,
            prefixes=self.scorer.prefixes,
        )
        texts = self.base.tokenizer.batch_decode(answers, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        texts = [_up_to(self.form.end_text, text) for text in texts]
        for row, answer in enumerate(constrained):
            if answer is not None and answer.ends_repeating(answers[row]):
                texts[row] = texts[row].rpartition("\n")[0]
        return texts


@contextmanager
def _steps(number: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; yields a function to call with the number of examples that are done."""
    with ProgressBar("answering", number, shown=number >= BAR_FROM) as bar:

        def step(done: int) -> None:
            for _ in range(done):
                bar.step("")

        yield step


def _up_to(separator: str, text: str) -> str:
    """The answer before the separator, if there is one; leading white space is removed if it contains one."""
    if not separator:
        return text
    answer = text.lstrip()
    space = text[: len(text) - len(answer)]
    return ("" if separator in space else space) + answer.split(separator)[0]


def content_free(example: Example, calibrations: Sequence[Calibration]) -> list[Example]:
    """The example with content-free texts instead of its own, if one of the calibrations needs them."""
    contents = CONTENT_FREE if any("contextual" in calibration.steps for calibration in calibrations) else ()
    return [dataclasses.replace(example, inputs=dict.fromkeys(example.inputs, text), gold=None) for text in contents]
