"""Plain PEFT folders, which have no card: one is derived from their config, with a list of what it cannot verify."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, foreign_tokenizer
from adapters.core import discovery
from adapters.core.errors import ArtifactError, DataError, SettingsError
from adapters.core.files import cache_folder, digest_value, read_json, write_json
from adapters.methods.base.delta import PEFT_NAMES
from adapters.methods.base.method import WEIGHTS, Method, load_method
from adapters.methods.base.peft_method import CONFIG as CONFIG
from adapters.methods.base.peft_method import PeftMethod, check_tensors
from adapters.models.layers import matches
from adapters.tasks.base.task import Task, load_task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

_PICKLE = "adapter_model.bin"
_CONVERT = (
    f"Its {_PICKLE} is a pickle, whose loading can run code, so it is never read. If you trust it, convert it: load it "
    "with PEFT itself, and save it by save_pretrained, which writes safetensors."
)
_LAST = re.compile(r"(^|\.)(classifier|score|out_proj|qa_outputs)\.weight$")
"""Names of the last layer of a head in transformers."""
_WITH_HEAD = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""PEFT's task types of models with a head."""
_INITIALISATIONS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Initialisations of LoRA that do not change the base's weights, as others such as pissa do."""
INERT = frozenset(
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


def is_plain(folder: Path) -> bool:
    """Whether a folder is a PEFT folder without a card."""
    return (folder / CONFIG).is_file() and not (folder / artifact.CARD).is_file()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a folder without a card is read. What is None follows from its config or its base's.

    Attributes:
        task: name of the task. Default: the one of PEFT's task type.
        labels: names of the classes, in the head's order. Default: those of a config.json in the folder, or LABEL_0,
            LABEL_1, … if the task allows any names.
        multi_label: whether a text has any number of labels. Default: as `problem_type` says.
        pair: whether an input is two texts.
        max_length: tokens of a window. Default: as many as the base has positions.
    """

    task: str | None = None
    labels: Sequence[str] | None = None
    multi_label: bool | None = None
    pair: bool | None = None
    max_length: int | None = None

    def given(self) -> list[str]:
        """Names of what is not None."""
        return [name for name, value in vars(self).items() if value not in (None, [], ())]


def read(
    folder: Path, base: Base, reading: Reading, plugin_dirs: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A card for a plain PEFT folder, and its tensors.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        base: the base model; whether the adapter was trained on it cannot be verified.
        reading: what the config does not say.
        plugin_dirs: folders with your own methods and tasks.

    Returns:
        The card, with `unchecked` listing what could not be verified, and the tensors.

    Raises:
        ArtifactError: the folder is damaged, of an unknown method, has another tokenizer, or needs labels.
    """
    config = read_config(folder)
    method, settings, ignored = _method(config, folder, plugin_dirs)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ArtifactError(
            f"{folder}: contains no {WEIGHTS}. {_CONVERT if (folder / _PICKLE).is_file() else artifact.REMEDY}"
        )
    data = weights.read_bytes()
    tensors = artifact.parse_tensors(data, weights)
    foreign_tokenizer.check_vocabulary(tensors, base, folder)
    unread = foreign_tokenizer.check(folder, base)
    labels = list(reading.labels or ())
    model_config = _model_config(folder, base)
    problem = model_config.get("problem_type")
    chosen = _task(reading, config, len(_numbered(tensors)) or len(labels), problem, folder, plugin_dirs)
    names = labels or _default_labels(tensors, chosen, model_config, folder)
    if labels and not chosen.has_head:
        raise ArtifactError(f"{folder}: the task {chosen.name} has no labels; leave them out.")
    try:
        read_as = chosen.of_head(names, multi_label=reading.multi_label, pair=reading.pair, problem=problem)
    except (DataError, SettingsError) as error:
        raise ArtifactError(f"{folder}: {error}") from error
    described = read_as.card()
    if config.get("task_type") in _WITH_HEAD and not read_as.on(base.kind).has_head:
        raise ArtifactError(
            f"{folder / CONFIG}: task_type is {config['task_type']!r}, a head on {base.name}; but on a base of the "
            f"kind {base.kind} {chosen.name} generates its answers. Load it with PEFT itself."
        )
    trained_on = config.get("base_model_name_or_path")
    unchecked = [
        f"whether it was trained on {base.name} with its tokenizer (its config names {trained_on!r})",
        "whether it has been modified since it was saved",
    ]
    if "label_range" in described:
        unchecked.append("the unit and the range of its number")
    elif names:
        read = f"; read as {described['tag_scheme']} tags" if "tag_scheme" in described else ""
        given = "as given" if labels else "named"
        unchecked.append(f"the meaning of its classes ({given}: {', '.join(names[:5])}…{read})")
    if ignored:
        unchecked.append(f"options that PEFT does not know in the version here, all of them off: {', '.join(ignored)}")
    if pickles := artifact.pickles(folder):
        unread.append(f"pickles in the folder, which are never read: {', '.join(pickles)}")
    if _has_chat_template(folder):
        unread.append("its chat template: texts are continued as they are, without turns")
    unchecked += unread
    card = {
        "task": described,
        "method": {
            "name": method.name,
            "library": "peft",
            "settings": settings,
            "peft_options": {name: config[name] for name in sorted(method.peft_layers & config.keys())},
        },
        "max_length": base.positions if reading.max_length is None else reading.max_length,
        "base": {**base.digests(), "name": trained_on or base.name},
        "files": {weights.name: hashlib.sha256(data).hexdigest()},
        "unchecked": unchecked,
    }
    return card, tensors


def check_agrees(folder: Path, method: Method, names: Iterable[str], plugin_dirs: Sequence[str] = ()) -> None:
    """Raises ArtifactError if the settings of a folder's PEFT config, if it has one, differ from those of its card.

    Args:
        folder: of an adapter.
        method: with the settings of the card.
        names: of the adapter's tensors, which show the adapted layers.
        plugin_dirs: folders with your own methods.
    """
    if not (folder / CONFIG).is_file():
        return
    config = read_config(folder)
    if isinstance(method, PeftMethod) and method.any_type:
        if difference := method.config_difference(config):
            raise ArtifactError(f"{folder / CONFIG}: {difference}. {artifact.REMEDY}")
        return
    own = method.settings_of(config) if isinstance(method, PeftMethod) else None
    if not isinstance(method, PeftMethod) or own is None:
        found, _, _ = _method(config, folder, plugin_dirs)
        raise ArtifactError(
            f"{folder / CONFIG}: expected the method {method.name} as its card says, found {found.name}."
        )
    _check_options(config, {*method.peft_options, *method.peft_switches}, folder)
    settings = {name: value for name, value in own.items() if value is not None}
    _check_numbers(settings, folder)
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
                f"{folder / CONFIG}: {key}: expected {expected!r} as its card and its tensors say, found {found!r}."
            )


