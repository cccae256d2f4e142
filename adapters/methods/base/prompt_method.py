"""What the prompting methods share: a frozen language model, a prompt, and demonstrations (shots).

Turns of the chat template (--apply_chat_template yes) against one text (no), smollm2 (135M), 100 random dev examples;
5 shots, seeds 0 to 2 (generated answers: seed 0). Accuracy (sst2: classification_sentiment, trec:
classification_question), contextual calibration in brackets; F1 (conll2003, xquad: the tasks' own prompts).

    shots   form       sst2          trec          conll2003   xquad
    0       one text   73.0 (79.0)   28.0 (57.0)   13.2         5.1
    0       turns      62.0 (76.0)   18.0 (43.0)   21.3        17.2
    5       one text   66.7 (72.7)   34.0 (46.0)   32.0        30.3
    5       turns      54.7 (50.7)   41.0 (42.0)   32.9        12.8

Turns help this small model where it generates without shots; label likelihoods, and xquad with shots, are mostly worse
by them. `auto` takes turns all the same, as that is how an instruct base was trained; a search tries both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.errors import ArtifactError, ModelError, SettingsError, did_you_mean
from adapters.core.files import write_json
from adapters.core.search_space import Choice, Dimension, Space
from adapters.core.settings import require
from adapters.methods.base.method import EXAMPLES, Method
from adapters.models.base_model import CAUSAL, ENCODER, ENCODER_DECODER, open_base
from adapters.models.fast_layers import quicken
from adapters.models.precision import cast_frozen_model
from adapters.prompting import template
from adapters.prompting.calibration import Calibration
from adapters.prompting.chat_template import CHOICES, ChatTemplate, chosen_template, template_of
from adapters.prompting.demonstrations import CANDIDATES, SELECTIONS, Nearest, balanced, draw, hardest, reference
from adapters.prompting.ensemble import Ensemble
from adapters.prompting.likelihood import CachedScorer
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.tasks.base.embedding import text_embedder
from adapters.tasks.base.example import Example
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import PromptableTask, Task, load_task, promptable

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

FILE = "prompt.json"
CONSTRAINED = "constrained"
DECODINGS = (CONSTRAINED, "free")
"""Values of --decoding."""


@dataclass(frozen=True, kw_only=True)
class PromptWithShots:
    """A prompt and its shots.

    Attributes:
        prompt: the template.
        examples: the shots; if they are chosen for each query, the candidates to choose from.
        chat: the base's chat template, if the prompt is written as its turns.
        reference: training texts over which the calibration `batch` takes its mean; none once that is known.
        prior: that mean, the logarithm of a probability for each class; empty before it is measured.
    """

    prompt: template.Prompt
    examples: list[Example]
    chat: ChatTemplate | None = None
    reference: list[Example] = field(default_factory=list)
    prior: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """Settings of every prompting method."""

    prompt: str | None = None
    """Name of a prompt (taskswap prompts lists them) or a .toml file. Default: the task's own for the method."""
    max_new_tokens: int = 64
    """Maximum length of an answer in tokens."""
    decoding: str = CONSTRAINED
    """For generated answers: constrained to those that can be parsed, as far as the answer format defines them (for
    named entities, lines of known types and words of the text), or free, with parse failures counted."""
    score: str = "sum"
    """For answers chosen by likelihood: log-likelihood of the answer (sum), per token (mean) or per byte (byte)."""
    calibration: list[str] = field(default_factory=list)
    """Calibration of those likelihoods: contextual, batch (by the mean over texts of train, without their labels), pmi,
    domain, channel; several can be combined."""
    apply_chat_template: str = "auto"
    """Write the prompt as turns of the base's chat template: the instruction as the system's, shots and query as the
    user's. auto: where its tokenizer has one; yes: refuse a base without; no: one text."""
    ensemble_prompts: list[str] = field(default_factory=list)
    """Further prompts, whose class probabilities are averaged with those of --prompt."""


