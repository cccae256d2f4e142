"""What LoRA and its variants share: low-rank updates of linear layers by PEFT, and the task's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.errors import ArtifactError, ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.delta import AdaptedLayer, AdapterDelta, AdapterTensors, LayerDelta
from adapters.methods.base.peft_method import LAYER_OPTIONS, PeftMethod
from adapters.models.base_model import ENCODER
from adapters.models.layers import last_parts, layer_size, linear_layers, matches, poolers, require_layers
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task, load_task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

ALL = "all-linear"
MAX_ALPHA_PER_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class LoraFamilySettings:
    """Settings of LoRA and its variants."""

    learning_rate: float = 1e-3
    """Peak learning rate; 2e-3 by default where the loss is over tokens: entities, texts that are generated."""
    adam_beta2: float = 0.98
    """AdamW's second-moment decay: 0.999 can diverge at twice this learning rate (see lora)."""
    lora_r: int = 12
    """LoRA rank."""
    lora_alpha: float = 24
    """LoRA alpha; the update is scaled by alpha / r."""
    lora_dropout: float = 0.0
    """Dropout probability of the input of the LoRA layers."""
    lora_target_modules: list[str] = field(default_factory=lambda: [ALL])
    """Modules to adapt, by the last part of their names (query value); all-linear: all linear layers but the head."""
    lora_train_pooler: bool = True
    """With all-linear: train the pooler of a BERT-class classifier in full, as part of its head, not low-rank."""


class LoraFamilyMethod(PeftMethod):
    """LoRA or a variant of it, by PEFT, with the head trained in full."""

    peft_type = "LORA"
    peft_switches: ClassVar[dict[str, bool]] = {"use_dora": False, "use_rslora": False}
    peft_options: ClassVar[dict[str, str]] = {
        "r": "lora_r",
        "lora_alpha": "lora_alpha",
        "lora_dropout": "lora_dropout",
        "target_modules": "lora_target_modules",
    }
    peft_layers: ClassVar[frozenset[str]] = LAYER_OPTIONS | {
        "r",
        "lora_alpha",
        "rank_pattern",
        "alpha_pattern",
        "layers_to_transform",
        "layers_pattern",
        "use_rslora",
        "use_dora",
        "bias",
        "lora_bias",
    }

    @classmethod
    def task_defaults(cls, task: str, plugin_dirs: Sequence[str] = ()) -> dict[str, Any]:
        """Twice the learning rate where the loss is over tokens, of which a step has many (see lora)."""
        kind = load_task(task, plugin_dirs)
        over_tokens = kind.answer == "tags" or ENCODER not in kind.kinds  # which could not generate
        return {"learning_rate": 2 * LoraFamilySettings.learning_rate} if over_tokens else {}

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate, length of the training, and rank, with an alpha of twice the rank."""
        return {
            "learning_rate": LogUniform(3e-4, 1e-2),
            "num_train_epochs": Choice(3.0, 5.0, 10.0),
            "rank": Choice(*({"lora_r": r, "lora_alpha": 2.0 * r} for r in (4, 12, 32))),
        }

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.lora_r >= 1, "lora_r", settings.lora_r, "at least 1")
        bound = MAX_ALPHA_PER_RANK * settings.lora_r
        require(0 < settings.lora_alpha <= bound, "lora_alpha", settings.lora_alpha, f"above 0 and at most {bound}")
        require(0 <= settings.lora_dropout < 1, "lora_dropout", settings.lora_dropout, "in [0, 1)")
        require(bool(settings.lora_target_modules), "lora_target_modules", "", f"names of layers, or {ALL}")

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's LoraConfig for the target modules."""
        from transformers.pytorch_utils import Conv1D

        from adapters.models.peft_library import peft

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
        """PEFT's model, with its LoRA layers computed by fused products."""
        from adapters.models.lora_linear import use_fused_lora

        wrapped = super().wrap(base, task, train)
        use_fused_lora(wrapped)
        return wrapped

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The saved model, computed the same way."""
        from adapters.models.lora_linear import use_fused_lora

        wrapped = super().load(base, task, folder)
        use_fused_lora(wrapped)
        return wrapped

    @property
    def scaling(self) -> float:
        """The factor of the low-rank update."""
        return float(self.settings.lora_alpha / self.settings.lora_r)

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """A low-rank update of each target module."""
        adapted = self._adapted(tensors) if tensors.adapted is None else tensors.adapted
        return tensors.delta({name: self.layer_delta(tensors, name, layer) for name, layer in adapted.items()})

    def _adapted(self, tensors: AdapterTensors) -> dict[str, AdaptedLayer]:
        """The target modules of the settings, all of the same rank."""
        layers = tensors.linear_layers()
        wanted = (
            last_parts(layers) if [*self.settings.lora_target_modules] == [ALL] else self.settings.lora_target_modules
        )
        require_layers("lora_target_modules", wanted, layers)
        alike = AdaptedLayer(rank=self.settings.lora_r, scaling=self.scaling)
        chosen = [name for name in layers if any(matches(name, end) for end in wanted)]
        return {f"{tensors.body_name}.{name}": alike for name in chosen}

    def layer_delta(self, tensors: AdapterTensors, name: str, adapted: AdaptedLayer) -> LayerDelta:
        """The update of one layer; `up` is multiplied by its scaling. Raises ArtifactError for an absurd one."""
        bound = MAX_ALPHA_PER_RANK * adapted.rank**0.5
        if not 0 < adapted.scaling <= bound:
            raise ArtifactError(
                f"{tensors.subject}: {name}: alpha and rank {adapted.rank} scale its update by {adapted.scaling:g}; "
                f"expected a factor above 0 and at most {bound:g}."
            )
        into, out = layer_size(tensors.layer(name))
        down = tensors.take(f"{name}.lora_A.weight", (adapted.rank, into))
        up = tensors.take(f"{name}.lora_B.weight", (out, adapted.rank)).T * adapted.scaling
        shift = tensors.take(f"{name}.lora_B.bias", (out,))[None] * adapted.scaling if adapted.bias else None
        return LayerDelta(down=down, up=up, shift=shift)


def _poolers(model: Any, head: Sequence[str]) -> list[str]:
    """Names of BERT's poolers, unless they are newly initialised and so part of the head; ALBERT's is a plain layer."""
    return [
        name
        for name, module in poolers(model).items()
        if hasattr(module, "dense") and not any(part.startswith(f"{name}.") for part in head)
    ]


def _targets(model: Any, head: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Module names for PEFT, which matches them by suffix. Raises SettingsError that lists the known layers."""
    layers = linear_layers(model, head)
    if not layers:
        raise ModelError(f"{type(model).__name__} has no linear layer that LoRA could adapt. Use full or head.")
    if list(wanted) == [ALL]:
        return last_parts(layers)
    require_layers("lora_target_modules", wanted, layers, also=f"; or {ALL}")
    return list(wanted)
