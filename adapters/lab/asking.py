"""One model that is loaded once and asked in every way; what it says of some texts is kept for every calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters import discovery, methods
from adapters.model import Base
from adapters.precision import frozen_in
from adapters.prompting.calibration import CONTENT_FREE, Calibration, Reading
from adapters.prompting.decoding import PromptPredictor
from adapters.prompting.scoring import Reader, packs
from adapters.prompting.shots import CANDIDATES, Nearest, encoder
from adapters.settings import CommonSettings, join
from adapters.tasks import ENCODER_DECODER, Example, Prediction, Task

if TYPE_CHECKING:
    import torch

METHOD = "few_shot"
"""The method whose shots are shown, so that a condition of the lab is a run of it."""
_OWN = frozenset({"prompt", "shots", "seed", "calibration", "score", "shot_selection"})
TOGETHER = ("orders", "prompts", "prompts+orders")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A prompt with some shots, drawn and ordered by a seed: what all calibrations share."""

    prompt: str
    shots: int
    order: int
    members: tuple[Draw, ...] = ()
    """Of an ensemble: the draws whose class probabilities are averaged; `prompt` names them."""

    @property
    def asked(self) -> tuple[Draw, ...]:
        """The draws that a model is asked by: the members, or this one."""
        return self.members or (self,)


def grid(prompts: Sequence[str], shots: Sequence[int], orders: int) -> list[Draw]:
    """Every draw, in the order of the table; without shots there is one order."""
    return [Draw(prompt=prompt, shots=number, order=order)
            for prompt in dict.fromkeys(prompts) for number in dict.fromkeys(shots)
            for order in range(orders if number else 1)]  # fmt: skip


def ensembles(draws: Sequence[Draw], kinds: Sequence[str]) -> list[Draw]:
    """Draws that answer together: those of one prompt (orders), of one order (prompts), or all of as many shots."""
    out = []
    for kind in dict.fromkeys(kinds):
        over = kind.split("+")
        together: dict[tuple[Any, ...], list[Draw]] = {}
        for draw in draws:
            apart = (draw.prompt * ("prompts" not in over), draw.shots, draw.order * ("orders" not in over))
            together.setdefault(apart, []).append(draw)
        for (_, shots, order), members in together.items():
            orders = len({draw.order for draw in members})
            name = " + ".join(dict.fromkeys(Path(draw.prompt).stem for draw in members))
            name += f" x {orders} orders" if orders > 1 else ""
            if len(members) > 1:
                out.append(Draw(prompt=name, shots=shots, order=order, members=tuple(members)))
    return out


def method_of(settings: Any, task: str, draw: Draw, calibration: Calibration | None = None) -> Any:
    """The prompting method with the settings of a draw. Raises SettingsError.

    Args:
        settings: of the lab.
        task: name of the task.
        draw: gives prompt, shots and seed.
        calibration: None for none.
    """
    calibration = calibration or Calibration()
    parts = [discovery.load("tasks", task, settings.plugin_dir), discovery.load("methods", METHOD)]
    kind = join(CommonSettings, *(part.Settings for part in parts))
    same = {field.name for field in dataclasses.fields(kind)} - _OWN
    given = {name: getattr(settings, name) for name in same if hasattr(settings, name)}
    own = kind(
        **given, prompt=draw.prompt, shots=draw.shots, seed=draw.order, calibration=list(calibration.steps),
        score=calibration.score, shot_selection=settings.shot_selection if draw.shots else "random",
    )  # fmt: skip
    return methods.load(METHOD)(own)


@dataclass(frozen=True, kw_only=True)
class Loaded(Base):
    """A base whose model is in memory already, so that no method loads it again."""

    model: Any

    def load_generator(self) -> Any:
        """The model."""
        return self.model


