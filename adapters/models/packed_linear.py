"""Linear layers that compute with their weights in the order in which oneDNN reads them.

torch's own product on a CPU reorders the weights in each call. For a few tokens, as of one text or of a step in which
tokens are generated, that takes as long as the product: with weights packed once it takes a half to a quarter of the
time in fp32, a half to two thirds in bf16. With thousands of tokens it takes nine tenths in fp32, and as long as before
in bf16 (torch 2.13 on an AMD EPYC). The packed weights are a second copy.
"""

from __future__ import annotations

import copy
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MOST = 2_000_000_000
"""Bytes of linear weights beyond which a model is left as it is, as it would take as many more."""


def pack(model: torch.nn.Module) -> int:
    """Pack the linear layers of a model that only answers; gives their number.

    None where it cannot be or costs too much: on a GPU, in other numbers than fp32 and bf16, in a very large model. A
    layer computes as before where gradients are asked for, under autocast, and once its weight was changed.

    Args:
        model: in evaluation mode, on its device, in the numbers that it computes in.
    """
    import torch

    known = platform.machine().lower() in ("x86_64", "amd64") and torch._C._has_mkldnn
    if not known or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    layers: list[Any] = [
        layer for layer in model.modules() if _can_be_packed(layer) and "forward" not in layer.__dict__
    ]
    if sum(layer.weight.nbytes for layer in layers) > MOST:
        return 0
    for layer in layers:
        layer.forward = _Packed(layer).prepare()
    return len(layers)


def _can_be_packed(layer: Any) -> bool:
    """Whether a module is an ordinary linear layer on a CPU, in numbers that this one computes in, as torch made it."""
    import torch

    if type(layer) is not torch.nn.Linear:
        return False
    weight = layer.weight
    usual = type(weight) is torch.nn.Parameter and not weight.is_inference()
    numbers = [torch.float32, *([torch.bfloat16] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else [])]
    return bool(usual and weight.dtype in numbers and weight.device.type == "cpu")


class _Packed:
    """The forward pass of a linear layer, with its weight in oneDNN's order."""

    def __init__(self, layer: Any) -> None:
        """Args: layer: of torch, on a CPU."""
        import torch

        self.layer, self.own = layer, torch.nn.functional.linear
        self.product = torch.ops.mkldnn._linear_pointwise.default
        self.gradients, self.traced = torch.is_grad_enabled, torch.compiler.is_compiling
        self.cast = torch.is_autocast_enabled
        self.version = -1
        self.dtype: torch.dtype | None = None
        self.packed: torch.Tensor | None = None

    def prepare(self) -> _Packed:
        """Pack the weight as it is now."""
        import torch

        weight = self.layer.weight
        with torch.inference_mode(False), torch.no_grad():
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.version, self.dtype = weight._version, weight.dtype
        return self

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """`[…, in]` to `[…, out]`."""
        weight, bias = self.layer.weight, self.layer.bias
        if self.gradients() or self.traced() or self.cast("cpu"):
            return self.own(states, weight, bias)
        if self.packed is None and _can_be_packed(self.layer):  # a copy
            self.prepare()
        fits = states.dtype is self.dtype is weight.dtype and weight.device.type == "cpu"
        if not fits or weight._version != self.version:
            return self.own(states, weight, bias)
        out: torch.Tensor = self.product(states, self.packed, bias, "none", [], "")
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> _Packed:
        """That of the copied layer, which is packed when it is called: torch does not copy packed weights."""
        return _Packed(copy.deepcopy(self.layer, memo))
