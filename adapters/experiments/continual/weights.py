"""Trained parameters moved between models whose heads have more, or fewer, outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def put(model: Any, weights: Mapping[str, Any]) -> None:
    """Set trained parameters by name. A parameter that has grown takes the earlier values into its first places."""
    import torch

    with torch.no_grad():
        found = 0
        for name, parameter in model.named_parameters():
            value = weights.get(name)
            if value is None:
                continue
            found += 1
            corner = tuple(slice(size) for size in value.shape)
            assert parameter[corner].shape == value.shape, (name, parameter.shape, value.shape)
            parameter[corner] = value.to(parameter)
    assert found == len(weights), sorted(set(weights) - {name for name, _ in model.named_parameters()})[:3]


def head_names(model: Any, outputs: int) -> frozenset[str]:
    """Names of the trainable parameters that have a row for each output."""
    from adapters.training.optimizer import head_layers

    of_head = {id(p) for layer in head_layers(model) if layer.out_features == outputs for p in layer.parameters()}
    return frozenset(name for name, p in model.named_parameters() if id(p) in of_head and p.requires_grad)


def put_outputs(model: Any, weights: Mapping[str, Any], outputs: Sequence[int]) -> None:
    """Set the trained parameters of a model that has only some outputs of the one that was trained.

    Args:
        model: to set.
        weights: of the model that was trained.
        outputs: the rows that this model has.
    """
    import torch

    head = head_names(model, len(outputs))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                value = weights[name]
                parameter.copy_(value[[*outputs]] if name in head else value)
