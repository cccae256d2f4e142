"""Methods: what a file of this folder offers. What differs between methods is asked of them, never branched on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import discovery
from adapters.changes import Change, Saved
from adapters.errors import ArtifactError, ModelError
from adapters.inference import ModelPredictor, Predictor
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, ENCODER_DECODER, Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

WEIGHTS = "adapter_model.safetensors"
LEAST_ROOM = 16
"""Positions that a method must leave for the text: special pieces and a few words."""
EXAMPLES = {ENCODER: "minilm, bert-base-cased", CAUSAL: "smollm2, gpt2", ENCODER_DECODER: "t5-small"}
"""Base models to name to someone who has chosen one of a kind that does not fit."""

# PEFT finds the model class that puts soft prompts in by the kind of head.
PEFT_TASKS = {
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
}


class Method(ABC):
    """What a file of this folder offers, as a class `Method`, beside its settings, a dataclass `Settings`.

    A method puts what it trains around a base model, saves that, and loads it again. `Settings` may give fields of
    `CommonSettings` (the learning rate, say) the defaults that suit the method.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = (ENCODER, CAUSAL, ENCODER_DECODER)
    """Kinds of base model the method fits."""
    trains: ClassVar[bool] = True
    """Whether it has parameters to train; else it only prompts."""
    seeded: ClassVar[bool] = True
    """Whether another seed can give another answer; else a comparison runs it once."""
    self_contained: ClassVar[bool] = False
    """Whether its artifact holds the whole model, so that no base is needed beside it."""
    unmixed: ClassVar[str] = "Load it alone: adapters.predictor.load, or python -m adapters predict."
    """What to do where its rows cannot join those of other adapters in a batch."""
    weighs_base: ClassVar[bool] = False
    """Whether it computes with the base's own weights beside multiplying by them, so that these must stay in fp32."""
    changes_base: ClassVar[bool] = False
    """Whether parameters of the base itself train, which those of 8 and 4 bits cannot."""
    library: ClassVar[str] = "taskswap"
    """The library that can load the artifact without this project, for the model card."""

    def __init__(self, settings: Any) -> None:
        """Args: settings: of the run, the method's own among them. Raises SettingsError for values that cannot work."""
        self.settings = settings

    @property
    def virtual_tokens(self) -> int:
        """Positions of the model that the method takes from the text."""
        return 0

    def check(self, base: Base, task: Task) -> None:
        """Raises ModelError where this base or task cannot be used, with what could."""
        self.check_kind(base, self.kinds, f"the method {self.name}")
        self.check_kind(base, task.kinds, f"the task {task.name}")
        if not base.has_class(task.auto_class(base.kind)):
            raise ModelError(
                f"{base.name}: transformers has no {task.auto_class(base.kind)} for {base.config.model_type}, so "
                f"it cannot do {task.name}. Use another base ({', '.join(EXAMPLES[kind] for kind in task.kinds)})."
            )
        if self.changes_base and base.quantization is not None:
            raise ModelError(
                f"--load_in_8bit and --load_in_4bit leave {base.name} in whole numbers, which cannot be trained as the "
                f"method {self.name} would. Train something beside them (lora, prefix, bottleneck, head), or leave "
                "the flag out."
            )
        if base.positions - self.virtual_tokens < LEAST_ROOM:
            raise ModelError(
                f"{self.name} would take {self.virtual_tokens} of the {base.positions} positions of {base.name}, and "
                f"fewer than {LEAST_ROOM} would be left for the text. Give --num_virtual_tokens "
                f"{max(base.positions - LEAST_ROOM, 1)} or fewer."
            )

    @staticmethod
    def check_kind(base: Base, kinds: Sequence[str], what: str) -> None:
        """Raises ModelError where the base is of none of the kinds that something works with."""
        if base.kind not in kinds:
            raise ModelError(
                f"{base.name} is of the kind {base.kind}; {what} works with {', '.join(kinds)} "
                f"({', '.join(EXAMPLES[kind] for kind in kinds)})."
            )

    def budget(self, base: Base, max_length: int) -> int:
        """Pieces that a window may have beside what the method adds. Raises SettingsError where no word would fit."""
        pieces = base.pieces()
        special = len(pieces.before) + len(pieces.after)
        require(max_length > special, "max_length", max_length, f"above {special}, the special pieces of {base.name}")
        return min(max_length, base.positions - self.virtual_tokens)

    @abstractmethod
    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The base with the task's head, ready to train: what trains has `requires_grad`. On the CPU, fp32.

        `train` is there for methods that draw on examples before training begins (shots, a prefix of real text).
        """

    @abstractmethod
    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Write what was trained, as safetensors, into an empty folder."""

    @abstractmethod
    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The model that `save` wrote, on the CPU. The folder has been verified."""

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """What its adapter does to a row of a mixed batch, taken from `saved`; the head's tensors stay there.

        Raises:
            ModelError: rows of this method cannot join a mixed batch.
            ArtifactError: a tensor is missing, or is not of the shape that the settings say.
        """
        raise ModelError(f"{self.name}: {saved.subject} cannot be mixed with other adapters in a batch. {self.unmixed}")

    def recorded(self) -> dict[str, Any]:
        """The method's own settings, for the card."""
        own = discovery.load("methods", self.name, self.settings.plugin_dir).Settings
        return {field.name: getattr(self.settings, field.name) for field in fields(own)}

    def notes(self) -> dict[str, Any]:
        """What reports say of the method beside its settings and its size; for one that prompts, its prompt."""
        return {}

    def predictor(self, model: torch.nn.Module, base: Base, task: Task, *, precision: str = "no") -> Predictor:
        """The model as a predictor."""
        return ModelPredictor(
            model, base, task, budget=self.budget(base, self.settings.max_length), precision=precision,
            batch_rows=self.settings.per_device_eval_batch_size,
        )  # fmt: skip


