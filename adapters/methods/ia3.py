"""(IA)³ (Liu et al. 2022, arXiv:2205.05638) by PEFT: trained vectors scale keys, values and feed-forward units.

They start at one, so training starts at the base, and are few, so the learning rate is high. The head is trained
alongside. PEFT chooses the layers: in BERT also the input of attention's output layer, which the paper does not scale.
The learning rate was chosen on dev (CoNLL-2003, minilm, 2,000 sentences, 300 of dev, three epochs): 3e-2 80.6, 1e-1
80.3, and with a weight decay of 0.01 1e-2 73.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.errors import ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.delta import AdaptedLayer, AdapterDelta, AdapterTensors, LayerDelta
from adapters.methods.base.peft_method import LAYER_OPTIONS, PeftMethod
from adapters.models.layers import last_parts, layer_size, linear_layers, matches, require_layers
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """(IA)³."""

    learning_rate: float = 3e-2
    """Peak learning rate."""
    weight_decay: float = 0.0
    """AdamW's weight decay, which would pull vectors that start at one towards zero."""
    ia3_target_modules: list[str] = field(default_factory=list)
    """Modules to scale, by the end of their names (key value output.dense). Default: PEFT's for the model type."""
    ia3_feedforward_modules: list[str] = field(default_factory=list)
    """Target modules whose input is scaled, not their output. Default: PEFT's, as far as they are targets."""


class Method(PeftMethod):
    """PEFT's (IA)³, with the head trained in full."""

    name = "ia3"
    peft_type = "IA3"
    peft_options: ClassVar[dict[str, str]] = {
        "target_modules": "ia3_target_modules",
        "feedforward_modules": "ia3_feedforward_modules",
    }
    peft_layers: ClassVar[frozenset[str]] = LAYER_OPTIONS | {"feedforward_modules"}

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate and length of the training."""
        return {"learning_rate": LogUniform(3e-3, 1e-1), "num_train_epochs": Choice(3.0, 5.0, 10.0)}

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        within = set(settings.ia3_feedforward_modules) <= set(settings.ia3_target_modules)
        require(
            within, "ia3_feedforward_modules", " ".join(settings.ia3_feedforward_modules), "among --ia3_target_modules"
        )

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's IA3Config for the target modules."""
        from transformers.pytorch_utils import Conv1D

        from adapters.models.peft_library import peft

        layers = linear_layers(model, head)
        targets, inputs = self._modules(base, list(layers))
        require_layers("ia3_target_modules", targets, layers)
        chosen = [layer for name, layer in layers.items() if any(matches(name, end) for end in targets)]
        return peft.IA3Config(
            target_modules=targets,
            feedforward_modules=inputs,
            modules_to_save=head,
            fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in chosen),  # GPT-2's own linear layer
        )

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """A scale of each target module's output, or of the input for feed-forward modules."""
        updates = {}
        for name, adapted in (self._adapted(tensors, base) if tensors.adapted is None else tensors.adapted).items():
            into, out = layer_size(tensors.layer(name))
            if adapted.scales_input:
                updates[name] = LayerDelta(scale_in=tensors.take(f"{name}.ia3_l", (1, into)))
            else:
                updates[name] = LayerDelta(scale_out=tensors.take(f"{name}.ia3_l", (out, 1)).T)
        return tensors.delta(updates)

    def _adapted(self, tensors: AdapterTensors, base: Base) -> dict[str, AdaptedLayer]:
        """The target modules of the settings."""
        layers = tensors.linear_layers()
        targets, inputs = self._modules(base, list(layers))
        require_layers("ia3_target_modules", targets, layers)
        return {
            f"{tensors.body_name}.{name}": AdaptedLayer(scales_input=any(matches(name, end) for end in inputs))
            for name in layers
            if any(matches(name, end) for end in targets)
        }

    def _modules(self, base: Base, layers: list[str]) -> tuple[list[str], list[str]]:
        """Target modules and the feed-forward modules among them: the requested ones, or PEFT's.

        Raises ModelError that lists the layers if PEFT has no default for this model type.
        """
        from adapters.models.peft_library import peft

        kind = base.config.model_type
        known = peft.utils.constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind, [])
        targets = list(self.settings.ia3_target_modules or known)
        if not targets:
            raise ModelError(
                f"{base.name}: PEFT has no default (IA)³ layers for a model of the type {kind}. Give the layers of "
                "keys and values and the last one of the feed-forward as --ia3_target_modules, and the last also as "
                f"--ia3_feedforward_modules. Its linear layers: {', '.join(last_parts(layers))}."
            )
        default = peft.utils.constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind, [])
        return targets, list(self.settings.ia3_feedforward_modules or [name for name in default if name in targets])
