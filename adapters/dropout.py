"""Dropout whose mask is drawn a byte an element: on a CPU torch's own is slow enough to be felt in a training step."""

from __future__ import annotations

import torch
from torch import nn

LEVELS = 256


class ByteDropout(nn.Dropout):
    """nn.Dropout with the probability rounded to 1/256 on a CPU, and scaled by the rounded one, so that means stay.

    Eight elements share one 64-bit draw of torch's generator, so a seed decides the mask as it does for nn.Dropout.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Zero each element with probability `p` while training, and scale the others by 1 / (1 - p)."""
        dropped = round(LEVELS * self.p)
        compiled = torch.compiler.is_compiling()  # it draws faster than torch's own, and cannot draw like this
        if not self.training or not 0 < dropped < LEVELS or input.device.type != "cpu" or compiled:
            return super().forward(input)
        count = input.numel()
        drawn = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = (drawn.view(torch.uint8)[:count] >= dropped).view(input.shape)
        return input * kept.to(input.dtype).mul_(LEVELS / (LEVELS - dropped))


def use_byte_dropout(model: nn.Module) -> None:
    """Let every nn.Dropout of a model draw bytes; parameters, names and settings stay as they are."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout
