"""One model, loaded once and prompted under every condition; its readings serve every calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core import discovery
from adapters.core.settings import CommonSettings, join
from adapters.methods.base.method import load_method
from adapters.methods.base.prompt_method import CONSTRAINED
from adapters.models.base_model import ENCODER_DECODER, Base
from adapters.models.precision import cast_frozen_model
from adapters.prompting.calibration import CONTENT_FREE, Calibration, LabelLogProbs
from adapters.prompting.demonstrations import CANDIDATES, Nearest
from adapters.prompting.likelihood import CachedScorer, supports_trees
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.tasks.base.embedding import text_embedder
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.task import PromptableTask

if TYPE_CHECKING:
    import torch

METHOD = "few_shot"
"""The method of the lab: a condition is a run of it."""
_OWN = frozenset({"prompt", "shots", "seed", "calibration", "score", "shot_selection"})
TOGETHER = ("seeds", "prompts", "prompts+seeds")


@dataclass(frozen=True, kw_only=True)
class PromptCondition:
    """A prompt with a number of shots, drawn and ordered by a seed; all calibrations share it."""

    prompt: str
    shots: int
    seed: int
    members: tuple[PromptCondition, ...] = ()
    """Of an ensemble: the conditions whose class probabilities are averaged; `prompt` then lists their names."""

    @property
    def singles(self) -> tuple[PromptCondition, ...]:
        """The conditions under which the model runs: the members, or this one."""
        return self.members or (self,)


def grid(prompts: Sequence[str], shots: Sequence[int], seeds: int) -> list[PromptCondition]:
    """Every condition, in the order of the table; without shots there is one seed."""
    return [
        PromptCondition(prompt=prompt, shots=number, seed=seed)
        for prompt in dict.fromkeys(prompts)
        for number in dict.fromkeys(shots)
        for seed in range(seeds if number else 1)
    ]


def ensembles(conditions: Sequence[PromptCondition], kinds: Sequence[str]) -> list[PromptCondition]:
    """Ensembles of conditions with equal shots: of one prompt (seeds), of one seed (prompts), or of all; each once."""
    out: dict[tuple[PromptCondition, ...], PromptCondition] = {}
    for kind in dict.fromkeys(kinds):
        over = kind.split("+")
        together: dict[tuple[Any, ...], list[PromptCondition]] = {}
        for condition in conditions:
            apart = (
                condition.prompt * ("prompts" not in over),
                condition.shots,
                condition.seed * ("seeds" not in over),
            )
            together.setdefault(apart, []).append(condition)
        for (_, shots, seed), members in together.items():
            seeds = len({condition.seed for condition in members})
            name = " + ".join(dict.fromkeys(Path(condition.prompt).stem for condition in members))
            name += f" x {seeds} seeds" if seeds > 1 else ""
            if len(members) > 1:
                one = PromptCondition(prompt=name, shots=shots, seed=seed, members=tuple(members))
                out.setdefault(one.members, one)
    return [*out.values()]


def method_of(settings: Any, task: str, condition: PromptCondition, calibration: Calibration | None = None) -> Any:
    """The prompting method with the settings of a condition. Raises SettingsError.

    Args:
        settings: of the lab.
        task: name of the task.
        condition: gives prompt, shots and seed.
        calibration: None for none.
    """
    calibration = calibration or Calibration()
    parts = [discovery.load("tasks", task, settings.plugin_dir), discovery.load("methods", METHOD)]
    kind = join(CommonSettings, *(part.Settings for part in parts))
    same = {field.name for field in dataclasses.fields(kind)} - _OWN
    given = {name: getattr(settings, name) for name in same if hasattr(settings, name)}
    own = kind(
        **given,
        prompt=condition.prompt,
        shots=condition.shots,
        seed=condition.seed,
        calibration=list(calibration.steps),
        score=calibration.score,
        shot_selection=settings.shot_selection if condition.shots else "random",
    )
    return load_method(METHOD)(own)


@dataclass(frozen=True, kw_only=True)
class LoadedBase(Base):
    """A base model that is in memory already, so that no method loads it again."""

    model: Any

    def load_generator(self) -> Any:
        """The model in memory."""
        return self.model


class CachedPromptPredictor(PromptPredictor):
    """A prompted model that keeps its readings: another calibration of the same texts costs nothing."""

    def __init__(
        self, *given: Any, wanted: Sequence[Calibration], reference: Sequence[Example] = (), **named: Any
    ) -> None:
        """Args:
        given: of `PromptPredictor`.
        wanted: the calibrations that will be used.
        reference: training texts over which the calibration `batch` takes its mean.
        named: of `PromptPredictor`, without `calibration`.
        """
        channel = [one for one in wanted if "channel" in one.steps]
        super().__init__(*given, **named, calibration=channel[0] if channel else None)
        self.channelled, self.plain = channel, [one for one in wanted if one not in channel]
        self.reference = list(reference)
        self.fitting: dict[tuple[bool, str], int | None] = {}
        self.kept: dict[tuple[str, ...], LabelLogProbs] = {}

    def predict_by(self, examples: Sequence[Example], calibration: Calibration) -> list[Prediction]:
        """Predictions by one of the wanted calibrations."""
        self.calibration = calibration
        self.prior = self.measured_prior(self.reference) if "batch" in calibration.steps else None
        return self.predict(examples)

    def fit(self, example: Example) -> int | None:
        """How many shots fit, counted once for each example, and once more for a channel."""
        key = "channel" in self.calibration.steps, example.digest()
        if key not in self.fitting:
            self.fitting[key] = super().fit(example)
        return self.fitting[key]

    def label_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the words, read once with everything the wanted calibrations need."""
        read = super().label_log_probs
        return self._once("words", examples, lambda: read(examples, shots, self.plain))

    def channel_log_probs(
        self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]
    ) -> LabelLogProbs:
        """Log-probabilities of the texts after the words, read once."""
        read = super().channel_log_probs
        return self._once("channel", examples, lambda: read(examples, shots, self.channelled))

    def _once(self, what: str, examples: Sequence[Example], read: Callable[[], LabelLogProbs]) -> LabelLogProbs:
        key = (what, *(example.digest() for example in examples))
        if key not in self.kept:
            self.kept[key] = read()
        return self.kept[key]

    def passes(self, number: int) -> int:
        """Texts that the model reads for a number of examples, with any number of calibrations.

        Words are compared after a text that is read once; a channel reads each text after each word; a generated answer
        takes one for each of its tokens. The common beginning of all texts counts one.
        """
        if self.label_scorer is None:
            return number * self.max_new_tokens + 1
        times, words = self._times(), len(self.label_scorer.tokens)
        out = 0
        for wanted, each in ((self.plain, times), (self.channelled, words)):
            steps = {step for one in wanted for step in one.steps}
            empty = len(CONTENT_FREE) if "contextual" in steps else 0
            read = number + empty + (len(self.reference) + empty if "batch" in steps else 0)
            contexts = 4 * times if steps & {"pmi", "domain"} else 0  # two contexts, each in up to two parts
            out += read * each + contexts + 1 if wanted else 0
        return out

    def _times(self) -> int:
        """How often a text is read for all words: once where they can be packed after it."""
        assert self.label_scorer is not None
        if self.prompt.masked:
            return len({len(tokens) for tokens in self.label_scorer.tokens})
        return (
            1
            if supports_trees(self.model, self.base.positions) and self.base.kind != ENCODER_DECODER
            else len(self.label_scorer.tokens)
        )