class PromptMethod(Method):
    """Nothing is trained; the artifact is the prompt with its shots, as JSON."""

    kinds = (CAUSAL, ENCODER_DECODER, ENCODER)
    trains = False
    reads_train = False
    shots: ClassVar[bool] = False
    """Whether there are demonstrations, and `Settings` has the field `shots`."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.max_new_tokens >= 1, "max_new_tokens", settings.max_new_tokens, "at least 1")
        decoding = settings.decoding
        require(decoding in DECODINGS, "decoding", decoding, " or ".join(DECODINGS))
        wanted = settings.apply_chat_template
        require(wanted in CHOICES, "apply_chat_template", wanted, f"one of {', '.join(CHOICES)}")
        self.shot_count = settings.shots if self.shots else 0
        require(self.shot_count >= 0, "shots", self.shot_count, "0 or more")
        self.selection = settings.shot_selection if self.shots else "random"
        require(self.selection in SELECTIONS, "shot_selection", self.selection, f"one of {', '.join(SELECTIONS)}")
        self.calibration = Calibration(
            score=settings.score, steps=tuple(s for s in settings.calibration if s != "none")
        )
        self.seeds = settings.ensemble_seeds if self.shots else 1
        require(self.seeds >= 1, "ensemble_seeds", self.seeds, "at least 1")
        nearest = "channel" in self.calibration.steps and self.selection == "nearest" and self.shot_count > 0
        require(not nearest, "shot_selection", "nearest", "another with --calibration channel, which has one prompt")
        self.members: list[PromptWithShots] = []
        self.left_out_candidates = 0
        """Candidates for the hardest shots that did not fit into the prompt, over all members."""

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """The task's prompts, turns or one text, and where answers are chosen by likelihood, calibrations."""
        kind = load_task(task, plugin_dirs)
        chosen = bool(getattr(kind, "chosen_formats", ()))
        space: dict[str, Dimension] = {}
        prompts = template.generating(task, plugin_dirs)
        if prompts:
            space["prompt"] = Choice(*prompts)
        if cls.shots:
            space["shots"] = Choice(*((1, 2, 4, 8, 16) if chosen else (1, 2, 4, 8)))
            space["shot_seed"] = Choice(*range(10))
        if chosen:
            space["calibration"] = Choice([], ["contextual"], ["batch"], ["domain"])
        return {**space, "apply_chat_template": Choice("auto", "no")}

    @classmethod
    def shortened(cls, settings: Any, fraction: float) -> dict[str, Any]:
        """No change: nothing is trained, and on fewer dev examples a trial would win by luck."""
        return {}

    def check(self, base: Base, task: Task) -> None:
        """The task must support prompting, and the base must generate, or fill the mask of the prompt."""
        task = promptable(task)
        if not task.chosen_formats:
            self.check_kind(base, (CAUSAL, ENCODER_DECODER), f"the method {self.name}")
        for prompt in self._prompts(base, task):
            self._check_prompt(base, task, prompt)

    def _check_prompt(self, base: Base, task: PromptableTask, prompt: template.Prompt) -> None:
        """Raises ModelError or SettingsError if the prompt does not suit the base."""
        if prompt.masked and base.kind != ENCODER:
            raise ModelError(
                f"The prompt {prompt.name} has a {{{{mask}}}}, which only an encoder can fill; {base.name} is of the "
                f"kind {base.kind}. Give another --prompt, or an encoder ({EXAMPLES[ENCODER]})."
            )
        if base.kind == ENCODER and not prompt.masked:
            raise ModelError(
                f"{base.name} is an encoder, which fills masks but cannot generate: give a --prompt whose query has "
                f"{{{{mask}}}} ({task.name}_cloze), or a base that generates ({EXAMPLES[CAUSAL]})."
            )
        parts = (prompt.instruction, prompt.query, prompt.shot)
        if prompt.masked and any(str(base.tokenizer.mask_token) in part for part in parts):
            raise ModelError(
                f"The prompt {prompt.name} writes {base.tokenizer.mask_token} itself: the one place of the answer is "
                "{{mask}} in its query. Remove the other."
            )
        self._check_words(task, prompt)
        self._check_calibration(base, task, prompt)
        self._chat(base, prompt)
        room = base.positions - self.settings.max_new_tokens
        bound = f"below {base.positions}, the positions of {base.name}"
        if prompt.answer not in task.chosen_formats:
            require(room > 0, "max_new_tokens", self.settings.max_new_tokens, bound)
            needed = (
                "used with --ensemble_seeds 1 and without --ensemble_prompts: its answers are generated, so there are "
                "no probabilities to average"
            )
            require(self.seeds == 1 and not self.settings.ensemble_prompts, "prompt", prompt.name, needed)

    def _check_words(self, task: PromptableTask, prompt: template.Prompt) -> None:
        """Raises SettingsError where a search drew a prompt that has words for the labels of other data alone."""
        strange = bool(prompt.verbalizer) and not set(prompt.verbalizer) & set(task.labels.names)
        misfit = self.settings.trial and prompt.answer in task.chosen_formats and strange
        needed = f"a prompt with words for labels of this task ({', '.join(task.labels.names[:5])})"
        require(not misfit, "prompt", prompt.name, needed)

    def _chat(self, base: Base, prompt: template.Prompt) -> ChatTemplate | None:
        """The chat template in whose turns a prompt is written; None for one text. Raises SettingsError."""
        wanted, channel = self.settings.apply_chat_template, "channel" in self.calibration.steps
        return chosen_template(wanted, base, prompt, channel=channel)

    def _check_calibration(self, base: Base, task: PromptableTask, prompt: template.Prompt) -> None:
        """Raises SettingsError if there is nothing to calibrate, or prompt or base do not support the channel."""
        name = self.calibration.name
        possible = name == "none" or prompt.answer in task.chosen_formats
        require(possible, "calibration", name, f"none: answers of {task.name} are generated, not chosen by likelihood")
        if "channel" in self.calibration.steps:
            needed = f"used with a prompt that has a channel, which {prompt.name} lacks"
            require(bool(prompt.channel), "calibration", name, needed)
            require(base.kind == CAUSAL, "calibration", name, f"used with a causal base ({EXAMPLES[CAUSAL]})")

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The frozen base with its language-model head."""
        task, model = promptable(task), self._model(base)
        first = self.shot_seed * self.seeds
        self.members, self.left_out_candidates = [], 0
        for prompt in self._prompts(base, task):
            for seed in range(first, first + self.seeds):
                shots = self._select(model, base, task, train, prompt, seed)
                self.members.append(
                    PromptWithShots(
                        prompt=prompt,
                        examples=shots,
                        chat=self._chat(base, prompt),
                        reference=self.reference(train, shots) if "batch" in self.calibration.steps else [],
                    )
                )
        return model

    def reference(self, train: Sequence[Example], shots: Sequence[Example]) -> list[Example]:
        """The texts over which the calibration `batch` takes its mean. Raises SettingsError if there are too few."""
        # Of the candidates among which the nearest are chosen, a text's own prompt leaves out the text itself.
        return reference(train, () if self.selection == "nearest" else shots)

    @property
    def shot_seed(self) -> int:
        """The seed that draws the shots."""
        given = self.settings.shot_seed if self.shots else None
        return int(self.settings.seed if given is None else given)

    def _select(
        self,
        model: torch.nn.Module,
        base: Base,
        task: PromptableTask,
        train: Sequence[Example],
        prompt: template.Prompt,
        seed: int,
    ) -> list[Example]:
        """The shots for a seed; if they are chosen for each query, the candidates to choose from."""
        if self.selection == "nearest":
            draw(train, self.shot_count, seed)
            return draw(train, min(len(train), max(CANDIDATES, self.shot_count + 1)), seed)
        if self.selection == "balanced":
            return balanced(train, self.shot_count, seed)
        if self.selection == "hardest":
            chosen, left_out = hardest(
                train, self.shot_count, seed, lambda some: self._likelihoods(model, base, task, prompt, some)
            )
            self.left_out_candidates += left_out
            return chosen
        return draw(train, self.shot_count, seed)

    def _likelihoods(
        self, model: torch.nn.Module, base: Base, task: PromptableTask, prompt: template.Prompt, examples: list[Example]
    ) -> list[float | None]:
        """Log-probability of each gold answer, without shots; None where the example does not fit."""
        require(
            prompt.answer in task.chosen_formats,
            "shot_selection",
            "hardest",
            f"another: answers of {task.name} are generated, so no answer's likelihood is known",
        )
        chat, longest = self._chat(base, prompt), self.settings.max_new_tokens
        prompted = PromptPredictor(model, base, task, prompt, [], chat=chat, max_new_tokens=longest)
        numbers = [i for i, example in enumerate(examples) if prompted.fit(example) is not None]
        out: list[float | None] = [None] * len(examples)
        if numbers:
            read = prompted.label_log_probs([examples[i] for i in numbers], [0] * len(numbers), [])
            for i, row in zip(numbers, Calibration().classes(read), strict=True):
                out[i] = float(row[task.labels.index[examples[i].gold]])
        return out

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Write prompts and shots; nothing of the model."""
        members = [
            {
                "prompt": member.prompt.record(),
                "shots": [{"id": e.id, "inputs": dict(e.inputs), "gold": e.gold} for e in member.examples],
                "chat_template": member.chat and member.chat.digest,
                **({"prior": member.prior} if member.prior else {}),
            }
            for member in self.members
        ]
        encoder = self._encoder()
        write_json(folder / FILE, {"members": members, **({} if encoder is None else {"shot_encoder": encoder})})

    def _encoder(self) -> dict[str, str] | None:
        """Name and digests of what chooses shots for each query; None where nothing does."""
        if self.selection != "nearest" or not self.shot_count:
            return None
        return open_base(self.settings.shot_encoder).digests()

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The base; prompts and shots are read from the folder.

        Raises ArtifactError, ModelError, SettingsError where they cannot be used, or not on this base.
        """
        task, record = promptable(task), json.loads((folder / FILE).read_text(encoding="utf-8"))

        def fault(what: str, *where: str) -> ArtifactError:
            return ArtifactError(f"{folder / FILE}: not a prompt that can be used: {what}")

        try:
            self.members = []
            for member in record["members"]:
                prompt = template.from_record(member["prompt"])
                template.check({key: value for key, value in member["prompt"].items() if key != "name"}, task, fault)
                shots = [Example(id=s["id"], inputs=s["inputs"], gold=s["gold"]) for s in member["shots"]]
                chat = _recorded_chat(base, member.get("chat_template"), folder / FILE)
                prior = self._recorded_prior(task, member.get("prior", []), fault)
                self.members.append(PromptWithShots(prompt=prompt, examples=shots, chat=chat, prior=prior))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / FILE}: not a prompt of taskswap ({error!r}).") from error
        if not self.members:
            raise ArtifactError(f"{folder / FILE}: not a prompt of taskswap: it has no members.")
        for each in self.members:
            task.check_form(each.prompt.form)
            self._check_prompt(base, task, each.prompt)
        self._check_encoder(record.get("shot_encoder"), folder / FILE)
        return self._model(base)

    def _recorded_prior(self, task: PromptableTask, prior: Any, fault: Callable[[str], ArtifactError]) -> list[float]:
        """A class's mean log-probability each, where they are divided by. Raises ArtifactError where they lack."""
        if "batch" not in self.calibration.steps:
            return []
        sound = isinstance(prior, list) and all(isinstance(one, float) and math.isfinite(one) for one in prior)
        if not sound or len(prior) != len(task.labels):
            raise fault(
                "the calibration batch needs 'prior', a number for each label, which older versions did not keep. "
                "Make the prompt again"
            )
        return list(prior)

    def _check_encoder(self, recorded: Any, path: Path) -> None:
        """Raises ArtifactError if another model than it was made with would choose the shots."""
        found = self._encoder()
        if found is None:
            return
        recorded = recorded if isinstance(recorded, dict) else {}
        if any(recorded.get(name) != found[name] for name in ("weights_sha256", "tokenizer_sha256")):
            raise ArtifactError(
                f"{path}: {self.settings.shot_encoder}, by which its shots are chosen, is not the model that it was "
                "made with, or it records none. Use that model, or make the prompt again."
            )

    def labelled(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Its shots; where they are chosen by their answers or for each query, all the examples they are chosen from.

        With several seeds each has shots of its own.
        """
        among = CANDIDATES if self.selection in ("hardest", "nearest") else self.shot_count
        drawn = max(among, self.shot_count) * self.seeds
        return {"train": min(drawn, sizes.get("train", 0))} if self.shot_count else {}

    def notes(self) -> dict[str, Any]:
        """Names of the prompts, number of shots, chat template, calibration, and size of the ensemble."""
        names = list(dict.fromkeys(member.prompt.name for member in self.members))
        calibration = {} if self.calibration.name == "none" else {"calibration": self.calibration.name}
        selection = {} if self.selection == "random" else {"shot_selection": self.selection}
        if self.left_out_candidates:
            selection["shot_selection"] += f" ({self.left_out_candidates} candidates too long for the prompt left out)"
        ensemble = {"ensemble": len(self.members)} if len(self.members) > 1 else {}
        shots = min(self.shot_count, len(self.members[0].examples))
        chats = dict.fromkeys(member.chat.in_words() if member.chat else "no" for member in self.members)
        chat = {} if [*chats] == ["no"] else {"chat_template": " + ".join(chats)}
        return {"prompt": " + ".join(names), "shots": shots, **chat, **ensemble, **selection, **calibration}

    def predictor(self, model: torch.nn.Module, base: Base, task: Task, *, precision: str = "no") -> Predictor:
        """The prompted model; with several prompts or seeds, their ensemble."""
        task, model = promptable(task), cast_frozen_model(model, precision).eval()
        quicken(model)
        scorer = CachedScorer(model)
        members = [self._predictor(model, base, task, member, scorer) for member in self.members]
        for number, (asked, member) in enumerate(zip(members, self.members, strict=True)):
            if member.reference:  # measured on the device, in the precision of the answers, and kept by the artifact
                asked.prior = asked.measured_prior(member.reference)
                self.members[number] = replace(member, reference=[], prior=asked.prior.tolist())
        return members[0] if len(members) == 1 else Ensemble(members, task, base.word_tokenizer)

    def _predictor(
        self, model: torch.nn.Module, base: Base, task: PromptableTask, member: PromptWithShots, scorer: CachedScorer
    ) -> PromptPredictor:
        """The model with one prompt and one set of shots."""
        nearest = None
        if self.selection == "nearest" and self.shot_count:
            nearest = Nearest(member.examples, self.shot_count, text_embedder(self.settings.shot_encoder))
        return PromptPredictor(
            model,
            base,
            task,
            member.prompt,
            member.examples[: self.shot_count],
            chat=member.chat,
            nearest=nearest,
            scorer=scorer,
            max_new_tokens=self.settings.max_new_tokens,
            batch_rows=self.settings.per_device_eval_batch_size,
            calibration=self.calibration,
            constrained=self.settings.decoding == CONSTRAINED,
            prior=np.array(member.prior) if member.prior else None,
        )

    def _model(self, base: Base) -> torch.nn.Module:
        model: torch.nn.Module = base.load_generator()
        return model.requires_grad_(False)

    def _prompts(self, base: Base, task: PromptableTask) -> list[template.Prompt]:
        """The requested prompts, or the task's own for this method or base, `<task>_<zero|few|cloze>`."""
        known = template.paths(self.settings.plugin_dir)
        default = f"{task.name}_{'cloze' if base.kind == ENCODER else self.name.removesuffix('_shot')}"
        if self.settings.prompt is None and default not in known:
            raise SettingsError(f"There is no prompt {default}: {did_you_mean(default, known)} Give --prompt.")
        names = dict.fromkeys([self.settings.prompt or default, *self.settings.ensemble_prompts])
        return [template.load(name, task, self.settings.plugin_dir) for name in names]


def _recorded_chat(base: Base, digest: str | None, path: Path) -> ChatTemplate | None:
    """The chat template that an artifact names. Raises ArtifactError if the base has another one."""
    if digest is None:
        return None
    chat = ChatTemplate(base.word_tokenizer) if template_of(base.word_tokenizer) is not None else None
    if chat is None or chat.digest != digest:
        raise ArtifactError(
            f"{path}: was made with another chat template than {base.name} has now. Use the base with the "
            "tokenizer that it had then, or make the prompt again."
        )
    return chat
