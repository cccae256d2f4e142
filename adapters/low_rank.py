"""What the methods of LoRA's family share: low-rank changes to linear layers by PEFT, and the task's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import methods
from adapters.changes import Change, LayerChange, Saved
from adapters.errors import ModelError
from adapters.layers import last_parts, layer_size, linear_layers, matches, poolers, require_layers
from adapters.settings import require
from adapters.tasks import Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

ALL = "all-linear"
MAX_ALPHA_PER_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class LowRankSettings:
    """Settings of every method of the family."""

    learning_rate: float = 2e-3
    """Peak learning rate."""
    adam_beta2: float = 0.98
    """AdamW's memory of the squares of gradients: a shorter one does not break down at this rate (see lora)."""
    lora_r: int = 12
    """Rank of the change to each layer."""
    lora_alpha: float = 24
    """The change is scaled by alpha / r."""
    lora_dropout: float = 0.0
    """Dropout of a layer's input on the low-rank path."""
    lora_target_modules: list[str] = field(default_factory=lambda: [ALL])
    """Layers to adapt, by the last part of their names (query value); all-linear: every linear layer but the head."""
    lora_train_pooler: bool = True
    """With all-linear: train the pooler of a BERT-class classifier whole, as a part of its head, not by low rank."""


class LowRankMethod(methods.PeftMethod):
    """PEFT's LoRA, or a variant of it, with the head trained whole beside it."""

    peft_type = "LORA"
    peft_switches: ClassVar[dict[str, bool]] = {"use_dora": False, "use_rslora": False}
    peft_options: ClassVar[dict[str, str]] = {
        "r": "lora_r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout",
        "target_modules": "lora_target_modules",
    }  # fmt: skip

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

        if self.settings.lora_train_pooler and [*self.settings.lora_target_modules] == [ALL]:
            head = [*head, *_poolers(model, head)]
        targets = _targets(model, head, self.settings.lora_target_modules)
        return peft.LoraConfig(
            r=self.settings.lora_r,
            lora_alpha=self.settings.lora_alpha,
            lora_dropout=self.settings.lora_dropout,
            target_modules=targets,
            modules_to_save=head,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2's own linear layer
            **self.peft_switches,
        )

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """As PEFT does it, the changes added by the products themselves."""
        from adapters.low_rank_layer import use_products_alone

        wrapped = super().wrap(base, task, train)
        use_products_alone(wrapped)
        return wrapped

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The same around what was saved."""
        from adapters.low_rank_layer import use_products_alone

        wrapped = super().load(base, task, folder)
        use_products_alone(wrapped)
        return wrapped

    @property
    def scaling(self) -> float:
        """What the low-rank change is multiplied by."""
        return float(self.settings.lora_alpha / self.settings.lora_r)

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """A low-rank change to each target module of the body."""
        layers = saved.linear_layers()
        wanted = (
            last_parts(layers) if [*self.settings.lora_target_modules] == [ALL] else self.settings.lora_target_modules
        )
        require_layers("lora_target_modules", wanted, layers)
        chosen = {name: layer for name, layer in layers.items() if any(matches(name, end) for end in wanted)}
        return Change(layers={name: self.layer_change(saved, name, layer) for name, layer in chosen.items()})

    def layer_change(self, saved: Saved, name: str, layer: Any) -> LayerChange:
        """The change to one layer, alpha / r in `up`."""
        into, out = layer_size(layer)
        down = saved.of_body(name, "lora_A.weight", (self.settings.lora_r, into))
        up = saved.of_body(name, "lora_B.weight", (out, self.settings.lora_r)).T * self.scaling
        return LayerChange(down=down, up=up)


def _poolers(model: Any, head: Sequence[str]) -> list[str]:
    """Names of BERT's poolers, where they are not drawn anew and so the head's; ALBERT's are layers like others."""
    return [
        name for name, module in poolers(model).items()
        if hasattr(module, "dense") and not any(part.startswith(f"{name}.") for part in head)
    ]  # fmt: skip


def _targets(model: Any, head: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Names that PEFT matches by their ends. Raises SettingsError that lists the layers there are."""
    layers = linear_layers(model, head)
    if not layers:
        raise ModelError(f"{type(model).__name__} has no linear layer that LoRA could change. Use full or head.")
    if list(wanted) == [ALL]:
        return last_parts(layers)
    require_layers("lora_target_modules", wanted, layers, also=f"; or {ALL}")
    return list(wanted)