class SharedReading(PromptPredictor):
    """A prompted model that keeps what it has read: a second calibration of the same texts costs nothing."""

    def __init__(self, *given: Any, wanted: Sequence[Calibration], **named: Any) -> None:
        """Args:
        given: of `PromptPredictor`.
        wanted: the calibrations that will be asked for.
        named: of `PromptPredictor`, without `calibration`.
        """
        channel = [one for one in wanted if "channel" in one.steps]
        super().__init__(*given, **named, calibration=channel[0] if channel else None)
        self.channelled, self.plain = channel, [one for one in wanted if one not in channel]
        self.fitting: dict[str, int | None] = {}
        self.kept: dict[tuple[str, ...], Reading] = {}

    def predict_by(self, examples: Sequence[Example], calibration: Calibration) -> list[Prediction]:
        """Predictions by one of the wanted calibrations."""
        self.calibration = calibration
        return self.predict(examples)

    def fit(self, example: Example) -> int | None:
        """How many shots fit, counted once an example."""
        digest = example.digest()
        if digest not in self.fitting:
            self.fitting[digest] = super().fit(example)
        return self.fitting[digest]

    def reading(self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]) -> Reading:
        """How likely the words are, read once with all that the wanted calibrations need."""
        read = super().reading
        return self._once("words", examples, lambda: read(examples, shots, self.plain))

    def channel_reading(
        self, examples: Sequence[Example], shots: Sequence[int], wanted: Sequence[Calibration]
    ) -> Reading:
        """How likely the texts are behind the words, read once."""
        read = super().channel_reading
        return self._once("channel", examples, lambda: read(examples, shots, self.channelled))

    def _once(self, what: str, examples: Sequence[Example], read: Callable[[], Reading]) -> Reading:
        key = (what, *(example.digest() for example in examples))
        if key not in self.kept:
            self.kept[key] = read()
        return self.kept[key]

    def passes(self, number: int) -> int:
        """Texts that the model reads for so many examples, whatever the number of calibrations.

        Words are compared behind a text that is read once; a channel reads each text behind each word; an answer that
        is written takes one for each of its pieces. What all texts begin with counts one.
        """
        if self.choices is None:
            return number * self.max_new_tokens + 1
        times, words = self._times(), len(self.choices.pieces)
        out = 0
        for wanted, each in ((self.plain, times), (self.channelled, words)):
            steps = {step for one in wanted for step in one.steps}
            empty = len(CONTENT_FREE) if "contextual" in steps else 0
            beside = 4 * times if steps & {"pmi", "domain"} else 0  # two contexts, each perhaps in two parts
            out += (number + empty) * each + beside + 1 if wanted else 0
        return out

    def _times(self) -> int:
        """How often a text is read for all its words: once where they can stand side by side behind it."""
        assert self.choices is not None
        if self.prompt.masked:
            return len({len(pieces) for pieces in self.choices.pieces})
        return (
            1
            if packs(self.model, self.base.positions) and self.base.kind != ENCODER_DECODER
            else len(self.choices.pieces)
        )


class Asker:
    """Makes the predictors of all draws around one model."""

    def __init__(self, base: Base, task: Task, train: Sequence[Example], settings: Any, *, device: torch.device,
                 precision: str) -> None:  # fmt: skip
        """Args:
        base: found, not loaded.
        task: what is asked.
        train: where shots are drawn from.
        settings: of the lab.
        device: where the model runs.
        precision: of the forward pass.
        """
        self.found, self.task, self.train, self.settings = base, task, train, settings
        self.device, self.precision = device, precision
        self.vectors: dict[str, np.ndarray] = {}

    @cached_property
    def base(self) -> Loaded:
        """The base with its model, loaded when it is first needed."""
        model: Any = frozen_in(self.found.load_generator(), self.precision)
        same = {field.name: getattr(self.found, field.name) for field in dataclasses.fields(Base)}
        return Loaded(**same, model=model.to(self.device).eval())

    @cached_property
    def reader(self) -> Reader:
        """Reads for all draws: what one begins with as the one before is not read again."""
        return Reader(self.base.model)

    def predictor(self, draw: Draw, wanted: Sequence[Calibration]) -> SharedReading:
        """The model asked as the draw says."""
        method = method_of(self.settings, self.task.name, draw)
        model = method.wrap(self.base, self.task, self.train)
        (asked,) = method.members
        nearest = None
        if draw.shots and self.settings.shot_selection == "nearest":
            nearest = Nearest(asked.examples, draw.shots, self._embed)
        return SharedReading(
            model, self.base, self.task, asked.prompt, asked.examples[: draw.shots], wanted=wanted, nearest=nearest,
            max_new_tokens=self.settings.max_new_tokens, batch_rows=self.settings.per_device_eval_batch_size,
            reader=self.reader,
        )  # fmt: skip

    def passes(self, draw: Draw, wanted: Sequence[Calibration], number: int) -> int:
        """Texts that the model reads for so many examples of a draw, those among which shots are looked for too."""
        bare = self.predictor(dataclasses.replace(draw, shots=0), wanted)
        if not draw.shots or self.settings.shot_selection != "hardest":
            return bare.passes(number)
        plain = self.predictor(dataclasses.replace(draw, shots=0), [Calibration()])
        return bare.passes(number) + plain.passes(min(len(self.train), max(CANDIDATES, draw.shots)))

    @cached_property
    def _encoder(self) -> Callable[[list[str]], np.ndarray]:
        return encoder(self.settings.shot_encoder)

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Vectors of texts, each computed once."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        if new:
            self.vectors.update(zip(new, self._encoder(new), strict=True))
        return np.stack([self.vectors[text] for text in texts])