def check_complete(folder: Path, model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises ArtifactError unless a model that PEFT has loaded has exactly a folder's tensors, and no random ones.

    Args:
        folder: of the adapter.
        model: PEFT's.
        tensors: of the folder.
    """
    import torch

    check_tensors(model, tensors.keys(), folder)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ArtifactError(f"{folder}: tensor {name} contains values that are not finite. {artifact.REMEDY}")
    brought = {PEFT_NAMES.sub("", name) for name in tensors}
    lost = [name for name in getattr(model.get_base_model(), "newly_initialised", ()) if name not in brought]
    if lost:
        raise ArtifactError(
            f"{folder}: {', '.join(lost[:3])} is in neither this folder nor the base's weights, so it was random when "
            "the adapter was trained, and is lost. Train it again with all modules of the head in modules_to_save."
        )


def _task(
    reading: Reading,
    config: Mapping[str, Any],
    outputs: int,
    problem: str | None,
    folder: Path,
    plugin_dirs: Sequence[str],
) -> type[Task]:
    """The given task, or the one of PEFT's task type and the head. Raises ArtifactError if there is not exactly one."""
    if reading.task is not None:
        return load_task(reading.task, plugin_dirs)
    kind = config.get("task_type")
    known = [load_task(one, plugin_dirs) for one in discovery.names("tasks", plugin_dirs)]
    fitting = [
        one
        for one in known
        if kind and one.peft_task == kind and one.takes_head(outputs, multi_label=reading.multi_label, problem=problem)
    ]
    if len(fitting) != 1:
        raise ArtifactError(
            f"{folder / CONFIG}: task_type is {kind!r}, which does not determine the task "
            f"({', '.join(one.name for one in known)}). Give it: task=…, or --task with the command."
        )
    return fitting[0]


def read_config(folder: Path) -> dict[str, Any]:
    """The PEFT config of a folder. Raises ArtifactError if it is invalid."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}). {artifact.REMEDY}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ArtifactError(f"{path}: has no peft_type, so it is not a PEFT config. {artifact.REMEDY}")
    return config


def mixes(folder: Path, plugin_dirs: Sequence[str] = ()) -> bool:
    """Whether a folder's type of adapter is one that a bank mixes."""
    kind = read_config(folder)["peft_type"]
    return any(not one.any_type and one.peft_type == kind for one in _peft_methods(plugin_dirs))


def _peft_methods(plugin_dirs: Sequence[str]) -> list[type[PeftMethod]]:
    """The methods that PEFT implements."""
    known = [load_method(name, plugin_dirs) for name in discovery.names("methods", plugin_dirs)]
    return [one for one in known if issubclass(one, PeftMethod)]


def base_of(folder: Path) -> str:
    """The base named in a folder's config. Raises ArtifactError if there is none."""
    named = read_config(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ArtifactError(f"{folder / CONFIG}: has no base_model_name_or_path. Give the base: --base.")
    return named


def _method(
    config: Mapping[str, Any], folder: Path, plugin_dirs: Sequence[str]
) -> tuple[type[PeftMethod], dict[str, Any], list[str]]:
    """The method of a config, its settings but for the layers, and the unknown options that change nothing."""
    from adapters.models.peft_library import peft

    known = _peft_methods(plugin_dirs)
    ours = [one for one in known if not one.any_type]
    for method in ours:
        if method.settings_of(config) is not None:
            read = {*method.peft_options, *method.peft_switches, *method.peft_layers}
            ignored = _check_options(config, read, folder)
            asked = {theirs for theirs in method.peft_layers if theirs.endswith("_modules")}  # of PEFT itself
            given = {name: value for name, value in {**_defaults(config), **config}.items() if name not in asked}
            settings = method.settings_of(given) or {}
            _check_numbers(settings, folder)
            _check_finite(config, folder)
            return method, settings, ignored
    if config["peft_type"] not in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING:
        raise ArtifactError(f"{folder / CONFIG}: expected a peft_type of PEFT, found {config['peft_type']!r}.")
    return next(one for one in known if one.any_type), {"peft_config": str(folder / CONFIG)}, []


def _check_numbers(settings: Mapping[str, Any], folder: Path) -> None:
    """Raises ArtifactError for a setting that should be a number and is not, or a list of names and is not."""
    for name, value in settings.items():
        if name.endswith("_modules"):
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise ArtifactError(f"{folder / CONFIG}: {name}: expected a list of layer names, found {value!r}.")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
            raise ArtifactError(f"{folder / CONFIG}: {name}: expected a number, found {value!r}.")


def _check_finite(config: Mapping[str, Any], folder: Path) -> None:
    """Raises ArtifactError for an option with NaN or an infinity in it, which JSON lacks and Python reads."""
    for name, value in config.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise ArtifactError(
                f"{folder / CONFIG}: {name}: expected finite numbers, found {value!r:.80}. {artifact.REMEDY}"
            ) from error


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT's defaults of all options of a config's type, as JSON.

    They are cached for the installed version, as importing PEFT takes longer than loading an adapter does.
    """
    found = importlib.util.find_spec("peft")
    assert found is not None and found.origin is not None
    status = Path(found.origin).stat()
    key = [importlib.metadata.version("peft"), found.origin, status.st_size, status.st_mtime_ns, config["peft_type"]]
    cached = cache_folder("peft_options") / f"{digest_value(key)}.json"
    try:
        return dict(read_json(cached)["options"])
    except (OSError, ValueError, KeyError, TypeError):
        defaults: dict[str, Any] = json.loads(json.dumps(_options(config["peft_type"]), default=str))
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


def _check_options(config: Mapping[str, Any], read: set[str], folder: Path) -> list[str]:
    """The options that PEFT does not know and that are off.

    Raises ArtifactError for one that affects predictions and is not supported here, or is unknown and on.
    """
    defaults = _defaults(config)
    initialisation = config.get("init_lora_weights")
    if initialisation not in _INITIALISATIONS:
        raise ArtifactError(
            f"{folder / CONFIG}: init_lora_weights is {initialisation!r}, with which PEFT also changes the base's "
            "weights, so that other adapters could not share them. Load it with PEFT itself."
        )
    unknown = sorted(config.keys() - defaults.keys() - INERT)
    for name in unknown:
        if config[name] not in (None, "", [], {}) and config[name] is not False:
            raise ArtifactError(
                f"{folder / CONFIG}: {name} is {config[name]!r:.80}, an option that PEFT does not know in the version "
                "here, so that it is not supported here. Load it with the version of PEFT that wrote it."
            )
    for name, value in config.items():
        if name not in read and name not in INERT and value and value != defaults.get(name):
            raise ArtifactError(
                f"{folder / CONFIG}: {name} is {value!r:.80}, which changes what the adapter computes and is not "
                "supported here. Load it with PEFT itself."
            )
    return unknown


def _has_chat_template(folder: Path) -> bool:
    """Whether a folder brings a chat template, in a file of its own or in its tokenizer's config."""
    path = folder / "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return path.is_file() and bool(read_json(path).get("chat_template"))
    except (ValueError, RecursionError, AttributeError):
        return False


def _model_config(folder: Path, base: Base) -> dict[str, Any]:
    """The config of the model that the adapter was trained on, if the folder has it, else that of the base."""
    path = folder / "config.json"
    try:
        given = read_json(path) if path.is_file() else base.config.to_dict()
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}). {artifact.REMEDY}") from error
    return given if isinstance(given, dict) else {}


