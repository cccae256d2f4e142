"""A plain PEFT folder, which has no card: one is made from its config, and what could not be checked is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import artifact, discovery, methods, tasks
from adapters.errors import ArtifactError
from adapters.layers import matches
from adapters.settings import CommonSettings

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

CONFIG = "adapter_config.json"
_LAST = re.compile(r"(^|\.)(classifier|score|out_proj|qa_outputs)\.weight$")
"""What transformers calls the last layer of a head."""
_BEGINNINGS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Ways in which LoRA begins that leave the base's weights alone; PEFT changes them for others, pissa say."""
INERT = frozenset({
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "init_lora_weights", "modules_to_save", "fan_in_fan_out", "runtime_config", "init_ia3_weights",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "prompt_tuning_init", "prompt_tuning_init_text",
    "tokenizer_name_or_path", "tokenizer_kwargs", "token_dim", "num_layers", "num_attention_heads",
    "ensure_weight_tying", "num_transformer_submodules", "prefix_projection", "encoder_hidden_size",
    "ephemeral_gpu_offload", "megatron_core",
})  # fmt: skip
"""Options that say where an adapter comes from or how it was begun; its answers follow from the others."""


def is_plain(folder: Path) -> bool:
    """Whether a folder is PEFT's and nothing more."""
    return (folder / CONFIG).is_file() and not (folder / artifact.CARD).is_file()


