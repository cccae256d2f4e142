"""Rank-stabilised LoRA (Kalajdzievski 2023, arXiv:2312.03732) by PEFT: changes are scaled by alpha / √r, not alpha / r.

So a higher rank does not shrink the steps, and one rate suits all ranks. The default alpha scales the change of rank 12
by 2.02, near lora's 2: the two part as soon as --lora_r changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adapters.low_rank import LowRankMethod, LowRankSettings


@dataclass(frozen=True, kw_only=True)
class Settings(LowRankSettings):
    """Rank-stabilised LoRA."""

    lora_alpha: float = 7
    """The change is scaled by alpha / √r."""


class Method(LowRankMethod):
    """PEFT's LoRA, scaled by the root of the rank, with the head trained whole beside it."""

    name = "rslora"
    peft_switches: ClassVar[dict[str, bool]] = {"use_dora": False, "use_rslora": True}

    @property
    def scaling(self) -> float:
        """alpha / √r."""
        return float(self.settings.lora_alpha / self.settings.lora_r**0.5)
