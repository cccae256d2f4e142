"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2020, arXiv:2005.00247), our own code.

After the last layer of a sublayer, before dropout and residual, h becomes h + up(gelu(down(h))): after attention and
feed-forward (houlsby), or the feed-forward only (pfeiffer). `up` starts at zero, so training starts at the base.
The learning rate was chosen on dev (minilm, all training data, five epochs for TREC and banking77; mean over the number
of seeds in brackets; tests/benchmarks/defaults.py --methods bottleneck --more --learning_rate …):

    rate   conll2003   sst2        trec        banking77
    2e-3   90.31 (3)   86.47 (3)   92.96 (3)   90.54 (3)
    3e-3   90.88 (3)   86.74 (3)   94.21 (3)   91.57 (3)   (the default)
    5e-3   90.93 (1)   68.12 (2)   93.93 (2)   91.45 (2)   (one seed of sst2 diverges: one class for everything)

AdamW's beta2 is that of lora: at 0.999, 5e-3 diverged on SST-2 with the seed tried. On 2,000 sentences of CoNLL-2003,
where there are few steps, 5e-3 scored 84.34 and 2e-3 77.48.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.delta import AdapterDelta, AdapterTensors, LayerDelta
from adapters.methods.base.method import TensorsMethod, head_modules
from adapters.models.layers import last_parts, layer_size, linear_layers, matches, require_layers
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

ATTENTION = (
    "attention.output.dense",  # BERT, RoBERTa, DeBERTa, ELECTRA
    "attention.out_lin",  # DistilBERT
    "attn.c_proj",  # GPT-2
    "self_attn.o_proj",  # Llama, Mistral, Qwen, Gemma
    "SelfAttention.o",
    "EncDecAttention.o",  # T5
    "self_attn.out_proj",
    "encoder_attn.out_proj",  # BART, OPT
    "attn.out_proj",
    "attn.attention.out_proj",  # GPT-J, GPT-Neo
    "self_attention.dense",
    "attention.dense",
    "self_attn.dense",  # BLOOM and Falcon, GPT-NeoX and ALBERT, Phi
    "attn.o",  # MPNet
    "attn.Wo",  # ModernBERT
)
FEED_FORWARD = (
    "output.dense",
    "ffn.lin2",
    "mlp.c_proj",
    "mlp.down_proj",
    "DenseReluDense.wo",
    "fc2",
    "mlp.fc_out",
    "mlp.dense_4h_to_h",
    "ffn_output",
    "mlp.Wo",
)
"""Suffixes of the name of a sublayer's last linear layer, by architecture. A match of `ATTENTION` takes precedence."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Bottleneck adapters."""

    learning_rate: float = 3e-3
    """Peak learning rate."""
    adam_beta2: float = 0.98
    """AdamW's second-moment decay: 0.999 can diverge at this learning rate."""
    bottleneck_size: int = 64
    """Hidden size of the bottleneck."""
    bottleneck_where: str = "houlsby"
    """houlsby: after attention and feed-forward; pfeiffer: after the feed-forward only."""
    bottleneck_target_modules: list[str] = field(default_factory=list)
    """Layers to add a bottleneck after, by the last part of their names, instead of those of --bottleneck_where."""


class Method(TensorsMethod):
    """A frozen body with small trainable networks in it, and a trainable head."""

    name = "bottleneck"

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate, length of the training, and width."""
        return {
            "learning_rate": LogUniform(3e-4, 1e-2),
            "num_train_epochs": Choice(3.0, 5.0, 10.0),
            "bottleneck_size": Choice(16, 64, 128),
        }

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        where = settings.bottleneck_where
        require(settings.bottleneck_size >= 1, "bottleneck_size", settings.bottleneck_size, "at least 1")
        require(where in ("houlsby", "pfeiffer"), "bottleneck_where", where, "houlsby or pfeiffer")

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base with trainable bottlenecks and head."""
        model: torch.nn.Module = self.frozen(base, task)
        layers = linear_layers(model, head_modules(model, task))
        for name in self._target_layers(base, list(layers)):
            _add_bottleneck(layers[name], self.settings.bottleneck_size)
        return model

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """A bottleneck after each target layer."""
        layers = tensors.linear_layers()
        size, updates = self.settings.bottleneck_size, {}
        for name in self._target_layers(base, list(layers)):
            width = layer_size(layers[name])[1]
            updates[name] = LayerDelta(
                squeeze=tensors.of_body(name, "bottleneck.down.weight", (size, width)),
                squeeze_bias=tensors.of_body(name, "bottleneck.down.bias", (size,))[:, None],
                expand=tensors.of_body(name, "bottleneck.up.weight", (width, size)).T,
                expand_bias=tensors.of_body(name, "bottleneck.up.bias", (width,))[None],
            )
        return AdapterDelta(layers=updates)

    def _target_layers(self, base: Base, layers: list[str]) -> list[str]:
        """Names of the layers that get a bottleneck.

        Raises:
            SettingsError: a requested name matches no layer.
            ModelError: the layers of this architecture have names that are not known here; the message lists them.
        """
        wanted = self.settings.bottleneck_target_modules
        if wanted:
            require_layers("bottleneck_target_modules", wanted, layers)
            return _ending(layers, wanted)
        attention = _ending(layers, ATTENTION)
        forward = [name for name in _ending(layers, FEED_FORWARD) if name not in attention]
        houlsby = self.settings.bottleneck_where == "houlsby"
        if not forward or (houlsby and not attention):
            raise ModelError(
                f"{base.name}: in a model of the type {base.config.model_type} it is not known which layers end "
                f"{'attention and ' if houlsby else ''}the feed-forward. Name them by --bottleneck_target_modules: "
                f"{', '.join(last_parts(layers))}."
            )
        return [name for name in layers if name in forward or (houlsby and name in attention)]


def _ending(layers: Sequence[str], ends: Sequence[str]) -> list[str]:
    """The layers whose names have one of the suffixes."""
    return [name for name in layers if any(matches(name, end) for end in ends)]


def _add_bottleneck(layer: Any, size: int) -> None:
    """Add a bottleneck to the output of a linear layer (`[…, width]`); the layer's own parameters keep their names."""
    from torch import nn

    width = layer_size(layer)[1]
    down, up = nn.Linear(width, size), nn.Linear(size, width)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    layer.bottleneck = nn.Sequential(OrderedDict(down=down, activation=nn.GELU(), up=up))

    def add(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        adapted: torch.Tensor = output + layer.bottleneck(output)
        return adapted

    layer.register_forward_hook(add)
