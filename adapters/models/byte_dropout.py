"""Dropout with one random byte per element: on a CPU torch's own takes a noticeable part of a training step."""

from __future__ import annotations

import torch
from torch import nn

LEVELS = 256


class ByteDropout(nn.Dropout):
    """nn.Dropout with the probability rounded to a multiple of 1/256 on a CPU, and scaled accordingly.

    Eight elements share one 64-bit number of torch's generator, so the seed determines the mask as for nn.Dropout.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Zero each element with probability `p` while training, and scale the others by 1 / (1 - p)."""
        dropped = round(LEVELS * self.p)
        compiled = torch.compiler.is_compiling()  # compiled dropout is faster than this, which cannot be compiled
        if not self.training or not 0 < dropped < LEVELS or input.device.type != "cpu" or compiled:
            return super().forward(input)
        count = input.numel()
        drawn = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = (drawn.view(torch.uint8)[:count] >= dropped).view(input.shape)
        return input * kept.to(input.dtype).mul_(LEVELS / (LEVELS - dropped))


def use_byte_dropout(model: nn.Module) -> None:
    """Replace every nn.Dropout of a model by ByteDropout; parameters, names and settings do not change."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout
