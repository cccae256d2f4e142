"""Where training begins and how it steps: the head's bias, AdamW, the schedule of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.errors import SettingsError, did_you_mean
from adapters.settings import CommonSettings

if TYPE_CHECKING:
    import numpy as np
    import torch


def start_at_prior(model: torch.nn.Module, prior: np.ndarray | None) -> None:
    """Set the bias of the head's last layer: the last trained linear one with an output a class."""
    import torch

    if prior is None:
        return
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == len(prior)]
    for head in [m for m in heads if m.bias is not None and m.bias.requires_grad][-1:]:
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(prior))


def adamw(model: torch.nn.Module, settings: CommonSettings) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) do not decay.

    Fused: one pass over each parameter a step, where the usual loop takes several. On a CPU memory bounds the update of
    a whole model, which so takes a third of the time.
    """
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained, "a method that trains must leave a parameter to train"
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained)
    betas = settings.adam_beta1, settings.adam_beta2
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=settings.adam_epsilon, fused=fused)


def schedule(optimizer: Any, settings: CommonSettings, total: int) -> Any:
    """transformers' schedule of that name over so many steps."""
    from transformers import SchedulerType, get_scheduler

    names = [kind.value for kind in SchedulerType]
    if settings.lr_scheduler_type not in names:
        known = did_you_mean(settings.lr_scheduler_type, names)
        raise SettingsError(f"--lr_scheduler_type {settings.lr_scheduler_type}: {known}")
    warmup = settings.num_warmup_steps if settings.num_warmup_steps is not None else total // 10
    return get_scheduler(settings.lr_scheduler_type, optimizer, num_warmup_steps=warmup, num_training_steps=total)
