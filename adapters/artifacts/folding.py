"""An adapter in the weights of its base: one model of transformers, as fast as the base alone, without PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact
from adapters.core.errors import ModelError
from adapters.methods.base.delta import AdapterDelta, AdapterTensors, LayerDelta
from adapters.methods.base.method import Method, head_modules, headed
from adapters.models.base_model import ENCODER_DECODER, Base
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch


def folded(method: Method, base: Base, task: Task, folder: Path) -> torch.nn.Module | None:
    """The headed base with an adapter's delta in its weights; None where no weights can represent it.

    Answers are those of the adapter beside its base to the rounding of fp32. Prefixes, soft prompts and bottlenecks
    have no such weights, nor has a quantized base.

    Args:
        method: of the adapter.
        base: on which it was trained.
        task: whose head it has.
        folder: of the adapter, which is read only where it can be folded.

    Raises:
        ArtifactError: the tensors are not those of the method's settings.
        ModelError: the method cannot use this base.
    """
    fits = method.needs_base and method.trains and not method.self_contained and not method.virtual_tokens
    if not fits or base.quantization is not None or base.kind == ENCODER_DECODER:
        return None
    method.check(base, task)
    model = headed(base, task, method.settings)
    saved = _tensors_of(folder, model)
    try:
        delta = method.delta(saved, base, task)
    except ModelError:  # no mixed batch can have it, either
        return None
    if not _is_weights(delta):
        return None
    state = model.state_dict()
    new = {f"{name}." for name in head_modules(model, task)}
    wanted = {name for name in state if any(name.startswith(part) for part in new)} | set(saved.tensors)
    model.load_state_dict(saved.head({name: state[name].shape for name in wanted if name in state}), strict=False)
    for name, update in delta.layers.items():
        _fold(model.base_model.get_submodule(name), update)
    for name, update in delta.head.items():
        _fold(model.get_submodule(name), update)
    plain: torch.nn.Module = model
    return plain


def read_delta(method: Method, base: Base, task: Task, folder: Path, model: Any) -> AdapterDelta:
    """What an adapter adds to a model whose head is the base's own. Raises ModelError, ArtifactError."""
    method.check(base, task)
    saved = _tensors_of(folder, model)
    delta = method.delta(saved, base, task)
    saved.head({})
    return delta


def _tensors_of(folder: Path, model: Any) -> AdapterTensors:
    """The verified tensors of an adapter, by the names of a headed model."""
    _, tensors = artifact.open_adapter(folder)
    body = model.base_model
    names = frozenset(name for name, _ in body.named_modules())
    return AdapterTensors(tensors, body, body_name=model.base_model_prefix, modules=names, subject=str(folder))


def _is_weights(delta: AdapterDelta) -> bool:
    """Whether a delta is one of weights and biases alone."""
    updates = (*delta.layers.values(), *delta.head.values())
    return delta.prefix is None and delta.prompt is None and all(one.squeeze is None for one in updates)


def _fold(layer: Any, update: LayerDelta) -> None:
    """Add an update to a layer's weight and bias; GPT-2's layers store their weights as `[in, out]`."""
    import torch

    turned = layer.weight.dim() == 2 and not hasattr(layer, "in_features")
    with torch.no_grad():
        weight = layer.weight.T if turned else layer.weight
        weight, bias = update.folded(weight, layer.bias)
        layer.weight.copy_(weight.T if turned else weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
        elif bias is not None:
            layer.register_parameter("bias", torch.nn.Parameter(bias))
