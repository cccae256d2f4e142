"""PEFT's config in an adapter's folder: of which method it is, and whether all that it asks for is supported."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from adapters.artifacts.artifact import REMEDY
from adapters.core import discovery
from adapters.core.errors import ArtifactError
from adapters.core.files import cache_folder, digest_value, read_json, write_json
from adapters.methods.base.method import Method, load_method
from adapters.methods.base.peft_method import CONFIG, PeftMethod
from adapters.models.layers import matches

_INITIALISATIONS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Initialisations of LoRA that do not change the base's weights, as others such as pissa do."""
_INERT = frozenset(
    {
        "peft_type",
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "init_lora_weights",
        "modules_to_save",
        "fan_in_fan_out",
        "runtime_config",
        "init_ia3_weights",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "tokenizer_name_or_path",
        "tokenizer_kwargs",
        "token_dim",
        "num_layers",
        "num_attention_heads",
        "ensure_weight_tying",
        "num_transformer_submodules",
        "prefix_projection",
        "encoder_hidden_size",
        "ephemeral_gpu_offload",
        "megatron_core",
    }
)
"""Options about the origin or initialisation of an adapter, which do not affect its predictions."""


class PeftConfig:
    """PEFT's config of an adapter.

    Attributes:
        folder: of the adapter.
        path: of the file.
        values: all options.
        type: PEFT's name of the method.
    """

    def __init__(self, folder: Path) -> None:
        """Read a folder's config. Raises ArtifactError if it is invalid."""
        self.folder, self.path = folder, folder / CONFIG
        try:
            values = read_json(self.path)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{self.path}: damaged, not JSON ({error}). {REMEDY}") from error
        if not isinstance(values, dict) or not isinstance(values.get("peft_type"), str):
            raise ArtifactError(f"{self.path}: has no peft_type, so it is not a PEFT config. {REMEDY}")
        self.values: dict[str, Any] = values
        self.type: str = values["peft_type"]

    @property
    def base(self) -> str:
        """The base that it names. Raises ArtifactError if it names none."""
        named = self.values.get("base_model_name_or_path")
        if not isinstance(named, str) or not named:
            raise ArtifactError(f"{self.path}: has no base_model_name_or_path. Give the base: --base.")
        return named

    def mixes(self, plugin_dirs: Sequence[str] = ()) -> bool:
        """Whether its type is one that a bank mixes."""
        return any(not one.any_type and one.peft_type == self.type for one in _peft_methods(plugin_dirs))

    def method(self, plugin_dirs: Sequence[str] = ()) -> tuple[type[PeftMethod], dict[str, Any], list[str]]:
        """Its method, the settings but for the layers, and the unknown options that change nothing.

        Raises ArtifactError for an option that is not supported, or has no sound value.
        """
        from adapters.models.peft_library import peft

        known = _peft_methods(plugin_dirs)
        ours = [one for one in known if not one.any_type]
        for method in ours:
            if method.settings_of(self.values) is not None:
                ignored = self._check_options({*method.peft_options, *method.peft_switches, *method.peft_layers})
                asked = {theirs for theirs in method.peft_layers if theirs.endswith("_modules")}  # of PEFT itself
                options = {**self._defaults, **self.values}
                given = {name: value for name, value in options.items() if name not in asked}
                settings = method.settings_of(given) or {}
                self._check_numbers(settings)
                self._check_finite()
                return method, settings, ignored
        if self.type not in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING:
            raise ArtifactError(f"{self.path}: expected a peft_type of PEFT, found {self.type!r}.")
        return next(one for one in known if one.any_type), {"peft_config": str(self.path)}, []

    def check_agrees(self, method: Method, names: Iterable[str], plugin_dirs: Sequence[str] = ()) -> None:
        """Raises ArtifactError if its settings differ from those of the adapter's card.

        Args:
            method: with the settings of the card.
            names: of the adapter's tensors, which show the adapted layers.
            plugin_dirs: folders with your own methods.
        """
        if isinstance(method, PeftMethod) and method.any_type:
            if difference := method.config_difference(self.values):
                raise ArtifactError(f"{self.path}: {difference}. {REMEDY}")
            return
        own = method.settings_of(self.values) if isinstance(method, PeftMethod) else None
        if not isinstance(method, PeftMethod) or own is None:
            found, _, _ = self.method(plugin_dirs)
            raise ArtifactError(f"{self.path}: expected the method {method.name} as its card says, found {found.name}.")
        self._check_options({*method.peft_options, *method.peft_switches})
        settings = {name: value for name, value in own.items() if value is not None}
        self._check_numbers(settings)
        adapted = {one.rsplit(part, 1)[0] for one in names for part in (".lora_A.", ".ia3_l") if part in one}
        for key, found in settings.items():
            expected = getattr(method.settings, key)
            if not isinstance(found, list):
                agrees = expected == found
            elif key.endswith("target_modules"):
                as_card = [*expected] in ([], ["all-linear"], found) or set(expected) == set(found)
                agrees = as_card and all(any(matches(layer, end) for layer in adapted) for end in found)
                agrees = agrees and all(any(matches(layer, end) for end in found) for layer in adapted)
            else:
                agrees = not expected or set(expected) == set(found)
            if not agrees:
                raise ArtifactError(
                    f"{self.path}: {key}: expected {expected!r} as its card and its tensors say, found {found!r}."
                )

    def _check_options(self, read: set[str]) -> list[str]:
        """The options that PEFT does not know and that are off.

        Raises ArtifactError for one that affects predictions and is not supported here, or is unknown and on.
        """
        defaults = self._defaults
        initialisation = self.values.get("init_lora_weights")
        if initialisation not in _INITIALISATIONS:
            raise ArtifactError(
                f"{self.path}: init_lora_weights is {initialisation!r}, with which PEFT also changes the base's "
                "weights, so that other adapters could not share them. Load it with PEFT itself."
            )
        unknown = sorted(self.values.keys() - defaults.keys() - _INERT)
        for name in unknown:
            value = self.values[name]
            if value not in (None, "", [], {}) and value is not False:
                raise ArtifactError(
                    f"{self.path}: {name} is {value!r:.80}, an option that PEFT does not know in the version "
                    "here, so that it is not supported here. Load it with the version of PEFT that wrote it."
                )
        for name, value in self.values.items():
            if name not in read and name not in _INERT and value and value != defaults.get(name):
                raise ArtifactError(
                    f"{self.path}: {name} is {value!r:.80}, which changes what the adapter computes and is not "
                    "supported here. Load it with PEFT itself."
                )
        return unknown

    def _check_numbers(self, settings: Mapping[str, Any]) -> None:
        """Raises ArtifactError for a setting that should be a number and is not, or a list of names and is not."""
        for name, value in settings.items():
            if name.endswith("_modules"):
                if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                    raise ArtifactError(f"{self.path}: {name}: expected a list of layer names, found {value!r}.")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
                raise ArtifactError(f"{self.path}: {name}: expected a number, found {value!r}.")

    def _check_finite(self) -> None:
        """Raises ArtifactError for an option with NaN or an infinity in it, which JSON lacks and Python reads."""
        for name, value in self.values.items():
            try:
                json.dumps(value, allow_nan=False)
            except ValueError as error:
                raise ArtifactError(
                    f"{self.path}: {name}: expected finite numbers, found {value!r:.80}. {REMEDY}"
                ) from error

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """PEFT's defaults of all options of its type, as JSON.

        They are cached for the installed version, as importing PEFT takes longer than loading an adapter does.
        """
        found = importlib.util.find_spec("peft")
        assert found is not None and found.origin is not None
        status = Path(found.origin).stat()
        key = [importlib.metadata.version("peft"), found.origin, status.st_size, status.st_mtime_ns, self.type]
        cached = cache_folder("peft_options") / f"{digest_value(key)}.json"
        try:
            return dict(read_json(cached)["options"])
        except (OSError, ValueError, KeyError, TypeError):
            defaults: dict[str, Any] = json.loads(json.dumps(_options(self.type), default=str))
            write_json(cached, {"options": defaults})
            return defaults


def _options(kind: str) -> dict[str, Any]:
    """PEFT's options of a type, with their defaults."""
    from adapters.models.peft_library import peft

    defaults = {}
    for field in dataclasses.fields(peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[kind]):
        factory = field.default_factory
        defaults[field.name] = factory() if factory is not dataclasses.MISSING else field.default
    return defaults


def _peft_methods(plugin_dirs: Sequence[str]) -> list[type[PeftMethod]]:
    """The methods that PEFT implements."""
    known = [load_method(name, plugin_dirs) for name in discovery.names("methods", plugin_dirs)]
    return [one for one in known if issubclass(one, PeftMethod)]
