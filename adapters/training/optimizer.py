"""The initial bias of the head, the optimizer, and the learning rate schedule."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.settings import CommonSettings

if TYPE_CHECKING:
    import numpy as np
    import torch

_ADAPTIVE = ("reduce_lr_on_plateau", "greedy")
"""Schedules of transformers that follow the loss."""


def start_at_prior(model: torch.nn.Module, prior: np.ndarray | None, *, first: int = 0) -> bool:
    """Set the bias of the head (its last trainable linear layer, with one output per class) to the prior.

    Args:
        model: with a head.
        prior: of each class; None leaves the bias as it is.
        first: the first class whose bias is set; those before it were learned already.

    Returns:
        False where there is a prior that the head cannot take, as it has no bias (those of causal models).
    """
    import torch

    if prior is None:
        return True
    heads = [layer for layer in head_layers(model) if layer.out_features == len(prior) and layer.weight.requires_grad]
    if not heads or heads[-1].bias is None:
        return False
    with torch.no_grad():
        heads[-1].bias[first:].copy_(torch.from_numpy(prior[first:]))
    return True


def head_layers(model: Any) -> list[torch.nn.Linear]:
    """The linear layers outside the body of a model of transformers, wrapped by PEFT or not; else all of them."""
    import torch

    headed = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(headed, "base_model", headed)
    inside = set() if body is headed else {id(module) for module in body.modules()}
    return [m for m in headed.modules() if isinstance(m, torch.nn.Linear) and id(m) not in inside]


def adamw(model: torch.nn.Module, settings: CommonSettings) -> torch.optim.Optimizer:
    """AdamW without weight decay for biases and norms.

    Fused: one pass over each parameter per step instead of several. On a CPU the update of a full model is bound by
    memory and takes a third of the time this way.
    """
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained, "a method that trains must have trainable parameters"
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained)
    betas = settings.adam_beta1, settings.adam_beta2
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=settings.adam_epsilon, fused=fused)


def schedule(optimizer: Any, settings: CommonSettings, total: int) -> Any:
    """The learning rate schedule of transformers over `total` steps.

    Raises:
        SettingsError: an unknown name; a schedule that lacks a value, or takes none of that name; or one that follows
            the loss or a score, which is stepped in another way.
    """
    from transformers import SchedulerType, get_scheduler
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

    name, names = settings.lr_scheduler_type, [kind.value for kind in SchedulerType]
    if name not in names:
        raise SettingsError(f"--lr_scheduler_type {name}: {did_you_mean(name, names)}")
    if name in _ADAPTIVE:
        raise SettingsError(
            f"--lr_scheduler_type {name}: is not supported, as it follows the loss. Choose one of "
            f"{', '.join(one for one in names if one not in _ADAPTIVE)}."
        )
    warmup = settings.num_warmup_steps if settings.num_warmup_steps is not None else total // 10
    more = _scheduler_kwargs(settings.lr_scheduler_kwargs)
    if name == "warmup_stable_decay":  # transformers leaves this one to the caller
        more = {"num_decay_steps": total // 10, **more}
    taken = [*inspect.signature(TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)]).parameters]
    for unknown in [value for value in more if value not in taken]:
        raise SettingsError(f"--lr_scheduler_kwargs {unknown}: {name} takes {', '.join(taken[1:]) or 'none'}.")
    try:
        made = get_scheduler(
            name, optimizer, num_warmup_steps=warmup, num_training_steps=total, scheduler_specific_kwargs=more
        )
        for rate in getattr(made, "lr_lambdas", ()):  # a value is first used after the warm-up
            for step in (0, min(warmup + 1, total), total // 2, total):
                float(rate(step))
        return made
    except (TypeError, ValueError, ArithmeticError) as error:
        raise SettingsError(
            f"--lr_scheduler_type {name}: {error}. Its values are given as --lr_scheduler_kwargs "
            """'{"num_cycles": 2}'; linear, cosine, constant_with_warmup need none."""
        ) from error


def _scheduler_kwargs(given: str | None) -> dict[str, Any]:
    """--lr_scheduler_kwargs as read. Raises SettingsError where it is no JSON object."""
    try:
        values = json.loads(given or "{}")
    except ValueError as error:
        raise SettingsError(f"--lr_scheduler_kwargs {given}: is no JSON ({error}).") from error
    if not isinstance(values, dict):
        raise SettingsError(f"--lr_scheduler_kwargs {given}: must be a JSON object, such as " """{"num_cycles": 2}.""")
    return values
