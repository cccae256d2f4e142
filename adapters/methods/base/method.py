"""The interface of a method. Callers ask the method for what differs between methods and never branch on its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError, UnmixableError
from adapters.core.search_space import Space
from adapters.core.settings import require, with_defaults
from adapters.methods.base.delta import AdapterDelta, AdapterTensors
from adapters.models.base_model import CAUSAL, ENCODER, ENCODER_DECODER
from adapters.tasks.base.example import Example, Examples
from adapters.tasks.base.predictor import ModelPredictor, Predictor
from adapters.tasks.base.task import Objective, Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


WEIGHTS = "adapter_model.safetensors"


LEAST_ROOM = 16
"""Positions that a method must leave for the text: special tokens and a few words."""

EXAMPLES = {ENCODER: "minilm, bert-base-cased", CAUSAL: "smollm2, gpt2", ENCODER_DECODER: "t5-small"}
"""Base models to name to someone who has chosen one of a kind that does not fit."""


class Method(ABC):
    """What each file of this folder defines as `Method`, together with a dataclass `Settings`.

    A method adds its trainable parameters to a base model, saves them, and loads them again. `Settings` may override
    the defaults of `CommonSettings`, such as the learning rate.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = (ENCODER, CAUSAL, ENCODER_DECODER)
    """Kinds of base model that the method supports."""
    needs_base: ClassVar[bool] = True
    """Whether it works on a base model; a classical method has none."""
    trains: ClassVar[bool] = True
    """Whether it has parameters to train; a method that only prompts has none."""
    reads_train: ClassVar[bool] = True
    """Whether it learns from training examples, or shows some to the model."""
    seeded: ClassVar[bool] = True
    """Whether its answers can depend on the seed; `moved_by_seed` says whether they do with given settings."""
    self_contained: ClassVar[bool] = False
    """Whether its artifact contains the full model, so that no base is needed to load it."""
    mixing_advice: ClassVar[str] = "Load it alone: adapters.load(folder) or taskswap predict."
    """What to do if it cannot join other adapters in a mixed batch; part of the error message."""
    reads_base_weights: ClassVar[bool] = False
    """Whether it reads the values of the base's weights (to take their norm, say), so that they must stay in fp32."""
    virtual_tokens_flag: ClassVar[str] = "--num_virtual_tokens"
    """What sets the number of virtual tokens, for messages."""
    trains_base: ClassVar[bool] = False
    """Whether it trains parameters of the base itself, which cannot be quantized then."""
    low_rank: ClassVar[bool] = False
    """Whether its delta is B A alpha / r in each layer and nothing else, so that ranks can be added, deltas merged."""
    library: ClassVar[str] = "taskswap"
    """The library that loads the artifact without this project, for the model card."""

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of the run, including the method's. Raises SettingsError for invalid values."""
        self.settings = settings

    @classmethod
    def moved_by_seed(cls, settings: Any) -> bool:
        """Whether its answers depend on the seed with these settings; a comparison runs it only once if not."""
        return cls.seeded

    @classmethod
    def task_defaults(cls, task: str, plugin_dirs: Sequence[str] = ()) -> dict[str, Any]:
        """Defaults of settings on a task, where they are not those of the method's `Settings`."""
        return {}

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """The settings that a search tries, by name, for a task. Empty: there is nothing to tune."""
        return {}

    @classmethod
    def shortened(cls, settings: Any, fraction: float) -> dict[str, Any]:
        """Changes to settings by which a trial costs a fraction of its full cost, for an early rung of a search.

        Default: the training is that much shorter, with a learning-rate schedule of its own length.
        """
        changes: dict[str, Any] = {"num_train_epochs": settings.num_train_epochs * fraction}
        for name in ("max_train_steps", "min_train_steps"):
            if getattr(settings, name) is not None:
                changes[name] = max(round(getattr(settings, name) * fraction), 1)
        return changes

    @property
    def title(self) -> str:
        """What reports and tables call it: its name, and what else tells its runs apart."""
        return self.name

    @property
    def virtual_tokens(self) -> int:
        """Positions of the model that the method uses and the text cannot."""
        return 0

    def check(self, base: Base, task: Task) -> None:
        """Raises ModelError if this base or task cannot be used; the message says what can."""
        self.check_kind(base, self.kinds, f"the method {self.name}")
        self.check_kind(base, task.kinds, f"the task {task.name}")
        if not base.has_class(task.auto_class(base.kind)):
            raise ModelError(
                f"{base.name}: transformers has no {task.auto_class(base.kind)} for {base.config.model_type}, so "
                f"it cannot do {task.name}. Use another base ({', '.join(EXAMPLES[kind] for kind in task.kinds)})."
            )
        if self.trains_base and base.quantization is not None:
            raise ModelError(
                f"--load_in_8bit and --load_in_4bit quantize {base.name}, and the method {self.name} trains its "
                "weights, which quantized ones do not allow. Use lora, prefix, bottleneck or head, or leave the flag "
                "out."
            )
        if base.positions - self.virtual_tokens < LEAST_ROOM:
            raise ModelError(
                f"{self.name} would use {self.virtual_tokens} of the {base.positions} positions of {base.name}, and "
                f"fewer than {LEAST_ROOM} would be left for the text. Give {self.virtual_tokens_flag} "
                f"{max(base.positions - LEAST_ROOM, 1)} or fewer."
            )

    @staticmethod
    def check_kind(base: Base, kinds: Sequence[str], what: str) -> None:
        """Raises ModelError unless the base is of one of the kinds. `what` names the subject of the message."""
        if base.kind not in kinds:
            raise ModelError(
                f"{base.name} is of the kind {base.kind}; {what} works with {', '.join(kinds)} "
                f"({', '.join(EXAMPLES[kind] for kind in kinds)})."
            )

    def budget(self, base: Base, max_length: int) -> int:
        """Longest window in tokens, without what the method adds. Raises SettingsError if no word would fit."""
        tokenizer = base.word_tokenizer
        special = len(tokenizer.before) + len(tokenizer.after)
        require(max_length > special, "max_length", max_length, f"above {special}, the special tokens of {base.name}")
        return min(max_length, base.positions - self.virtual_tokens)

    @abstractmethod
    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The base with the task's head, on the CPU in fp32. Trainable parameters have `requires_grad`.

        `train` serves methods that read examples before training begins (demonstrations, a prefix of real text).
        """

    def left_out(self, model: torch.nn.Module) -> str:
        """What of the base a method that trains it leaves as it is, as a clause for people; usually nothing."""
        return ""

    def training_data(self, task: Task, train: Examples) -> tuple[Objective, Examples]:
        """What the trainer learns, and the examples it learns from. Default: the task, from its training examples.

        Raises:
            DataError: nothing can be learnt from these examples.
        """
        return task, train

    def before_scoring(  # noqa: B027 - most methods learn by gradients alone
        self, predictor: Predictor, train: Examples
    ) -> None:
        """Called before each dev score, and once more with the best weights: sets what no gradient trains.

        It must follow from the trained parameters and the examples alone, as no checkpoint has it. Of several
        processes, each calls it.
        """

    def before_training(  # noqa: B027 - most methods add nothing
        self, model: Any, optimizer: torch.optim.Optimizer, total_steps: int
    ) -> None:
        """Called with the optimizer before its first step; a method that acts between steps adds hooks to it.

        What such a hook remembers belongs in `optimizer.state[parameter]`, as tensors: checkpoints save that.
        """

    @abstractmethod
    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Write the trained parameters as safetensors into an empty folder."""

    @abstractmethod
    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The model that `save` wrote, on the CPU. The folder must have been verified."""

    @property
    def mixes(self) -> bool:
        """Whether its adapters can join a mixed batch; of a single one, `delta` may say that it cannot."""
        return type(self).delta is not Method.delta

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """The adapter delta, taken from `tensors`; the tensors of the head remain there.

        Raises:
            UnmixableError: adapters of this method cannot join a mixed batch.
            ArtifactError: a tensor is missing, or its shape does not follow from the settings.
        """
        raise UnmixableError(
            f"{self.name}: {tensors.subject} cannot be mixed with other adapters in a batch. {self.mixing_advice}"
        )

    def recorded(self) -> dict[str, Any]:
        """The method's own settings, for `card.json`."""
        own = discovery.load("methods", self.name, self.settings.plugin_dir).Settings
        return {field.name: getattr(self.settings, field.name) for field in fields(own)}

    def labelled(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Numbers of labelled examples that it learned from, by split, where settings are given.

        Default: of one that trains on a base, dev as well as train, as the best epoch is chosen on dev.

        Args:
            sizes: numbers of examples of the splits of the run.
        """
        used = ("train", "validation") if self.needs_base else ("train",)
        return {name: sizes.get(name, 0) for name in used} if self.trains else {}

    def notes(self) -> dict[str, Any]:
        """What reports add about the method; of one that prompts, its prompt."""
        return {}

    def predictor(self, model: torch.nn.Module, base: Base, task: Task, *, precision: str = "no") -> Predictor:
        """The model as a predictor."""
        return ModelPredictor(
            model,
            base,
            task,
            budget=self.budget(base, self.settings.max_length),
            precision=precision,
            batch_rows=self.settings.per_device_eval_batch_size,
        )


def load_method(name: str, plugin_dirs: Sequence[str] = ()) -> type[Method]:
    """The method class of that name. Raises SettingsError that lists the known names."""
    method = discovery.load("methods", name, plugin_dirs).Method
    assert issubclass(method, Method), name
    return method  # type: ignore[no-any-return]


def all_settings(task: str, plugin_dirs: Sequence[str] = ()) -> dict[str, type]:
    """The settings class of each method, with its defaults on a task."""
    found = {}
    for name in discovery.names("methods", plugin_dirs):
        module = discovery.load("methods", name, plugin_dirs)
        found[name] = with_defaults(module.Settings, module.Method.task_defaults(task, plugin_dirs))
    return found


def headed(base: Base, task: Task, settings: Any) -> Any:
    """The base with a newly initialised head for the task, and the dropout of the run.

    Its `replaced_head` names the modules of a head that the base's weights have, for another task or for this one.

    Raises ModelError if the task generates and the base has no language-model head.
    """
    model = base.load(
        task.auto_class(base.kind),
        task.config(),
        dropout=settings.dropout,
        attention_dropout=settings.attention_dropout,
    )
    if model.newly_initialised and not task.has_head:
        raise ModelError(
            f"{base.name}: its weights have no language-model head ({', '.join(model.newly_initialised[:3])} missing), "
            f"so it cannot generate what {task.name} needs. Use a checkpoint with its head (smollm2, gpt2, t5-small)."
        )
    new = model.newly_initialised
    model.replaced_head = [
        name for name in head_modules(model, task) if not any(key.startswith(f"{name}.") for key in new)
    ]
    for name in model.replaced_head:
        model.get_submodule(name).apply(lambda part: getattr(part, "reset_parameters", lambda: None)())
    return model


def head_modules(model: Any, task: Task) -> list[str]:
    """Names of the modules that make up the task's head: outside the body, or newly initialised in it (a pooler).

    A head of several layers is one module (RoBERTa's `classifier`), as in PEFT. Empty if the task generates.
    """
    if not task.has_head:
        return []
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    outside = {name.partition(".")[0] for name, p in model.named_parameters() if id(p) not in inside}
    new = {name.rpartition(".")[0] for name in model.newly_initialised if name.partition(".")[0] not in outside}
    return sorted(outside | new)


class TensorsMethod(Method):
    """A method whose artifact contains its trained tensors under their names in the headed model."""

    def frozen(self, base: Base, task: Task) -> Any:
        """The headed base in which only the head is trainable."""
        model = headed(base, task, self.settings).requires_grad_(False)
        for name in head_modules(model, task):
            model.get_submodule(name).requires_grad_(True)
        return model

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """All trainable parameters, in one file."""
        from safetensors.torch import save_file

        trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The wrapped base with the saved tensors. Raises ArtifactError unless they are exactly the trainable ones."""
        from safetensors.torch import load_file

        model = self.wrap(base, task, ())
        saved = load_file(folder / WEIGHTS)
        wanted = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
        wrong = sorted(name for name, tensor in saved.items() if wanted.get(name) != tensor.shape)
        missing = sorted(wanted.keys() - saved.keys())
        if wrong or missing:
            raise ArtifactError(
                f"{folder / WEIGHTS}: expected the {len(wanted)} tensors that {self.name} trains on {base.name}. Other "
                f"name or shape: {', '.join(wrong[:5]) or 'none'}; missing: {', '.join(missing[:5]) or 'none'}. "
                "Use it with the versions and settings named in its card, or train it again."
            )
        model.load_state_dict(saved, strict=False)
        return model