def _default_labels(tensors: Mapping[str, Any], task: type[Task], config: Mapping[str, Any], folder: Path) -> list[str]:
    """The names in a model's config, if it has one per class; else LABEL_0, …, if the task allows any names."""
    if not task.has_head:
        return []
    names, named = _numbered(tensors), config.get("id2label")
    if isinstance(named, dict) and len(named) == len(names) and set(named) == set(map(str, range(len(names)))):
        given = [str(named[str(number)]) for number in range(len(names))]
        if given != names and len(set(given)) == len(given):
            return given
    if not task.free_labels or not names:
        raise ArtifactError(
            f"{folder}: a plain PEFT folder does not name its labels, and {task.name} needs them in the head's order. "
            "Give them: labels=[…], or --labels with the command."
        )
    return names


def some_labels(folder: Path) -> list[str]:
    """Default label names for the classes of a folder."""
    weights = folder / WEIGHTS
    return _numbered(artifact.parse_tensors(weights.read_bytes(), weights)) if weights.is_file() else []


def _numbered(tensors: Mapping[str, Any]) -> list[str]:
    """LABEL_0, …, one per class of the head's last layer; empty if that is not clear."""
    lasts = [tensor for name, tensor in tensors.items() if _LAST.search(name) and tensor.dim() == 2]
    return [f"LABEL_{number}" for number in range(len(lasts[0]))] if len(lasts) == 1 else []
