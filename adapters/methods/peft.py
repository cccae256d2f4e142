"""Every other method of PEFT: AdaLoRA, LoHa, LoKr, OFT, VeRA, P-tuning and whatever else the installed version has.

    taskswap train --method peft --peft_type ADALORA --peft_options '{"init_r": 8, "target_r": 4}'
    taskswap train --method peft --peft_config adapter_config.json

Options are those of PEFT's config class and have PEFT's defaults. The task's head is trained in full, in PEFT's
`modules_to_save`. Layers that are not named are PEFT's for the type of model; where it has none, all linear layers but
the head. Methods with a file of their own here (lora, ia3, prefix, prompt_tuning) are refused by that name.

docs/training.md has a table of what each does on BERT, GPT-2 and Llama. One learning rate cannot suit all; the default
was chosen on dev (CoNLL-2003, minilm, 1,000 sentences, 300 of dev, three epochs, seed 0, PEFT's options):

    rate   ADALORA   LOHA   OFT    VERA
    3e-3             46.3
    1e-2   61.0      66.4   72.5   61.3   (the default)
    3e-2   67.1             61.0   65.4
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import typing
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError, ModelError, SettingsError, UserError, did_you_mean
from adapters.core.processes import is_first
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import FILE
from adapters.methods.base.method import WEIGHTS
from adapters.methods.base.peft_method import PeftMethod, check_tensors
from adapters.methods.base.rank_allocation import allocate_ranks, set_rank_pattern
from adapters.methods.base.soft_prompt import without_prompt_outputs
from adapters.models.base_model import ENCODER_DECODER
from adapters.models.layers import last_parts, linear_layers
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

OWN_FILES = {
    "LORA": "lora, dora or rslora",
    "IA3": "ia3",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt_tuning",
}
"""PEFT's types that have files of their own here."""
UNFIT = {
    "CPT": "is for generating only, and PEFT generates without position ids, so that padding would change answers",
    "MULTITASK_PROMPT_TUNING": "learns several tasks at once and needs the task of every row; a run here has one task",
    "POLY": "learns several tasks at once and needs the task of every row; a run here has one task",
    "XLORA": "mixes adapters that its config names by their folders; an adapter here stands alone",
}
"""PEFT's types that no run here can train, and why."""
_BY_THE_RUN = frozenset(
    {"peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version"}
)
"""What a saved config records of its origin: not options."""
_BY_WRAP = frozenset(
    {
        "encoder_hidden_size",
        "fan_in_fan_out",
        "modules_to_save",
        "num_attention_heads",
        "num_layers",
        "num_transformer_submodules",
        "runtime_config",
        "token_dim",
    }
)
"""Options that `config` or PEFT completes from the base and the task."""
_BY_STEPS = frozenset({"rank_pattern", "target_modules", "total_step"})
"""Options that are chosen for a run where the user gives none."""
_OUTSIDE = frozenset(
    {
        "adapters",
        "prompt_tuning_init_state_dict_path",
        "prompt_tuning_init_text",
        "shadow_model",
        "tokenizer_kwargs",
        "tokenizer_name_or_path",
    }
)
"""Options that name files or models, which an adapter that is loaded could make PEFT fetch and read."""
_NOT_OF_LINEAR_LAYERS = frozenset({"ADAPTION_PROMPT", "LN_TUNING", "SHADOW", "TRAINABLE_TOKENS"})
_KEYS_AND_VALUES = "CARTRIDGE"
"""The one prompt of keys and values, like a prefix; the others are input embeddings."""
_TRIAL = 4
"""Tokens of the text that a new model is tried on."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A method of PEFT."""

    learning_rate: float = 1e-2
    """Peak learning rate. What is best depends on the method: try 3e-3 to 3e-2."""
    peft_type: str | None = None
    """PEFT's name of the method: ADALORA, LOHA, LOKR, OFT, BOFT, VERA, LN_TUNING, P_TUNING, MISS, FOURIERFT, …"""
    peft_options: str | None = None
    """Options of its PEFT config, as a JSON object: '{"init_r": 8}'. Default: PEFT's."""
    peft_config: str | None = field(default=None, metadata={FILE: True})
    """A .json file with peft_type and options, such as a saved adapter_config.json, instead of these two flags;
    --peft_options replaces single options of it."""


