"""Rank-stabilised LoRA (Kalajdzievski 2023, arXiv:2312.03732) by PEFT: updates are scaled by alpha / √r, not alpha / r.

A higher rank then does not shrink the steps, and one learning rate suits all ranks. The default alpha scales the update
of rank 12 by 2.02, close to the 2 of lora: the two differ as soon as --lora_r changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adapters.methods.base.lora_family import LoraFamilyMethod, LoraFamilySettings


@dataclass(frozen=True, kw_only=True)
class Settings(LoraFamilySettings):
    """Rank-stabilised LoRA."""

    lora_alpha: float = 7
    """LoRA alpha; the update is scaled by alpha / √r."""


class Method(LoraFamilyMethod):
    """PEFT's LoRA, scaled by the root of the rank, with the head trained in full."""

    name = "rslora"
    peft_switches: ClassVar[dict[str, bool]] = {"use_dora": False, "use_rslora": True}

    @property
    def scaling(self) -> float:
        """alpha / √r."""
        return float(self.settings.lora_alpha / self.settings.lora_r**0.5)
