"""What the methods that only prompt share: a frozen language model, a prompt, and shots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import methods
from adapters.errors import ArtifactError, ModelError, SettingsError, did_you_mean
from adapters.files import write_json
from adapters.inference import Predictor
from adapters.precision import frozen_in
from adapters.prompting import template
from adapters.prompting.calibration import Calibration
from adapters.prompting.decoding import PromptPredictor
from adapters.prompting.shots import CANDIDATES, SELECTIONS, Nearest, balanced, draw, encoder, hardest
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, ENCODER_DECODER, Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

FILE = "prompt.json"


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """Settings of every method that prompts."""

    prompt: str | None = None
    """Name of a prompt (python -m adapters prompts lists them) or a .toml file. Default: the task's first."""
    max_new_tokens: int = 64
    """Longest answer, in pieces."""
    decoding: str = "constrained"
    """Where the model writes: constrained to answers that can be read, as far as the answer's format knows them (lines
    of known types and words of the text, for named entities), or free, with what cannot be read counted."""
    score: str = "sum"
    """Where known answers are compared: a word's log-likelihood whole (sum), by piece (mean), or by byte."""
    calibration: list[str] = field(default_factory=list)
    """What is taken out of those likelihoods: contextual, batch, pmi, domain, channel; several go together."""


class PromptMethod(methods.Method):
    """Nothing is trained; the artifact is the prompt with its shots, as JSON."""

    kinds = (CAUSAL, ENCODER_DECODER, ENCODER)
    trains = False
    shots: ClassVar[bool] = False
    """Whether demonstrations are shown; else `Settings` has no `shots`."""

    def __init__(self, settings: Any) -> None:
        """Args: settings: `prompt`, `max_new_tokens` and, where there are some, `shots`."""
        super().__init__(settings)
        require(settings.max_new_tokens >= 1, "max_new_tokens", settings.max_new_tokens, "at least 1")
        decoding = settings.decoding
        require(decoding in ("constrained", "free"), "decoding", decoding, "constrained or free")
        self.wanted = settings.shots if self.shots else 0
        require(self.wanted >= 0, "shots", self.wanted, "0 or more")
        self.selection = settings.shot_selection if self.shots else "random"
        require(self.selection in SELECTIONS, "shot_selection", self.selection, f"one of {', '.join(SELECTIONS)}")
        self.calibration = Calibration(
            score=settings.score, steps=tuple(s for s in settings.calibration if s != "none")
        )
        self.prompt: template.Prompt | None = None
        self.examples: list[Example] = []

    def check(self, base: Base, task: Task) -> None:
        """The task must be one that can be asked, and the base must write, or fill the mask that the prompt has."""
        if not task.answer_formats:
            raise ModelError(f"The task {task.name} cannot be prompted; train a method for it.")
        if not task.chosen_formats:
            self.check_kind(base, (CAUSAL, ENCODER_DECODER), f"the method {self.name}")
        prompt = self._prompt(base, task)
        if prompt.masked and base.kind != ENCODER:
            raise ModelError(
                f"The prompt {prompt.name} has a {{{{mask}}}}, which only an encoder fills; {base.name} is of the kind "
                f"{base.kind}. Give another --prompt, or an encoder ({methods.EXAMPLES[ENCODER]})."
            )
        if base.kind == ENCODER and not prompt.masked:
            raise ModelError(
                f"{base.name} is an encoder, which does not write but fills masks: give a --prompt whose query has "
                f"{{{{mask}}}} ({task.name}_cloze), or a base that writes ({methods.EXAMPLES[CAUSAL]})."
            )
        self._check_calibration(base, task, prompt)
        room = base.positions - self.settings.max_new_tokens
        bound = f"below {base.positions}, the positions of {base.name}"
        if prompt.answer not in task.chosen_formats:
            require(room > 0, "max_new_tokens", self.settings.max_new_tokens, bound)

    def _check_calibration(self, base: Base, task: Task, prompt: template.Prompt) -> None:
        """Raises SettingsError where there is nothing to calibrate, or the channel is not told or not read."""
        asked = self.calibration.name
        chosen = asked == "none" or prompt.answer in task.chosen_formats
        require(
            chosen, "calibration", asked, f"none: {task.name} is written by the model, no known answers are compared"
        )
        if "channel" in self.calibration.steps:
            told = f"with a prompt that has a channel, which {prompt.name} lacks"
            require(bool(prompt.channel), "calibration", asked, told)
            require(base.kind == CAUSAL, "calibration", asked, f"with a causal base ({methods.EXAMPLES[CAUSAL]})")

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The base with its language-model head, frozen."""
        self.prompt = self._prompt(base, task)
        model = self._model(base)
        self.examples = self._select(model, base, task, train)
        return model

    def _select(self, model: torch.nn.Module, base: Base, task: Task, train: Sequence[Example]) -> list[Example]:
        """The shots; where they hang on the query, the candidates among which each query's are."""
        seed = self.settings.seed
        if self.selection == "nearest":
            draw(train, self.wanted, seed)
            return draw(train, min(len(train), max(CANDIDATES, self.wanted + 1)), seed)
        if self.selection == "balanced":
            return balanced(train, self.wanted, seed)
        if self.selection == "hardest":
            return hardest(train, self.wanted, seed, lambda some: self._likelihoods(model, base, task, some))
        return draw(train, self.wanted, seed)

    def _likelihoods(self, model: torch.nn.Module, base: Base, task: Task, examples: list[Example]) -> list[float]:
        """Of each gold answer, without shots."""
        assert self.prompt is not None
        require(self.prompt.answer in task.chosen_formats, "shot_selection", "hardest",
                f"another: what {task.name} asks for is written, so no answer's likelihood is known")  # fmt: skip
        asked = PromptPredictor(model, base, task, self.prompt, [], max_new_tokens=self.settings.max_new_tokens)
        found = Calibration().classes(asked.reading(examples, [0] * len(examples), []))
        return [float(row[task.labels.index[example.gold]]) for row, example in zip(found, examples, strict=True)]

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """The prompt and the shots, with nothing of the model."""
        assert self.prompt is not None
        shots = [{"id": e.id, "inputs": dict(e.inputs), "gold": e.gold} for e in self.examples]
        write_json(folder / FILE, {"prompt": self.prompt.record(), "shots": shots})

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The base; prompt and shots come from the folder."""
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))

        def fault(what: str, *where: str) -> ArtifactError:
            return ArtifactError(f"{folder / FILE}: not a prompt that can be used: {what}")

        try:
            self.prompt = template.from_record(found["prompt"])
            template.check({key: value for key, value in found["prompt"].items() if key != "name"}, task, fault)
            self.examples = [Example(id=s["id"], inputs=s["inputs"], gold=s["gold"]) for s in found["shots"]]
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / FILE}: not a prompt of taskswap ({error!r}).") from error
        task.check_form(self.prompt.form)
        return self._model(base)

    def notes(self) -> dict[str, Any]:
        """The prompt's name, the number of shots, and the calibration."""
        assert self.prompt is not None
        calibration = {} if self.calibration.name == "none" else {"calibration": self.calibration.name}
        selection = {} if self.selection == "random" else {"shot_selection": self.selection}
        return {"prompt": self.prompt.name, "shots": min(self.wanted, len(self.examples)), **selection, **calibration}

    def predictor(self, model: torch.nn.Module, base: Base, task: Task, *, precision: str = "no") -> Predictor:
        """The prompted model."""
        assert self.prompt is not None
        nearest = None
        if self.selection == "nearest" and self.wanted:
            nearest = Nearest(self.examples, self.wanted, encoder(self.settings.shot_encoder))
        return PromptPredictor(
            frozen_in(model, precision), base, task, self.prompt, self.examples[: self.wanted], nearest=nearest,
            max_new_tokens=self.settings.max_new_tokens, batch_rows=self.settings.per_device_eval_batch_size,
            calibration=self.calibration, constrained=self.settings.decoding == "constrained",
        )  # fmt: skip

    def _model(self, base: Base) -> torch.nn.Module:
        model: torch.nn.Module = base.load_generator()
        return model.requires_grad_(False)

    def _prompt(self, base: Base, task: Task) -> template.Prompt:
        """The prompt asked for, or the task's one for this method or base, `<task>_<zero|few|cloze>`."""
        known = template.paths(self.settings.plugin_dir)
        usual = f"{task.name}_{'cloze' if base.kind == ENCODER else self.name.removesuffix('_shot')}"
        if self.settings.prompt is None and usual not in known:
            raise SettingsError(f"There is no prompt {usual}: {did_you_mean(usual, known)} Give --prompt.")
        return template.load(self.settings.prompt or usual, task, self.settings.plugin_dir)