class Method(PeftMethod):
    """A method of PEFT by name, with the head trained in full."""

    name = "peft"
    any_type = True
    virtual_tokens_flag = "--peft_options num_virtual_tokens"
    reads_base_weights = True  # several multiply or decompose them
    mixing_advice = (
        "Load it alone: adapters.load(folder) or taskswap predict. Of PEFT's methods a bank mixes lora, dora, rslora, "
        "ia3, prefix and prompt_tuning."
    )

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate and length of the training."""
        return {"learning_rate": LogUniform(1e-4, 3e-2), "num_train_epochs": Choice(3.0, 5.0, 10.0)}

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.peft_type, self.options = _read(settings)  # type: ignore[misc]  # of one method, not of the class
        fields = self._fields
        for name, value in self.options.items():
            self._check_option(name, value)
        if self.options.get("use_asa"):
            raise SettingsError(
                "--peft_options use_asa: it freezes parameters while training, which checkpoints here do not follow."
            )
        if self.peft_type == "ADALORA":
            ranks = {name: self.options.get(name, fields[name].default) for name in ("target_r", "init_r")}
            if not 0 < ranks["target_r"] < ranks["init_r"]:
                raise SettingsError(f"--peft_options: AdaLoRA reduces ranks: target_r must be below init_r; {ranks}.")

    @cached_property
    def _kind(self) -> Any:
        """PEFT's config class."""
        return _kinds()[self.peft_type]

    @cached_property
    def _fields(self) -> dict[str, dataclasses.Field[Any]]:
        return {field.name: field for field in dataclasses.fields(self._kind) if field.name not in _BY_THE_RUN}

    @property
    def title(self) -> str:
        """With PEFT's name of the method: `peft ADALORA`."""
        return f"{self.name} {self.peft_type}"

    @property
    def _learns_prompt(self) -> bool:
        return "num_virtual_tokens" in self._fields

    @property
    def virtual_tokens(self) -> int:
        """Length of the prompt, of the methods that learn one."""
        return int(self.options.get("num_virtual_tokens") or 0)

    @property
    def _has_quantized_layers(self) -> bool:
        """Whether PEFT has layers of this method around those of bitsandbytes; others may read packed numbers."""
        from adapters.models.peft_library import peft

        package = peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[self.peft_type].__module__.rpartition(".")[0]
        return importlib.util.find_spec(f"{package}.bnb") is not None

    def _check_option(self, name: str, value: Any) -> None:
        """Raises SettingsError unless PEFT's config has an option of this name and type."""
        from typeguard import TypeCheckError, check_type

        if name not in self._fields:
            raise SettingsError(f"--peft_options {name}: {self.peft_type}: {did_you_mean(name, self._fields)}")
        default = self._fields[name].default
        if name in _OUTSIDE and value not in (None, default):
            raise SettingsError(
                f"--peft_options {name}: names something outside the adapter, which must stand alone. Leave it out."
            )
        try:
            check_type(value, typing.get_type_hints(self._kind)[name])
        except TypeCheckError as error:
            if value != default:  # some of PEFT's defaults are None and not typed so
                raise SettingsError(
                    f"--peft_options {name} {json.dumps(value)}: {self.peft_type} takes another type: {error}."
                ) from error

    def check(self, base: Base, task: Task) -> None:
        """What PEFT would not refuse itself: a head that it cannot save, and what prompts cannot do."""
        if self._learns_prompt and self.virtual_tokens < 1:
            raise SettingsError(
                f"--peft_options num_virtual_tokens: {self.peft_type} needs it: " """'{"num_virtual_tokens": 16}'."""
            )
        super().check(base, task)
        if task.has_head and "modules_to_save" not in self._fields:
            raise ModelError(
                f"PEFT's {self.peft_type} has no modules_to_save, so it would not save the head of {task.name}. Use a "
                "task that generates, or another type."
            )
        if self.peft_type == "OSF" and self.settings.mixed_precision != "no":
            raise SettingsError("--mixed_precision: PEFT's OSF projects gradients in fp32 only: --mixed_precision no.")
        if base.quantization is not None and not self._learns_prompt and not self._has_quantized_layers:
            raise ModelError(
                f"--load_in_8bit and --load_in_4bit: PEFT's {self.peft_type} has no layers for quantized weights. Use "
                "lora or leave the flag out."
            )
        if not self._learns_prompt:
            return
        if base.kind == ENCODER_DECODER:
            self.check_kind(base, ("encoder", "causal"), f"{self.peft_type}")
        if self.peft_type == _KEYS_AND_VALUES:
            if not base.takes_cache:
                raise ModelError(
                    f"{base.name}: a model of the type {base.config.model_type} accepts no past keys and values, which "
                    f"{self.peft_type} needs. Use a BERT, RoBERTa, GPT-2 or Llama class base."
                )
        elif not task.has_head:
            raise ModelError(
                f"{task.name} has no head, and PEFT's {self.peft_type} generates without position ids, so that padding "
                "would change answers: use prefix, lora or full."
            )

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's config. Raises SettingsError with PEFT's reason for options that it refuses."""
        from transformers.pytorch_utils import Conv1D

        options = dict(self.options)
        if "target_modules" in self._fields and not options.get("target_modules"):
            options["target_modules"] = self._default_targets(model, base, head)
        if "modules_to_save" in self._fields:
            options["modules_to_save"] = [*dict.fromkeys([*head, *(options.get("modules_to_save") or ())])] or None
        if "fan_in_fan_out" in self._fields:  # GPT-2's own linear layer
            options.setdefault("fan_in_fan_out", any(isinstance(module, Conv1D) for module in model.modules()))
        if self._learns_prompt and self.peft_type != _KEYS_AND_VALUES:  # embeddings may be narrower than the layers
            options.setdefault("token_dim", model.get_input_embeddings().weight.shape[1])
        if "total_step" in self._fields:  # known when the trainer is: `before_training`
            options["total_step"] = 1 + options.get("tinit", 0) + options.get("tfinal", 0)
        with self._quoting(SettingsError, "refuses its options"):
            return self._kind(**options)

    def _default_targets(self, model: Any, base: Base, head: list[str]) -> list[str] | None:
        """All linear layers but the head, where PEFT has no default for the type of model; None leaves it to PEFT."""
        from adapters.models.peft_library import peft

        tuner = peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[self.peft_type]
        known = getattr(tuner, "target_module_mapping", {}).get(base.config.model_type)
        if known or self.peft_type in _NOT_OF_LINEAR_LAYERS:
            return None
        return last_parts(linear_layers(model, head))

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """PEFT's model, tried on a few tokens. Raises ModelError with PEFT's reason where it cannot do this."""
        with self._quoting(ModelError, f"cannot do {task.name} on {base.name}"):
            wrapped: Any = self._without_prompt(super().wrap(base, task, train), base)
            _try(wrapped, quantized=base.quantization is not None)
        if not any(p.requires_grad and "modules_to_save" not in name for name, p in wrapped.named_parameters()):
            raise ModelError(f"PEFT's {self.peft_type} adds nothing to {base.name} that could be trained.")
        if is_first():
            targets = getattr(wrapped.active_peft_config, "target_modules", None)
            shown = targets if isinstance(targets, str) else ", ".join(sorted(targets or ()))
            print(f"PEFT's {self.peft_type}{f' on {shown}' if shown else ''}", file=sys.stderr, flush=True)
        built: torch.nn.Module = wrapped
        return built

    def before_training(self, model: Any, optimizer: torch.optim.Optimizer, total_steps: int) -> None:
        """AdaLoRA changes its ranks between steps."""
        if self.peft_type == "ADALORA":
            allocate_ranks(model, optimizer, total_steps)

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Save in PEFT's own format; AdaLoRA without the ranks that it has taken away."""
        if self.peft_type == "ADALORA":
            set_rank_pattern(model)
        super().save(model, base, folder)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """Load by PEFT onto the headed base. Raises ArtifactError where PEFT would leave out tensors, or draw some."""
        from safetensors import safe_open

        with self._quoting(ArtifactError, f"cannot load {folder} on {base.name}"), warnings.catch_warnings():
            # AdaLoRA saves the ranks that it found by parameter, and PEFT looks for layers of these names.
            warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")
            model = super().load(base, task, folder)
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                check_tensors(model, {*file.keys()}, folder / WEIGHTS)
        return self._without_prompt(model, base)

    def config_difference(self, config: Mapping[str, Any]) -> str | None:
        """The first option of a saved config that differs from the settings or, where they say nothing, from PEFT's."""
        if config.get("peft_type") != self.peft_type:
            return f"peft_type: expected {self.peft_type!r} as its card says, found {config.get('peft_type')!r}"
        for name, option in self._fields.items():
            found, given = config.get(name), name in self.options
            expected = self.options[name] if given else option.default
            same = found == expected or (_names(found) is not None and _names(found) == _names(expected))
            if not same and (name not in _BY_WRAP if given else found and name not in _BY_WRAP | _BY_STEPS):
                return f"{name}: expected {expected!r} as its card says, found {found!r:.80}"
        return None

    def recorded(self) -> dict[str, Any]:
        """The settings without the file that options were read from."""
        own = {"peft_type": self.peft_type, "peft_options": json.dumps(self.options) if self.options else None}
        return {**super().recorded(), **own, "peft_config": None}

    def _without_prompt(self, model: torch.nn.Module, base: Base) -> torch.nn.Module:
        """The model, whose output has no positions of a prompt."""
        embedded = self._learns_prompt and self.peft_type != _KEYS_AND_VALUES
        return without_prompt_outputs(model, base) if embedded else model

    @contextmanager
    def _quoting(self, kind: type[UserError], what: str) -> Iterator[None]:
        """Turn an error inside PEFT, of whatever type, into one of ours that quotes it."""
        try:
            yield
        except (UserError, MemoryError):
            raise
        except Exception as error:  # PEFT's are ValueError, TypeError, KeyError, AttributeError, NotImplementedError, …
            if "out of memory" in str(error).lower():
                raise
            reason = f"{type(error).__name__}: {error}".strip()
            raise kind(f"PEFT's {self.peft_type} {what}: {reason}") from error


