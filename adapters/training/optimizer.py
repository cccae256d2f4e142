"""The initial bias of the head, the optimizer, and the learning rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.settings import CommonSettings

if TYPE_CHECKING:
    import numpy as np
    import torch


def start_at_prior(model: torch.nn.Module, prior: np.ndarray | None) -> None:
    """Set the bias of the head (the last trainable linear layer with one output per class) to the prior."""
    import torch

    if prior is None:
        return
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == len(prior)]
    for head in [m for m in heads if m.bias is not None and m.bias.requires_grad][-1:]:
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(prior))


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
    """The learning rate schedule of transformers over `total` steps."""
    from transformers import SchedulerType, get_scheduler

    names = [kind.value for kind in SchedulerType]
    if settings.lr_scheduler_type not in names:
        known = did_you_mean(settings.lr_scheduler_type, names)
        raise SettingsError(f"--lr_scheduler_type {settings.lr_scheduler_type}: {known}")
    warmup = settings.num_warmup_steps if settings.num_warmup_steps is not None else total // 10
    return get_scheduler(settings.lr_scheduler_type, optimizer, num_warmup_steps=warmup, num_training_steps=total)