def read(
    folder: Path, base: Base, *, task: str | None = None, labels: Sequence[str] | None = None,
    plugin_dirs: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:  # fmt: skip
    """A card for a plain PEFT folder, and its tensors.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        base: the model that it is to change; that it was trained on this one cannot be known.
        task: name of the task. Default: the one that PEFT's task type stands for.
        labels: names of the classes, in order. Default: LABEL_0, LABEL_1, … where any names will do.
        plugin_dirs: folders with methods and tasks of your own.

    Returns:
        The card, `unchecked` in it: what its digests would have shown; and the tensors.

    Raises:
        ArtifactError: the folder is damaged, of a method that is not known, or needs labels.
    """
    artifact.refuse_pickles(folder)
    config = read_config(folder)
    method, settings = _method(config, folder, plugin_dirs)
    weights = folder / methods.WEIGHTS
    if not weights.is_file():
        raise ArtifactError(f"{folder}: holds no {methods.WEIGHTS}. {artifact.HEALING}")
    data = weights.read_bytes()
    tensors = artifact.parse_tensors(data, weights)
    chosen = _task(task, config, folder, plugin_dirs)
    names = list(labels) if labels else _usual_labels(tensors, chosen, folder)
    trained_on = config.get("base_model_name_or_path")
    card = {
        "task": {"name": chosen.name, "labels": names},
        "method": {"name": method, "library": "peft", "settings": settings},
        "max_length": CommonSettings().max_length,
        "base": {"name": trained_on or base.name, "weights_sha256": base.digest,
                 "tokenizer_sha256": base.tokenizer_digest},
        "files": {weights.name: hashlib.sha256(data).hexdigest()},
        "unchecked": [
            f"whether it was trained on {base.name} with its tokenizer (it says {trained_on!r})",
            "whether a bit of it has changed since it was saved",
            f"what its classes mean ({'as you say' if labels else 'they are called'}: {', '.join(names[:5])}…)",
        ],
    }  # fmt: skip
    return card, tensors


def check_agrees(folder: Path, method: methods.Method, names: Iterable[str], plugin_dirs: Sequence[str] = ()) -> None:
    """Raises ArtifactError where a folder's PEFT config, if it has one, tells other settings than its card does.

    Args:
        folder: of an adapter.
        method: with the settings of the card.
        names: of the adapter's tensors: the layers that the config names are those that have some.
        plugin_dirs: folders with methods of your own.
    """
    if not (folder / CONFIG).is_file():
        return
    config = read_config(folder)
    own = method.settings_of(config) if isinstance(method, methods.PeftMethod) else None
    if own is None:
        name, _ = _method(config, folder, plugin_dirs)
        raise ArtifactError(f"{folder / CONFIG}: expected the method {method.name} as its card says, found {name}.")
    settings = _read_by(method, config, own, folder)
    changed = {one.rsplit(part, 1)[0] for one in names for part in (".lora_A.", ".ia3_l") if part in one}
    for key, found in settings.items():
        expected = getattr(method.settings, key)
        if not isinstance(found, list):
            agrees = expected == found
        elif key.endswith("target_modules"):
            said = [*expected] in ([], ["all-linear"], found) or set(expected) == set(found)
            agrees = said and all(any(matches(layer, end) for layer in changed) for end in found)
            agrees = agrees and all(any(matches(layer, end) for end in found) for layer in changed)
        else:
            agrees = not expected or set(expected) == set(found)
        if not agrees:
            raise ArtifactError(
                f"{folder / CONFIG}: {key}: expected {expected!r} as its card and its tensors say, found {found!r}."
            )


def _task(name: str | None, config: Mapping[str, Any], folder: Path, plugin_dirs: Sequence[str]) -> type[tasks.Task]:
    """The task asked for, or the one that PEFT's task type stands for. Raises ArtifactError where none does."""
    if name is not None:
        return tasks.load(name, plugin_dirs)
    kind = config.get("task_type")
    known = [tasks.load(one, plugin_dirs) for one in discovery.names("tasks", plugin_dirs)]
    fitting = [one for one in known if kind and one.peft_task == kind]
    if len(fitting) != 1:
        raise ArtifactError(
            f"{folder / CONFIG}: task_type is {kind!r}, which does not tell one task here "
            f"({', '.join(one.name for one in known)}). Say which: task=…, or --task with the command."
        )
    return fitting[0]


def read_config(folder: Path) -> dict[str, Any]:
    """PEFT's config of a folder. Raises ArtifactError where it is none."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}). {artifact.HEALING}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ArtifactError(f"{path}: names no peft_type, so it is not PEFT's. {artifact.HEALING}")
    return config


def base_of(folder: Path) -> str:
    """The base that a folder's config names. Raises ArtifactError where it names none."""
    named = read_config(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ArtifactError(f"{folder / CONFIG}: names no base_model_name_or_path. Give its base: --base.")
    return named


def _method(config: Mapping[str, Any], folder: Path, plugin_dirs: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The method whose config it is, and its settings; every other option must be at PEFT's default."""
    known = {name: methods.load(name, plugin_dirs) for name in discovery.names("methods", plugin_dirs)}
    ours = {name: method for name, method in known.items() if issubclass(method, methods.PeftMethod)}
    for name, method in ours.items():
        settings = method.settings_of(config)
        if settings is not None:
            return name, _read_by(method, config, settings, folder)
    kinds = sorted({method.peft_type for method in ours.values()})
    raise ArtifactError(
        f"{folder / CONFIG}: expected a peft_type of {', '.join(kinds)}, found {config['peft_type']!r}."
    )


def _read_by(method: Any, config: Mapping[str, Any], settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a method reads of a config, checked; every option that it does not read must be at PEFT's default."""
    _check_options(config, {*method.peft_options, *method.peft_switches}, folder)
    return _checked(settings, folder)


def _checked(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings without those left at None; a pattern in the place of names of layers is refused."""
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, value in settings.items():
        if name.endswith("_modules"):
            value = [value] if value == "all-linear" else value
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise ArtifactError(f"{folder / CONFIG}: {name}: expected a list of names of layers, found {value!r}.")
            settings[name] = value
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
            raise ArtifactError(f"{folder / CONFIG}: {name}: expected a number, found {value!r}.")
    return settings


def _check_options(config: Mapping[str, Any], read: set[str], folder: Path) -> None:
    """Raises ArtifactError for an option that would change the answers and is not known here."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    usual = {}
    for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[config["peft_type"]]):
        made = field.default_factory
        usual[field.name] = made() if made is not dataclasses.MISSING else field.default
    begun = config.get("init_lora_weights")
    if begun not in _BEGINNINGS:
        raise ArtifactError(
            f"{folder / CONFIG}: init_lora_weights is {begun!r}, by which PEFT changes the base's weights too; other "
            "adapters could not share them. Load it with PEFT itself."
        )
    for name, value in config.items():
        if name not in read and name not in INERT and value and value != usual.get(name):
            raise ArtifactError(
                f"{folder / CONFIG}: {name} is {value!r:.80}, which changes what the adapter does and is not known "
                "here. Load it with PEFT itself."
            )


def _usual_labels(tensors: Mapping[str, Any], task: type[tasks.Task], folder: Path) -> list[str]:
    """LABEL_0, … as many as the head has classes, where such names will do."""
    names = _numbered(tensors)
    if not task.free_labels or not names:
        raise ArtifactError(
            f"{folder}: a plain PEFT folder does not name its labels, and {task.name} needs them in the head's order. "
            "Give them: labels=[…], or --labels with the command."
        )
    return names


def some_labels(folder: Path) -> list[str]:
    """Names for the classes of a folder whose labels nobody needs to know."""
    artifact.refuse_pickles(folder)
    weights = folder / methods.WEIGHTS
    return _numbered(artifact.parse_tensors(weights.read_bytes(), weights)) if weights.is_file() else []


def _numbered(tensors: Mapping[str, Any]) -> list[str]:
    """LABEL_0, … as many as the head's last layer has classes; none where it cannot be told."""
    lasts = [tensor for name, tensor in tensors.items() if _LAST.search(name) and tensor.dim() == 2]
    return [f"LABEL_{number}" for number in range(len(lasts[0]))] if len(lasts) == 1 else []
