"""Plain PEFT folders, which have no card: one is derived from their config, with a list of what it cannot verify."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, foreign_tokenizer
from adapters.artifacts.peft_config import PeftConfig
from adapters.core import discovery
from adapters.core.errors import ArtifactError, DataError, SettingsError
from adapters.core.files import read_json
from adapters.methods.base.delta import PEFT_NAMES
from adapters.methods.base.method import WEIGHTS
from adapters.methods.base.peft_method import CONFIG, check_tensors
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
    config: PeftConfig, base: Base, reading: Reading, plugin_dirs: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A card for a plain PEFT folder, and its tensors.

    Args:
        config: of the folder, which also has `adapter_model.safetensors`.
        base: the base model; whether the adapter was trained on it cannot be verified.
        reading: what the config does not say.
        plugin_dirs: folders with your own methods and tasks.

    Returns:
        The card, with `unchecked` listing what could not be verified, and the tensors.

    Raises:
        ArtifactError: the folder is damaged, of an unknown method, has another tokenizer, or needs labels.
    """
    folder = config.folder
    method, settings, ignored = config.method(plugin_dirs)
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
    chosen = _task(reading, config, len(_numbered(tensors)) or len(labels), problem, plugin_dirs)
    names = labels or _default_labels(tensors, chosen, model_config, folder)
    if labels and not chosen.has_head:
        raise ArtifactError(f"{folder}: the task {chosen.name} has no labels; leave them out.")
    try:
        read_as = chosen.of_head(names, multi_label=reading.multi_label, pair=reading.pair, problem=problem)
    except (DataError, SettingsError) as error:
        raise ArtifactError(f"{folder}: {error}") from error
    described = read_as.card()
    if config.values.get("task_type") in _WITH_HEAD and not read_as.on(base.kind).has_head:
        raise ArtifactError(
            f"{config.path}: task_type is {config.values['task_type']!r}, a head on {base.name}; but on a base of the "
            f"kind {base.kind} {chosen.name} generates its answers. Load it with PEFT itself."
        )
    trained_on = config.values.get("base_model_name_or_path")
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
            "peft_options": {name: config.values[name] for name in sorted(method.peft_layers & config.values.keys())},
        },
        "max_length": base.positions if reading.max_length is None else reading.max_length,
        "base": {**base.digests(), "name": trained_on or base.name},
        "files": {weights.name: hashlib.sha256(data).hexdigest()},
        "unchecked": unchecked,
    }
    return card, tensors


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
    reading: Reading, config: PeftConfig, outputs: int, problem: str | None, plugin_dirs: Sequence[str]
) -> type[Task]:
    """The given task, or the one of PEFT's task type and the head. Raises ArtifactError if there is not exactly one."""
    if reading.task is not None:
        return load_task(reading.task, plugin_dirs)
    kind = config.values.get("task_type")
    known = [load_task(one, plugin_dirs) for one in discovery.names("tasks", plugin_dirs)]
    fitting = [
        one
        for one in known
        if kind and one.peft_task == kind and one.takes_head(outputs, multi_label=reading.multi_label, problem=problem)
    ]
    if len(fitting) != 1:
        raise ArtifactError(
            f"{config.path}: task_type is {kind!r}, which does not determine the task "
            f"({', '.join(one.name for one in known)}). Give it: task=…, or --task with the command."
        )
    return fitting[0]


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