class PredictorFactory:
    """Makes the predictors of all conditions around one model."""

    def __init__(
        self,
        base: Base,
        task: PromptableTask,
        train: Sequence[Example],
        settings: Any,
        *,
        device: torch.device,
        precision: str,
    ) -> None:
        """Args:
        base: not loaded yet.
        task: of the lab.
        train: examples from which shots are drawn.
        settings: of the lab.
        device: where the model runs.
        precision: of the forward pass.
        """
        self.found, self.task, self.train, self.settings = base, task, train, settings
        self.device, self.precision = device, precision
        self.vectors: dict[str, np.ndarray] = {}

    @cached_property
    def base(self) -> LoadedBase:
        """The base with its model, loaded when first needed."""
        model: Any = cast_frozen_model(self.found.load_generator(), self.precision)
        same = {field.name: getattr(self.found, field.name) for field in dataclasses.fields(Base)}
        return LoadedBase(**same, model=model.to(self.device).eval())

    @cached_property
    def scorer(self) -> CachedScorer:
        """Scores texts for all conditions; a common beginning with the text before is not read again."""
        return CachedScorer(self.base.model)

    def predictor(self, condition: PromptCondition, wanted: Sequence[Calibration]) -> CachedPromptPredictor:
        """The model, prompted under the condition."""
        method = method_of(self.settings, self.task.name, condition)
        model = method.wrap(self.base, self.task, self.train)
        (member,) = method.members
        batch = any("batch" in one.steps for one in wanted)
        nearest = None
        if condition.shots and self.settings.shot_selection == "nearest":
            nearest = Nearest(member.examples, condition.shots, self._embed)
        return CachedPromptPredictor(
            model,
            self.base,
            self.task,
            member.prompt,
            member.examples[: condition.shots],
            wanted=wanted,
            reference=method.reference(self.train, member.examples) if batch else (),
            chat=member.chat,
            nearest=nearest,
            constrained=self.settings.decoding == CONSTRAINED,
            max_new_tokens=self.settings.max_new_tokens,
            batch_rows=self.settings.per_device_eval_batch_size,
            scorer=self.scorer,
        )

    def passes(self, condition: PromptCondition, wanted: Sequence[Calibration], number: int) -> int:
        """Texts that the model reads for a number of examples of a condition, including the candidates for shots."""
        bare = self.predictor(dataclasses.replace(condition, shots=0), wanted)
        if not condition.shots or self.settings.shot_selection != "hardest":
            return bare.passes(number)
        plain = self.predictor(dataclasses.replace(condition, shots=0), [Calibration()])
        return bare.passes(number) + plain.passes(min(len(self.train), max(CANDIDATES, condition.shots)))

    @cached_property
    def _encoder(self) -> Callable[[list[str]], np.ndarray]:
        return text_embedder(self.settings.shot_encoder)

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Vectors of texts, each computed once."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        if new:
            self.vectors.update(zip(new, self._encoder(new), strict=True))
        return np.stack([self.vectors[text] for text in texts])
