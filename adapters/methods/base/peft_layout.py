"""Which layers PEFT adapts by a config, and which parameters it saves in full: PEFT itself is asked. And whether its
patterns can be asked for at all."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError
from adapters.methods.base.delta import PEFT_NAMES, AdaptedLayer, AdapterDelta, AdapterTensors, LayerDelta

if TYPE_CHECKING:
    import torch

NAME = "default"
"""PEFT's name for the only adapter of a model."""
PATTERN_SECONDS = 5.0
"""Time for the regular expressions of a config on the names of a model's modules."""
_PLAIN = re.compile(r"[\w.|-]*")
"""Patterns that cannot take long, unless they are many."""
MANY, TOO_MANY = 200, 10_000
"""Patterns of one option that may take long together, and names that no config lists."""
_FORMS = {
    "target_modules": "{}",
    "exclude_modules": "{}",
    "feedforward_modules": "{}",
    "modules_to_save": r"(^|.*\.){}($|\..*)",
    "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
}
"""How PEFT matches an option's pattern with the name of a module; the first three only if they are not lists."""
_END, _ANYWHERE = r"(.*\.)?({})$", r".*({})$"
"""The same of all other options that end in `_pattern`, by module; and what takes at least as long as any of their
types matches them."""
_MATCH = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for number, (form, pattern) in enumerate(patterns):
    print(number, flush=True)
    match = re.compile(form.replace("{}", pattern)).match if form != "{}" else re.compile(pattern).fullmatch
    for name in names:
        match(name)
