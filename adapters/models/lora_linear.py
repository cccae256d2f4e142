"""A linear layer with its LoRA update as one autograd function: out = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ.

PEFT computes the update separately, scales it and adds it: three more passes over the layer's output, one more in the
backward pass, and one over its input. Here the matrix products accumulate (BLAS's beta), so that only they read or
write anything of the layer's width. In bf16 the sum is rounded once, in PEFT three times. A model that torch compiles
uses the plain sum instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from adapters.models.peft_library import peft


class _FusedLora(torch.autograd.Function):
    """The layer's output, and gradients for its input, A and B; W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """Args, all of one dtype:
        ctx: context of autograd.
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
        of_up = (inner.T @ of_out).mul_(ctx.scaling).T  # with the wide side last, the product takes half the time
        return of_x, None, None, of_down, of_up, None


class FusedLoraLinear(peft.tuners.lora.Linear):  # type: ignore[misc]
    """PEFT's layer with the same parameters, names and files. All but the plain case is computed by PEFT."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`[…, out]` of `[…, in]`."""
        layer, name = self.base_layer, self.active_adapters[0] if len(self.active_adapters) == 1 else None
        plain = not (args or kwargs or self.disable_adapters or self.merged) and name in self.lora_A
        if not plain or not _is_plain(self, layer, name):
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        weight, bias, down, up = layer.weight, layer.bias, self.lora_A[name].weight, self.lora_B[name].weight
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        x, weight, down, up = (tensor.to(dtype) for tensor in (x, weight, down, up))
        bias = None if bias is None else bias.to(dtype)
        if torch.compiler.is_compiling():
            # The compiler fuses the sum with the following operations; an accumulating product would need a copy.
            inner = nn.functional.linear(x, down) * self.scaling[name]
            return nn.functional.linear(x, weight, bias) + nn.functional.linear(inner, up)
        out: torch.Tensor = _FusedLora.apply(x, weight, bias, down, up, self.scaling[name])  # type: ignore[no-untyped-call]
        return out


def _is_plain(lora: Any, layer: Any, name: Any) -> bool:
    """Whether an adapter is just two products on a frozen layer."""
    return (
        type(layer) is nn.Linear
        and not layer.weight.requires_grad
        and name not in lora.lora_variant
        and isinstance(lora.lora_dropout[name], nn.Identity)
        and lora.lora_B[name].bias is None
    )


def use_fused_lora(model: nn.Module) -> None:
    """Replace every LoRA layer of PEFT in a model; parameters, names and settings do not change."""
    for module in model.modules():
        if type(module) is peft.tuners.lora.Linear:
            module.__class__ = FusedLoraLinear
