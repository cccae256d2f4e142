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
from adapters.prompting.ensemble import Ensemble
from adapters.prompting.scoring import Reader
from adapters.prompting.shots import CANDIDATES, SELECTIONS, Nearest, balanced, draw, encoder, hardest
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, ENCODER_DECODER, Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

FILE = "prompt.json"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt with its shots; where these hang on the query, the candidates among which each query's are."""

    prompt: template.Prompt
    examples: list[Example]


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
    ensemble_prompts: list[str] = field(default_factory=list)
    """Further prompts, whose class probabilities are averaged with those of --prompt."""


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
        self.orders = settings.ensemble_orders if self.shots else 1
        require(self.orders >= 1, "ensemble_orders", self.orders, "at least 1")
        self.members: list[Asked] = []

    def check(self, base: Base, task: Task) -> None:
        """The task must be one that can be asked, and the base must write, or fill the mask that the prompt has."""
        if not task.answer_formats:
            raise ModelError(f"The task {task.name} cannot be prompted; train a method for it.")
        if not task.chosen_formats:
            self.check_kind(base, (CAUSAL, ENCODER_DECODER), f"the method {self.name}")
        for prompt in self._prompts(base, task):
            self._check_prompt(base, task, prompt)

    def _check_prompt(self, base: Base, task: Task, prompt: template.Prompt) -> None:
        """Raises ModelError or SettingsError where the base cannot be asked so."""
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
            written = "and --ensemble_orders 1 without --ensemble_prompts: the answers of this prompt are written, so there are no probabilities to average"  # noqa: E501
            require(self.orders == 1 and not self.settings.ensemble_prompts, "prompt", prompt.name, written)

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
        model = self._model(base)
        first = self.settings.seed * self.orders
        self.members = [Asked(prompt=prompt, examples=self._select(model, base, task, train, prompt, seed))
                        for prompt in self._prompts(base, task)
                        for seed in range(first, first + self.orders)]  # fmt: skip
        return model

    def _select(
        self, model: torch.nn.Module, base: Base, task: Task, train: Sequence[Example], prompt: template.Prompt,
        seed: int,
    ) -> list[Example]:  # fmt: skip
        """The shots of a draw; where they hang on the query, the candidates among which each query's are."""
        if self.selection == "nearest":
            draw(train, self.wanted, seed)
            return draw(train, min(len(train), max(CANDIDATES, self.wanted + 1)), seed)
        if self.selection == "balanced":
            return balanced(train, self.wanted, seed)
        if self.selection == "hardest":
            return hardest(train, self.wanted, seed, lambda some: self._likelihoods(model, base, task, prompt, some))
        return draw(train, self.wanted, seed)

    def _likelihoods(
        self, model: torch.nn.Module, base: Base, task: Task, prompt: template.Prompt, examples: list[Example]
    ) -> list[float]:
        """Of each gold answer, without shots."""
        require(prompt.answer in task.chosen_formats, "shot_selection", "hardest",
                f"another: what {task.name} asks for is written, so no answer's likelihood is known")  # fmt: skip
        asked = PromptPredictor(model, base, task, prompt, [], max_new_tokens=self.settings.max_new_tokens)
        found = Calibration().classes(asked.reading(examples, [0] * len(examples), []))
        return [float(row[task.labels.index[example.gold]]) for row, example in zip(found, examples, strict=True)]

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """The prompt and the shots, with nothing of the model."""
        members = [
            {"prompt": member.prompt.record(),
             "shots": [{"id": e.id, "inputs": dict(e.inputs), "gold": e.gold} for e in member.examples]}
            for member in self.members
        ]  # fmt: skip
        write_json(folder / FILE, {"members": members})

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The base; prompts and shots come from the folder."""
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))

        def fault(what: str, *where: str) -> ArtifactError:
            return ArtifactError(f"{folder / FILE}: not a prompt that can be used: {what}")

        try:
            self.members = []
            for member in found["members"]:
                prompt = template.from_record(member["prompt"])
                template.check({key: value for key, value in member["prompt"].items() if key != "name"}, task, fault)
                shots = [Example(id=s["id"], inputs=s["inputs"], gold=s["gold"]) for s in member["shots"]]
                self.members.append(Asked(prompt=prompt, examples=shots))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / FILE}: not a prompt of taskswap ({error!r}).") from error
        if not self.members:
            raise ArtifactError(f"{folder / FILE}: not a prompt of taskswap: it has no members.")
        for each in self.members:
            task.check_form(each.prompt.form)
        return self._model(base)

    def notes(self) -> dict[str, Any]:
        """The prompt's name, the number of shots, the calibration, and how many answer together."""
        names = list(dict.fromkeys(member.prompt.name for member in self.members))
        calibration = {} if self.calibration.name == "none" else {"calibration": self.calibration.name}
        selection = {} if self.selection == "random" else {"shot_selection": self.selection}
        together = {"ensemble": len(self.members)} if len(self.members) > 1 else {}
        shots = min(self.wanted, len(self.members[0].examples))
        return {"prompt": " + ".join(names), "shots": shots, **together, **selection, **calibration}

    def predictor(self, model: torch.nn.Module, base: Base, task: Task, *, precision: str = "no") -> Predictor:
        """The prompted model; where several prompts or orders are asked, all of them together."""
        model = frozen_in(model, precision)
        reader = Reader(model)
        found = [self._predictor(model, base, task, member, reader) for member in self.members]
        return found[0] if len(found) == 1 else Ensemble(found, task, base.pieces())

    def _predictor(
        self, model: torch.nn.Module, base: Base, task: Task, member: Asked, reader: Reader
    ) -> PromptPredictor:
        """The model asked by one prompt with one draw of shots."""
        nearest = None
        if self.selection == "nearest" and self.wanted:
            nearest = Nearest(member.examples, self.wanted, encoder(self.settings.shot_encoder))
        return PromptPredictor(
            model, base, task, member.prompt, member.examples[: self.wanted], nearest=nearest, reader=reader,
            max_new_tokens=self.settings.max_new_tokens, batch_rows=self.settings.per_device_eval_batch_size,
            calibration=self.calibration, constrained=self.settings.decoding == "constrained",
        )  # fmt: skip

    def _model(self, base: Base) -> torch.nn.Module:
        model: torch.nn.Module = base.load_generator()
        return model.requires_grad_(False)

    def _prompts(self, base: Base, task: Task) -> list[template.Prompt]:
        """The prompts asked for; or the task's one for this method or base, `<task>_<zero|few|cloze>`."""
        known = template.paths(self.settings.plugin_dir)
        usual = f"{task.name}_{'cloze' if base.kind == ENCODER else self.name.removesuffix('_shot')}"
        if self.settings.prompt is None and usual not in known:
            raise SettingsError(f"There is no prompt {usual}: {did_you_mean(usual, known)} Give --prompt.")
        names = dict.fromkeys([self.settings.prompt or usual, *self.settings.ensemble_prompts])
        return [template.load(name, task, self.settings.plugin_dir) for name in names]
