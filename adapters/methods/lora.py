"""LoRA (Hu et al. 2021, arXiv:2106.09685) by PEFT: low-rank changes to linear layers, and the task's head.

The defaults train all linear layers of the body; README, Results, has what that scores beside full fine-tuning.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters import methods
from adapters.errors import ModelError, SettingsError
from adapters.settings import require
from adapters.tasks import Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

ALL = "all-linear"
MAX_ALPHA_PER_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """LoRA."""

    learning_rate: float = 2e-3
    """Peak learning rate."""
    lora_r: int = 16
    """Rank of the change to each layer."""
    lora_alpha: float = 32
    """The change is scaled by alpha / r."""
    lora_dropout: float = 0.0
    """Dropout of a layer's input on the low-rank path."""
    lora_target_modules: list[str] = field(default_factory=lambda: [ALL])
    """Layers to adapt, by the last part of their names (query value); all-linear: every linear layer but the head."""


class Method(methods.PeftMethod):
    """PEFT's LoRA with the head trained whole beside it."""

    name = "lora"

    def __init__(self, settings: Any) -> None:
        """Args: settings: `lora_*` of `Settings`."""
        super().__init__(settings)
        require(settings.lora_r >= 1, "lora_r", settings.lora_r, "at least 1")
        bound = MAX_ALPHA_PER_RANK * settings.lora_r
        require(0 < settings.lora_alpha <= bound, "lora_alpha", settings.lora_alpha, f"above 0 and at most {bound}")
        require(0 <= settings.lora_dropout < 1, "lora_dropout", settings.lora_dropout, "in [0, 1)")
        require(bool(settings.lora_target_modules), "lora_target_modules", "", f"names of layers, or {ALL}")

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """LoRA on the target modules."""
        import peft
        from transformers.pytorch_utils import Conv1D

        targets = _targets(model, set(head), self.settings.lora_target_modules)
        return peft.LoraConfig(
            r=self.settings.lora_r,
            lora_alpha=self.settings.lora_alpha,
            lora_dropout=self.settings.lora_dropout,
            target_modules=targets,
            modules_to_save=head,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2's own linear layer
        )


def _targets(model: torch.nn.Module, head: set[str], wanted: Sequence[str]) -> list[str]:
    """Names that PEFT matches by their ends. Raises SettingsError that lists the layers there are."""
    import torch
    from transformers.pytorch_utils import Conv1D

    writing = model.get_output_embeddings()  # type: ignore[operator]  # a language-model head, often tied
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not writing
        and not any(name == part or name.startswith(f"{part}.") for part in head)
    ]  # fmt: skip
    if not layers:
        raise ModelError(f"{type(model).__name__} has no linear layer that LoRA could change. Use full or head.")
    ends = sorted({name.rsplit(".", 1)[-1] for name in layers})
    if list(wanted) == [ALL]:
        return ends
    for name in wanted:
        if not any(layer == name or layer.endswith(f".{name}") for layer in layers):
            near = difflib.get_close_matches(name, ends, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"--lora_target_modules {name}: matches no linear layer of this base.{hint} Its layers: "
                f"{', '.join(ends)}; or {ALL}."
            )
    return list(wanted)
