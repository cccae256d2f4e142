"""A linear layer with its low-rank change as one step of autograd: out = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ.

PEFT computes the change beside the layer, scales it and adds it: three more passes over what the layer puts out, one
more in the backward pass, and one over what comes in. Here the products themselves add (BLAS's beta), so that nothing
of the layer's width is read or written but by products. In bf16 the sum is rounded once, where PEFT rounds it three
times. A model that torch compiles takes the plain sum instead.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import nn


class _Changed(torch.autograd.Function):
    """The layer's output, and gradients for what comes in, A and B; W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, down: torch.Tensor,
        up: torch.Tensor, scaling: float,
    ) -> torch.Tensor:  # fmt: skip
        """Args, all of one format:
        ctx: autograd's.
        x: `[…, in]`.
        weight: W, `[out, in]`.
        bias: b, `[out]`.
        down: A, `[rank, in]`.
        up: B, `[out, rank]`.
        scaling: s.
        """
        flat = x.flatten(0, -2)
        out = nn.functional.linear(flat, weight, bias)
        inner = flat @ down.T
        out.addmm_(inner, up.T, alpha=scaling)
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.scaling = scaling
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Gradients in the order of the arguments."""
        flat, weight, down, up, inner = ctx.saved_tensors
        of_out = gradients[0].flatten(0, -2)
        of_inner = (of_out @ up).mul_(ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_out @ weight).addmm_(of_inner, down).view(*gradients[0].shape[:-1], -1)
        of_down = of_inner.T @ flat
        of_up = (of_out.T @ inner).mul_(ctx.scaling)
        return of_x, None, None, of_down, of_up, None


class LowRankLinear(PeftLinear):  # type: ignore[misc]
    """PEFT's layer, with its parameters, names and files; what is not the plain case is PEFT's to compute."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`[…, out]` of `[…, in]`."""
        layer, name = self.base_layer, self.active_adapters[0] if len(self.active_adapters) == 1 else None
        plain = not (args or kwargs or self.disable_adapters or self.merged) and name in self.lora_A
        if not plain or not _fits(self, layer, name):
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        weight, bias, down, up = layer.weight, layer.bias, self.lora_A[name].weight, self.lora_B[name].weight
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        x, weight, down, up = (tensor.to(dtype) for tensor in (x, weight, down, up))
        bias = None if bias is None else bias.to(dtype)
        if torch.compiler.is_compiling():
            # A compiler joins the sum with what comes behind the layer, and would copy what a product adds to.
            inner = nn.functional.linear(x, down) * self.scaling[name]
            return nn.functional.linear(x, weight, bias) + nn.functional.linear(inner, up)
        out: torch.Tensor = _Changed.apply(x, weight, bias, down, up, self.scaling[name])  # type: ignore[no-untyped-call]
        return out


def _fits(changed: Any, layer: Any, name: Any) -> bool:
    """Whether an adapter is two products behind a frozen layer, and nothing else."""
    return (
        type(layer) is nn.Linear
        and not layer.weight.requires_grad
        and name not in changed.lora_variant
        and isinstance(changed.lora_dropout[name], nn.Identity)
        and changed.lora_B[name].bias is None
    )


def use_products_alone(model: nn.Module) -> None:
    """Let every LoRA layer of PEFT's in a model compute so; parameters, names and settings stay as they are."""
    for module in model.modules():
        if type(module) is PeftLinear:
            module.__class__ = LowRankLinear