def _kinds() -> dict[str, Any]:
    """PEFT's config classes by type."""
    from adapters.models.peft_library import peft

    return {str(kind.value): config for kind, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def peft_types() -> list[str]:
    """The types of the installed PEFT that this method trains."""
    return sorted(_kinds().keys() - OWN_FILES.keys() - UNFIT.keys())


def _read(settings: Any) -> tuple[str, dict[str, Any]]:
    """Type and options, those at PEFT's default left out. Raises SettingsError."""
    options = _object("peft_config", settings.peft_config, Path) if settings.peft_config else {}
    known = peft_types()
    found = settings.peft_type or options.get("peft_type")
    if not found:
        raise SettingsError(f"--peft_type is missing: choose from {', '.join(known)}.")
    name = str(found).upper()
    if settings.peft_type and options.get("peft_type", name) != name:
        raise SettingsError(f"--peft_type {found}: {settings.peft_config} is of {options['peft_type']}.")
    if name in OWN_FILES:
        raise SettingsError(f"--peft_type {found}: has a method of its own: --method {OWN_FILES[name]}.")
    if name in UNFIT:
        raise SettingsError(f"--peft_type {found}: {UNFIT[name]}. Choose from {', '.join(known)}.")
    if name not in known:
        near = did_you_mean(name.lower(), map(str.lower, known))
        raise SettingsError(f"--peft_type {found}: {near}. PEFT's types: {', '.join(known)}.")
    given = _object("peft_options", settings.peft_options, str) if settings.peft_options else {}
    if "total_step" in given:
        raise SettingsError("--peft_options total_step: is the number of steps of the run. Leave it out.")
    if name == "ADALORA":  # a saved config has those of the run that saved it
        options = {key: value for key, value in options.items() if key not in ("total_step", "rank_pattern")}
    defaults = {field.name: field.default for field in dataclasses.fields(_kinds()[name])}
    options = {key: value for key, value in {**options, **given}.items() if key not in _BY_THE_RUN}
    return name, {key: value for key, value in options.items() if key not in defaults or value != defaults[key]}


def _object(flag: str, given: str, kind: type) -> dict[str, Any]:
    """The JSON object of a flag, or of the file that it names. Raises SettingsError."""
    try:
        values = json.loads(Path(given).read_text(encoding="utf-8") if kind is Path else given)
    except OSError as error:
        raise SettingsError(f"--{flag} {given}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--{flag} {given}: is no JSON ({error}).") from error
    if not isinstance(values, dict):
        raise SettingsError(f"--{flag} {given}: must be a JSON object, such as " """{"init_r": 8}.""")
    return values


def _names(value: Any) -> set[str] | None:
    """The names in a list, of which PEFT makes a set; None of any other value."""
    return set(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _try(model: Any, *, quantized: bool) -> None:
    """Compute a short text, so that a method that fails on this base or task does so before training."""
    import torch

    device = next(model.parameters()).device
    ids = torch.arange(1, _TRIAL + 1, device=device)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=quantized):
        model(**inputs)
    model.train(training)
