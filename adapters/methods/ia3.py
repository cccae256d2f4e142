"""(IA)³ (Liu et al. 2022, arXiv:2205.05638) by PEFT: trained vectors scale keys, values and feed-forward units.

They begin at one, so training begins at the base, and are few, so the rate is high. The head is trained beside them.
Which layers they scale is PEFT's to say: of a BERT, beside the paper's, also the input of attention's output layer.
The rate was chosen on dev (CoNLL-2003, minilm, 2,000 sentences, 300 of dev, three epochs): 3e-2 80.6, 1e-1 80.3, and
with a weight decay of 0.01 1e-2 73.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import methods
from adapters.changes import Change, LayerChange, Saved
from adapters.errors import ModelError
from adapters.layers import last_parts, layer_size, linear_layers, matches, require_layers
from adapters.settings import require
from adapters.tasks import Task

if TYPE_CHECKING:
    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """(IA)³."""

    learning_rate: float = 3e-2
    """Peak learning rate."""
    weight_decay: float = 0.0
    """AdamW's decay, which would draw vectors that begin at one towards nought."""
    ia3_target_modules: list[str] = field(default_factory=list)
    """Layers to scale, by the ends of their names (key value output.dense). Default: PEFT's for this type of model."""
    ia3_feedforward_modules: list[str] = field(default_factory=list)
    """Those among them whose input is scaled and not their output. Default: PEFT's that are among the targets."""


class Method(methods.PeftMethod):
    """PEFT's (IA)³ with the head trained whole beside it."""

    name = "ia3"
    peft_type = "IA3"
    peft_options: ClassVar[dict[str, str]] = {
        "target_modules": "ia3_target_modules", "feedforward_modules": "ia3_feedforward_modules",
    }  # fmt: skip

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of `Settings`."""
        super().__init__(settings)
        within = set(settings.ia3_feedforward_modules) <= set(settings.ia3_target_modules)
        require(within, "ia3_feedforward_modules", " ".join(settings.ia3_feedforward_modules),
                "among --ia3_target_modules")  # fmt: skip

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """Vectors on the target modules."""
        import peft
        from transformers.pytorch_utils import Conv1D

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

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """A scale of each target module's output, of the feed-forward ones' input."""
        layers = saved.linear_layers()
        targets, inputs = self._modules(base, list(layers))
        require_layers("ia3_target_modules", targets, layers)
        changes = {}
        for name, layer in layers.items():
            into, out = layer_size(layer)
            if any(matches(name, end) for end in inputs):
                changes[name] = LayerChange(scale_in=saved.of_body(name, "ia3_l", (1, into)))
            elif any(matches(name, end) for end in targets):
                changes[name] = LayerChange(scale_out=saved.of_body(name, "ia3_l", (out, 1)).T)
        return Change(layers=changes)

    def _modules(self, base: Base, layers: list[str]) -> tuple[list[str], list[str]]:
        """Target modules, and those of them whose input is scaled: the ones asked for, or PEFT's.

        Raises ModelError that lists the layers where PEFT knows none for this type of model.
        """
        from peft.utils import constants

        kind = base.config.model_type
        known = constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind, [])
        targets = list(self.settings.ia3_target_modules or known)
        if not targets:
            raise ModelError(
                f"{base.name}: PEFT's table has no layers for (IA)³ in a model of the type {kind}. Give the keys, the "
                "values and the feed-forward's last layer as --ia3_target_modules, and the last of these also as "
                f"--ia3_feedforward_modules. Its linear layers: {', '.join(last_parts(layers))}."
            )
        usual = constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind, [])
        return targets, list(self.settings.ia3_feedforward_modules or [name for name in usual if name in targets])
