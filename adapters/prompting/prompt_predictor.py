"""A prompted model as a predictor, which generates an answer or chooses the likeliest label."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from adapters.core.errors import ModelError
from adapters.core.progress import ProgressBar
from adapters.models.generation import generate
from adapters.prompting.calibration import CONTENT_FREE, Calibration, LabelLogProbs, divided, prior_of
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

S = TypeVar("S")

BAR_FROM = 32
"""Number of examples from which a progress bar is shown."""
TURN = 8
"""Examples that are answered in a turn, where others ask the same model."""


class PromptPredictor:
    """Prompts a frozen language model. Several processes share the examples, and all get all predictions.

    A query is never truncated. If it does not fit with all shots, the last ones are dropped (of the nearest, the least
    similar), and the prediction says how many; if it does not fit without shots, there is no answer, and the prediction
    is marked as truncated.
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
        prior: np.ndarray | None = None,
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
        prior: what the calibration `batch` divides by, as `measured_prior` gives it.
        """
        self.calibration, self.prior = calibration or Calibration(), prior
        self.model, self.base, self.task, self.prompt = model, base, task, prompt
        self.max_new_tokens = max_new_tokens
        self.batch_rows, self.batch_tokens = batch_rows, None if batch_rows else batch_tokens
        self.plain_form = PlainForm(prompt, task, base.word_tokenizer)
        self.form: PromptForm = ChatForm(prompt, task, chat) if chat else self.plain_form
        self.instruction = self.plain_form.instruction
        self.demonstrations = list(shots)
        self.shots = [self.form.shot(shot) for shot in shots]
        self.nearest, self.constrained = nearest, constrained
        self.similar_last = nearest is not None
        """Whether shots are in order of similarity, so that the first ones are dropped where not all fit."""
        self.nearest_shots: dict[str, list[Any]] = {}
        """Shots of the examples that are being predicted, by the digest of the example."""
        self.channel_shots = [self._channel_shot(shot) for shot in shots] if "channel" in self.calibration.steps else []
        self.channel_lengths: dict[int, int] = {}
        """Tokens of the longest context of a channel, by the number of shots."""
        self.scorer = scorer or CachedScorer(model)
        self.label_scorer: LabelScorer | None = None
        if prompt.answer in task.chosen_formats:
            words = task.choices(prompt.form)
            self.label_scorer = LabelScorer(model, base, prompt, self.form, self.plain_form, words, self.scorer)
        self.room = base.positions - (self.label_scorer.longest if self.label_scorer else max_new_tokens)
        self.turn: Turn = nullcontext
        self.turn_examples: int | None = None

    def in_turns(self, turn: Turn) -> PromptPredictor:
        """The same predictor on the same model, which answers a few examples in a turn."""
        other = copy.copy(self)
        other.turn, other.nearest_shots = turn, {}
        other.turn_examples = TURN
        return other

    def shown(self, example: Example) -> list[Example]:
        """The demonstrations that are shown before an example: those that fit, in order."""
        chosen = self.nearest.of([example])[0] if self.nearest is not None else self.demonstrations
        return self._kept(chosen, self.with_shots(chosen).fit(example) or 0)

    def with_shots(self, shots: Sequence[Example]) -> PromptPredictor:
        """The same, with these demonstrations before every example."""
        other = copy.copy(self)
        other.demonstrations, other.nearest, other.nearest_shots = list(shots), None, {}
        other.shots = [self.form.shot(shot) for shot in shots]
        channel = "channel" in self.calibration.steps
        other.channel_shots = [self._channel_shot(shot) for shot in shots] if channel else []
        other.channel_lengths = {}
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
        return "".join(self.plain_form.channel_parts(shot, answer)) + self.prompt.separator

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
        self._find_nearest(examples)
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
        scores = self._class_log_probs(examples, shots)
        if "batch" in self.calibration.steps:
            assert self.prior is not None, "measured_prior comes first"
            scores = divided(scores, self.prior)
        encoded = [Encoded(example=i, input_ids=[], targets=[]) for i in range(len(examples))]
        return self.task.decode(examples, encoded, list(scores), self.base.word_tokenizer)

    def measured_prior(self, texts: Sequence[Example]) -> np.ndarray:
        """The logarithm `[classes]` of the mean class probabilities of some texts, by which `batch` divides.

        Texts that do not fit are left out. Raises ModelError if none fits.
        """
        self._find_nearest(texts)
        fitting = [(text, number) for text in texts if (number := self.fit(text)) is not None]
        if not fitting:
            raise ModelError("--calibration batch: no training text fits into the prompt. Give a shorter --prompt.")
        return prior_of(self._class_log_probs([text for text, _ in fitting], [number for _, number in fitting]))

    def _class_log_probs(self, examples: Sequence[Example], shots: Sequence[int]) -> np.ndarray:
        """Log-probability `[examples, classes]` by all steps of the calibration before `batch`."""
        score = self.channel_log_probs if "channel" in self.calibration.steps else self.label_log_probs
        out = np.zeros((len(examples), len(self.task.labels)))
        for number in dict.fromkeys(shots):  # content-free texts are read after as many shots as the texts
            alike = [i for i, own in enumerate(shots) if own == number]
            found = score([examples[i] for i in alike], [number] * len(alike), [self.calibration])
            out[alike] = self.calibration.classes(found)
        return out

    def label_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], calibrations: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the words after each example with its number of shots, as the calibrations need them.

        Content-free texts have the first example's number of shots.
        """
        assert self.label_scorer is not None
        steps = {step for calibration in calibrations for step in calibration.steps}
        empty = self._content_free(examples[0], shots[0], calibrations)
        rows = [*empty, *zip(examples, shots, strict=True)]

        def prompts(mask: str) -> list[list[int]]:
            return [self.tokens(example, number, mask) for example, number in rows]

        with _steps(len(rows)) as step:
            return self.label_scorer.word_log_probs(
                prompts, content_free=len(empty), unconditional=bool(steps & {"pmi", "domain"}), step=step
            )

    def channel_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], calibrations: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the texts after the words, each after its number of shots.

        Content-free texts have the first example's number of shots.
        """
        assert self.label_scorer is not None
        empty = self._content_free(examples[0], shots[0], calibrations)
        rows = [*empty, *zip(examples, shots, strict=True)]
        texts = [self._channel_text(example) for example, _ in rows]
        words = [word for word, _ in self.task.choices(self.prompt.form)]
        scores = np.zeros((len(rows), len(words)))
        with _steps(len(rows)) as step:
            for number in dict.fromkeys(number for _, number in rows):
                alike = [i for i, (_, own) in enumerate(rows) if own == number]
                contexts = self.channel_contexts(examples[0], number, words)
                scores[alike] = self.label_scorer.channel_log_probs(contexts, [texts[i] for i in alike], step=step)
        return LabelLogProbs(
            words=scores[len(empty) :],
            content_free=scores[: len(empty)],
            classes=self.label_scorer.classes,
            bytes=np.ones(len(words)),
            tokens=np.ones(len(words)),
        )

    def _content_free(
        self, example: Example, shots: int, calibrations: Sequence[Calibration]
    ) -> list[tuple[Example, int]]:
        """Content-free examples, each with as many of the shots as fit, if one of the calibrations needs them.

        Raises ModelError where none of them fits even without shots.
        """
        if not any("contextual" in calibration.steps for calibration in calibrations):
            return []
        found = [self.task.content_free(example, text) for text in CONTENT_FREE]
        fitting = [(one, min(number, shots)) for one in found if (number := self.fit(one)) is not None]
        if not fitting:
            raise ModelError("--calibration contextual: not even a text without content fits into the prompt.")
        return fitting

    def channel_contexts(self, example: Example, shots: int, words: Sequence[str]) -> list[str]:
        """For each word the prompt up to the text: instruction, shots, and the beginning of the channel."""
        before = self.instruction + "".join(self.channel_shots[:shots])
        return [before + self.plain_form.channel_parts(example, word)[0] for word in words]

    def _channel_text(self, example: Example) -> str:
        """The text of an example that is scored after each word."""
        word = self.task.choices(self.prompt.form)[0][0]
        return self.plain_form.channel_parts(example, word)[1]

    def _channel_length(self, example: Example, shots: int) -> int:
        """Tokens of the longest of the channel's contexts, which are the same for all examples."""
        if shots not in self.channel_lengths:
            words = [word for word, _ in self.task.choices(self.prompt.form)]
            contexts = self.channel_contexts(example, shots, words)
            tokens = (self.prompt.tokenize(one.rstrip(" "), self.base.word_tokenizer) for one in contexts)
            self.channel_lengths[shots] = max(map(len, tokens))
        return self.channel_lengths[shots]

    def _shots_of(self, example: Example) -> list[Any]:
        """Demonstrations for an example, in order."""
        return self.nearest_shots.get(example.digest(), self.shots) if self.nearest_shots else self.shots

    def _find_nearest(self, examples: Sequence[Example]) -> None:
        """Find the shots of each example, where they are chosen for each."""
        if self.nearest is not None:
            found = zip(examples, self.nearest.of(examples), strict=True)
            self.nearest_shots = {one.digest(): [self.form.shot(shot) for shot in shots] for one, shots in found}

    def fit(self, example: Example) -> int | None:
        """Number of shots that fit before an example's query; None if not even the query fits."""
        fits = self._fits_channel(example) if "channel" in self.calibration.steps else self._fits(example)
        fitting = None
        low, high = 0, len(self._shots_of(example))
        number = high
        while low <= high:  # all shots first, then bisection
            if fits(number):
                fitting, low = number, number + 1
            else:
                high = number - 1
            number = (low + high) // 2
        return fitting

    def _fits(self, example: Example) -> Callable[[int], bool]:
        """Whether a query fits after a number of shots, with the longest answer."""
        mask = self.label_scorer.mask(self.label_scorer.longest) if self.label_scorer else ""
        return lambda number: len(self.tokens(example, number, mask)) <= self.room

    def _fits_channel(self, example: Example) -> Callable[[int], bool]:
        """Whether a text fits after a number of shots and each of the words."""
        word = self.task.choices(self.prompt.form)[0][0]
        (context,) = self.channel_contexts(example, 0, [word])
        length = len(self.plain_form.continuation(context, self._channel_text(example)))
        return lambda number: self._channel_length(example, number) + length <= self.base.positions

    def tokens(self, example: Example, shots: int, mask: str = "") -> list[int]:
        """Tokens of an example's prompt with a number of its shots."""
        return self.form.tokens(self._kept(self._shots_of(example), shots), example, mask)

    def _kept(self, shots: Sequence[S], number: int) -> list[S]:
        """The shots that stay where only so many fit: the first ones, or the most similar, which are the last."""
        return list(shots[len(shots) - number :] if self.similar_last else shots[:number])

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
