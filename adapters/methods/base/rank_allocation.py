"""AdaLoRA's work between the optimizer's steps (Zhang et al. 2023, arXiv:2303.10512): unimportant ranks become zero.

What it remembers between steps (importance, uncertainty, which ranks are kept) is in the optimizer's state, beside
AdamW's moments, so that a checkpoint has it and a resumed run goes on bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError

if TYPE_CHECKING:
    import torch

IMPORTANCE, UNCERTAINTY, KEPT = "importance", "uncertainty", "kept"


def allocate_ranks(model: Any, optimizer: torch.optim.Optimizer, total_steps: int) -> None:
    """Before each step of the optimizer add the gradient of AdaLoRA's regulariser; after each reallocate the ranks.

    Args:
        model: PEFT's, with a trainable AdaLoRA adapter.
        optimizer: of its parameters.
        total_steps: the number of steps that the ranks are reduced over.

    Raises:
        SettingsError: the schedule does not fit into so many steps.
    """
    config, tuner = model.active_peft_config, model.base_model
    if total_steps - config.tfinal <= max(config.tinit, 1):  # the last reduction needs the importance of a step before
        raise SettingsError(
            f"--peft_options: AdaLoRA's tinit {config.tinit} and tfinal {config.tfinal} leave none of the "
            f"{total_steps} steps of this run to reduce the ranks in. Lower them, or train longer."
        )
    config.total_step = total_steps
    named = {
        name: parameter
        for name, parameter in tuner.model.named_parameters()
        if "lora_" in name and parameter.requires_grad
    }

    def before(*_: Any) -> None:
        _add_regulariser(named, config.orth_reg_weight)

    def after(*_: Any) -> None:
        step = int(optimizer.state[next(iter(named.values()))]["step"])
        _recall(tuner.rankallocator, config, named, optimizer)
        tuner.update_and_allocate(step)
        _remember(tuner.rankallocator, config, named, optimizer)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def _add_regulariser(named: dict[str, torch.nn.Parameter], weight: float) -> None:
    """Add the gradient of weight · mean ‖P Pᵀ − I‖ over the factors P (eq. 4), which PEFT adds to a loss of its own."""
    import torch

    factors = {name: p for name, p in named.items() if "lora_E" not in name and p.grad is not None}
    if not weight or not factors:
        return
    with torch.enable_grad():
        products = [p @ p.T if "lora_A" in name else p.T @ p for name, p in factors.items()]
        norms = [torch.linalg.norm(one - torch.eye(len(one), device=one.device)) for one in products]
        loss = weight * torch.stack(norms).mean()
        for parameter, gradient in zip(factors.values(), torch.autograd.grad(loss, [*factors.values()]), strict=True):
            assert parameter.grad is not None
            parameter.grad += gradient


def _recall(allocator: Any, config: Any, named: dict[str, Any], optimizer: Any) -> None:
    """Give PEFT's allocator what it knew after the step before."""
    import torch

    for name, parameter in named.items():
        state = optimizer.state[parameter]
        if IMPORTANCE in state:
            allocator.ipt[name] = torch.zeros_like(parameter)
            allocator.exp_avg_ipt[name], allocator.exp_avg_unc[name] = state[IMPORTANCE], state[UNCERTAINTY]
    kept = {name: optimizer.state[p][KEPT] for name, p in named.items() if KEPT in optimizer.state[p]}
    config.rank_pattern = {name: mask.bool().tolist() for name, mask in kept.items()} or None


def _remember(allocator: Any, config: Any, named: dict[str, Any], optimizer: Any) -> None:
    """Keep what PEFT's allocator knows in the optimizer's state."""
    import torch

    for name, parameter in named.items():
        state = optimizer.state[parameter]
        if name in allocator.exp_avg_ipt:
            state[IMPORTANCE], state[UNCERTAINTY] = allocator.exp_avg_ipt[name], allocator.exp_avg_unc[name]
        else:  # PEFT forgets it after the last reduction
            state.pop(IMPORTANCE, None), state.pop(UNCERTAINTY, None)
        if name in (config.rank_pattern or {}):
            state[KEPT] = torch.tensor(config.rank_pattern[name], dtype=torch.uint8)


def set_rank_pattern(model: Any) -> None:
    """Make PEFT save only the ranks that are not zero: those of the best weights, which may not be the last step's.

    A layer of which none is left keeps one, since PEFT cannot load a layer without any.
    """
    kept = {
        name: (parameter != 0).flatten().tolist()
        for name, parameter in model.base_model.model.named_parameters()
        if f"lora_E.{model.active_adapter}" in name
    }
    model.active_peft_config.rank_pattern = {
        name: mask if any(mask) else [True, *mask[1:]] for name, mask in kept.items()
    }