"""


@dataclass(frozen=True, kw_only=True)
class PeftLayout:
    """What PEFT makes of a model by a config. All names are those in the headed model.

    Attributes:
        adapted: the layers that it adapts.
        full: the parameters that it saves in full.
    """

    adapted: Mapping[str, AdaptedLayer]
    full: frozenset[str]


def layout(options: Mapping[str, Any], peft_type: str, model: Any, where: str) -> PeftLayout:
    """The layout of a model by a config.

    Args:
        options: those of the config that choose and shape layers.
        peft_type: PEFT's name for the method.
        model: the headed model on the meta device, which is modified.
        where: the config, for error messages.

    Raises:
        ArtifactError: PEFT refuses the config, a layer is of a kind that a bank cannot adapt, or a pattern never ends.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    from adapters.models.peft_library import peft, without_bitsandbytes

    check_patterns(options, model, where)
    try:
        own_options = copy.deepcopy(dict(options))  # whose lists PEFT extends
        config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft_type](**own_options, inference_mode=True)
        kind = peft.auto.MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, peft.PeftModel)
        with torch.device("meta"), without_bitsandbytes():
            wrapped = kind(model, config, NAME)
        saved = peft.get_peft_model_state_dict(wrapped, wrapped.state_dict(), save_embedding_layers=False)
    except Exception as error:  # whatever a config can make PEFT raise
        raise ArtifactError(
            f"{where}: PEFT cannot apply it to {type(model).__name__}: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    adapted = {}
    for name, layer in wrapped.get_base_model().named_modules():
        if not isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
            continue
        inner = layer.get_base_layer()
        if not isinstance(inner, torch.nn.Linear | Conv1D):
            raise ArtifactError(
                f"{where}: adapts {name}, a module of the class {type(inner).__name__}; in a bank only linear layers "
                "can differ from row to row. Load it with PEFT itself."
            )
        adapted[name] = _adapted(layer)
    names = {PEFT_NAMES.sub("", name) for name in saved}
    own = tuple(f"{name}.{part}" for name in adapted for part in ("lora_", "ia3_"))
    return PeftLayout(adapted=adapted, full=frozenset(name for name in names if not name.startswith(own)))


def _adapted(layer: Any) -> AdaptedLayer:
    """What PEFT's layer does."""
    if hasattr(layer, "lora_A"):
        return AdaptedLayer(rank=layer.r[NAME], scaling=float(layer.scaling[NAME]), bias=bool(layer.lora_bias[NAME]))
    return AdaptedLayer(scales_input=bool(layer.is_feedforward))


def with_full_parameters(delta: AdapterDelta, tensors: AdapterTensors, names: frozenset[str]) -> AdapterDelta:
    """A delta with the parameters of the body that an adapter has trained in full; those of the head are left.

    Args:
        delta: of the adapted layers.
        tensors: what the adapter has saved.
        names: of the parameters saved in full.

    Raises:
        ArtifactError: one is of a module that all adapters of a bank share.
    """
    own = f"{tensors.body_name}."
    # PEFT also saves embeddings of which it suspects that they were resized.
    embeddings = tensors.body.get_input_embeddings().weight
    resized = {f"{own}{name}" for name, parameter in tensors.body.named_parameters() if parameter is embeddings}
    found: dict[str, dict[str, torch.Tensor]] = {}
    twins = {name for name in names if ".original_module." in name or ".modules_to_save." in name}
    for name in twins:
        _drop_twin(name, tensors)
    for name in sorted(names - twins | (resized & tensors.tensors.keys())):
        if ".base_layer." in name or not tensors.in_head(name):
            layer, _, part = name.replace(".base_layer.", ".").rpartition(".")
            shape = getattr(tensors.layer(layer), part).shape
            found.setdefault(layer, {})[part] = tensors.take(name, shape)
    updates = {f"{own}{name}": one for name, one in delta.layers.items()} | dict(delta.head)
    for layer, trained in found.items():
        before = tensors.layer(layer)
        changed = {part: new for part, new in trained.items() if not new.equal(getattr(before, part).float().cpu())}
        if changed:
            updates[layer] = _update(updates.get(layer, LayerDelta()), before, changed, f"{tensors.subject}: {layer}")
    both = tensors.delta(updates)
    return replace(delta, layers=both.layers, head=both.head)


def _drop_twin(name: str, tensors: AdapterTensors) -> None:
    """Drop what bias="all" saves of a replaced module, and of its replacement a second time.

    Raises ArtifactError if the second is another than the first, as where modules_to_save names a module in another.
    """
    found = tensors.tensors.pop(name, None)
    twin = re.sub(rf"\.modules_to_save\.({NAME}\.)?", ".", name)
    if found is None or ".original_module." in name:
        return
    if twin not in tensors.tensors or not found.equal(tensors.tensors[twin]):
        raise ArtifactError(
            f"{tensors.subject}: {name} is not the same as {twin}: modules_to_save names a module and one inside it, "
            "and PEFT itself cannot load what it saves of that. Train it again without the inner one."
        )


def _update(delta: LayerDelta, layer: Any, trained: Mapping[str, torch.Tensor], where: str) -> LayerDelta:
    """A layer's update with the difference to parameters trained in full in it."""
    import torch

    norm = isinstance(layer, torch.nn.LayerNorm)
    if not norm and not (hasattr(layer, "in_features") or hasattr(layer, "nf")):
        raise ArtifactError(
            f"{where}: a module of the class {type(layer).__name__} is trained in full, which all adapters of a bank "
            "share. Load it with PEFT itself."
        )
    weight, bias = layer.weight.float().cpu(), getattr(layer, "bias", None)
    bias = None if bias is None else bias.float().cpu()
    if norm and "weight" in trained:  # (y - bias) * scale + bias for an output y
        scale = torch.where(trained["weight"] == weight, 1.0, trained["weight"] / weight)
        offset = torch.zeros_like(scale) if bias is None else bias * (1 - scale)
        if not torch.isfinite(scale).all() or offset.abs().max() > 100:
            raise ArtifactError(
                f"{where}: its weights are trained in full, and some of the base's are too close to zero to be scaled "
                "to them. Load it with PEFT itself."
            )
        delta = replace(delta, scale_out=scale[None])
        delta = delta if bias is None else delta.shifted(offset[None])
    elif "weight" in trained:
        change = trained["weight"] - weight
        change = change.T if hasattr(layer, "in_features") else change  # Conv1D stores it as `[in, out]`
        delta = replace(delta, down=torch.eye(len(change)), up=change)
    if bias is not None and "bias" in trained:
        delta = delta.shifted((trained["bias"] - bias)[None])
    return delta


def _form(option: str) -> str:
    """How an option's patterns are matched; empty if it has none."""
    return _FORMS.get(option) or (_END if option.endswith("_pattern") else "")


def _patterns(options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names of options, those of their patterns that could take long, and how they are matched."""
    found = []
    for option, value in options.items():
        form = _form(option)
        several = list(value) if isinstance(value, list | dict) and form != "{}" else []
        for one in ([value] if isinstance(value, str) else several) if form else []:
            plain = isinstance(one, str) and _PLAIN.fullmatch(one)
            if isinstance(one, str) and (len(several) > MANY or not plain):
                found.append((option, one, form if plain or form != _END else _ANYWHERE))
    return found


def check_patterns(options: Mapping[str, Any], model: Any, where: str) -> None:
    """Raises ArtifactError for a pattern that is invalid, or so slow that it would block this process.

    They are tried in a process of their own, as nothing can interrupt `re` in this one.

    Args:
        options: of PEFT's config.
        model: with whose modules they are matched.
        where: the config, for error messages.
    """
    for option, value in options.items():
        if _form(option) and isinstance(value, list | dict) and len(value) > TOO_MANY:
            raise ArtifactError(f"{where}: {option}: expected at most {TOO_MANY:,} names, found {len(value):,}.")
    found, names = _patterns(options), [name for name, _ in model.named_modules()]
    if not found:
        return
    command = [sys.executable, "-I", "-S", "-c", _MATCH]
    given = json.dumps([[(form, pattern) for _, pattern, form in found], names])
    try:
        run = subprocess.run(command, input=given.encode(), capture_output=True, timeout=PATTERN_SECONDS, check=False)
        tried, reason = run.stdout, (run.stderr.decode().strip().splitlines() or [""])[-1]
        if run.returncode == 0:
            return
    except subprocess.TimeoutExpired as error:
        tried = error.stdout or b""
        reason = f"on the names of {len(names)} modules it does not end within {PATTERN_SECONDS:g} seconds"
    option, pattern, _ = found[int((tried.split() or [b"0"])[-1])]
    raise ArtifactError(f"{where}: {option}: the pattern {pattern!r:.200} cannot be used: {reason}.")
