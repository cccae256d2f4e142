"""LoRA (Hu et al. 2021, arXiv:2106.09685) by PEFT: low-rank changes to linear layers, and the task's head.

The defaults train all linear layers of the body; README, Results, has what that scores beside full fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.low_rank import LowRankMethod, LowRankSettings


@dataclass(frozen=True, kw_only=True)
class Settings(LowRankSettings):
    """LoRA."""


class Method(LowRankMethod):
    """PEFT's LoRA with the head trained whole beside it."""

    name = "lora"