def load(name: str, plugin_dirs: Sequence[str] = ()) -> type[Method]:
    """The method class of that name. Raises SettingsError with the names there are."""
    method = discovery.load("methods", name, plugin_dirs).Method
    assert issubclass(method, Method), name
    return method  # type: ignore[no-any-return]


def headed(base: Base, task: Task, settings: Any) -> Any:
    """The base with the task's head drawn anew, and the run's dropouts.

    Raises ModelError where the task generates and the base has no head to do it with.
    """
    model = base.load(
        task.auto_class(base.kind), task.config(),
        dropout=settings.dropout, attention_dropout=settings.attention_dropout,
    )  # fmt: skip
    if model.drawn_anew and not task.has_head:
        raise ModelError(
            f"{base.name}: its weights hold no language-model head ({', '.join(model.drawn_anew[:3])} missing), so it "
            f"cannot write what {task.name} asks for. Use a checkpoint with its head (smollm2, gpt2, t5-small)."
        )
    for name in head_modules(model, task):
        if not any(key.startswith(f"{name}.") for key in model.drawn_anew):  # a checkpoint of another task had one
            model.get_submodule(name).apply(lambda part: getattr(part, "reset_parameters", lambda: None)())
    return model


def head_modules(model: Any, task: Task) -> list[str]:
    """Names of a headed model's modules that are the task's own: beside the body, or drawn anew inside it (a pooler).

    A head of several layers is one module (RoBERTa's `classifier`), as PEFT knows it. None where the base generates.
    """
    if not task.has_head:
        return []
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    beside = {name.partition(".")[0] for name, p in model.named_parameters() if id(p) not in inside}
    drawn = {name.rpartition(".")[0] for name in model.drawn_anew if name.partition(".")[0] not in beside}
    return sorted(beside | drawn)


class TensorsMethod(Method):
    """A method whose artifact is the tensors it trained, under the names that the model around the base gives them."""

    def frozen(self, base: Base, task: Task) -> Any:
        """The headed base of which only the head takes gradients."""
        model = headed(base, task, self.settings).requires_grad_(False)
        for name in head_modules(model, task):
            model.get_submodule(name).requires_grad_(True)
        return model

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """What takes gradients, in one file."""
        from safetensors.torch import save_file

        trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The base wrapped again, with the saved tensors. Raises ArtifactError unless they are all that it trains."""
        from safetensors.torch import load_file

        model = self.wrap(base, task, ())
        saved = load_file(folder / WEIGHTS)
        wanted = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
        wrong = sorted(name for name, tensor in saved.items() if wanted.get(name) != tensor.shape)
        missing = sorted(wanted.keys() - saved.keys())
        if wrong or missing:
            raise ArtifactError(
                f"{folder / WEIGHTS}: not the {len(wanted)} tensors that {self.name} trains on {base.name}: of another "
                f"name or shape: {', '.join(wrong[:5]) or 'none'}; missing: {', '.join(missing[:5]) or 'none'}. "
                "Use it with the versions and settings that its card names, or train it again."
            )
        model.load_state_dict(saved, strict=False)
        return model


def _only_what_is_needed(wrapped: Any) -> None:
    """Undo two things that PEFT does lest they lack, and that cost time at each step.

    It lets the embeddings of a base in fewer bits take gradients, for checkpoints inside the model, which we have none
    of: gradients would run down to them. And it casts the input of each layer to the adapter's fp32, though autocast
    casts it back at once, to the same numbers.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped.get_base_model().disable_input_require_grads()
    for layer in wrapped.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = False


class PeftMethod(Method):
    """A method of PEFT's: `config` says which, the head is trained whole beside it, the folder is PEFT's own."""

    library = "peft"
    peft_type: ClassVar[str]
    """PEFT's name of it."""
    peft_options: ClassVar[Mapping[str, str]]
    """Options of PEFT's config that change what the adapter does: the settings that they are here."""
    peft_switches: ClassVar[Mapping[str, bool]] = {}
    """Options that tell the method from others of the same PEFT type."""

    @classmethod
    def settings_of(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings that a PEFT config stands for, where it is this method's. What else it says is not looked at."""
        own = config.get("peft_type") == cls.peft_type
        if not own or any(bool(config.get(name)) != on for name, on in cls.peft_switches.items()):
            return None
        return {ours: config[theirs] for theirs, ours in cls.peft_options.items() if theirs in config}

    def first_pieces(self, base: Base, task: Task, train: Sequence[Example], number: int) -> list[int]:
        """So many pieces of the first training examples, repeated where they are too few: text to begin a prompt as."""
        encoded = task.encode([train[i] for i in range(min(len(train), number))], base.pieces(),
                              self.budget(base, self.settings.max_length))  # fmt: skip
        ids = list(chain.from_iterable(row.input_ids for row in encoded))
        return (ids * (number // len(ids) + 1))[:number]

    @abstractmethod
    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's config of what is put around a headed model whose head are the modules of these names."""

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base, frozen, with PEFT's parameters and a trained head."""
        import peft

        model = headed(base, task, self.settings)
        config = self.config(model, base, task, head_modules(model, task))
        config.task_type = PEFT_TASKS.get(task.auto_class(base.kind))
        wrapped: torch.nn.Module = peft.get_peft_model(model, config)
        _only_what_is_needed(wrapped)
        config.base_model_name_or_path = base.name
        return wrapped

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """PEFT's own folder."""
        model.save_pretrained(folder, save_embedding_layers=False)  # type: ignore[operator]

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """PEFT's own loading, onto the headed base."""
        import peft

        wrapped: torch.nn.Module = peft.PeftModel.from_pretrained(headed(base, task, self.settings), folder)
        return wrapped
