"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2020, arXiv:2005.00247), our own.

Behind the layer that ends a sublayer, before dropout and residual, h becomes h + up(gelu(down(h))): behind attention
and feed-forward (houlsby), or the feed-forward alone (pfeiffer). `up` begins at zero, so training begins at the base.
The rate was chosen on dev (minilm, the whole of the training data, TREC and banking77 for five epochs; mean over the
seeds in brackets; tests/benchmarks/defaults.py --methods bottleneck --more --learning_rate …):

    rate   conll2003   sst2        trec        banking77
    2e-3   90.31 (3)   86.47 (3)   92.96 (3)   90.54 (3)
    3e-3   90.88 (3)   86.74 (3)   94.21 (3)   91.57 (3)   (the default)
    5e-3   90.93 (1)   68.12 (2)   93.93 (2)   91.45 (2)   (one of sst2's seeds breaks down: one class for everything)

AdamW's beta2 is lora's: at 0.999, 5e-3 broke down on SST-2 with the seed tried. On 2,000 sentences of CoNLL-2003, where
there are few steps, 5e-3 scored 84.34 and 2e-3 77.48.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters import methods
from adapters.changes import Change, LayerChange, Saved
from adapters.errors import ModelError
from adapters.layers import last_parts, layer_size, linear_layers, matches, require_layers
from adapters.settings import require
from adapters.tasks import Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

ATTENTION = (
    "attention.output.dense",  # BERT, RoBERTa, DeBERTa, ELECTRA
    "attention.out_lin",  # DistilBERT
    "attn.c_proj",  # GPT-2
    "self_attn.o_proj",  # Llama, Mistral, Qwen, Gemma
    "SelfAttention.o", "EncDecAttention.o",  # T5
    "self_attn.out_proj", "encoder_attn.out_proj",  # BART, OPT
    "attn.out_proj", "attn.attention.out_proj",  # GPT-J, GPT-Neo
    "self_attention.dense", "attention.dense", "self_attn.dense",  # BLOOM and Falcon, GPT-NeoX and ALBERT, Phi
    "attn.o",  # MPNet
    "attn.Wo",  # ModernBERT
)  # fmt: skip
FEED_FORWARD = (
    "output.dense", "ffn.lin2", "mlp.c_proj", "mlp.down_proj", "DenseReluDense.wo", "fc2", "mlp.fc_out",
    "mlp.dense_4h_to_h", "ffn_output", "mlp.Wo",
)  # fmt: skip
"""Ends of the names of a sublayer's last linear layer, by architecture; what ends attention is no feed-forward."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Bottleneck adapters."""

    learning_rate: float = 3e-3
    """Peak learning rate."""
    adam_beta2: float = 0.98
    """AdamW's memory of the squares of gradients: a shorter one does not break down at this rate."""
    bottleneck_size: int = 64
    """Numbers between `down` and `up`."""
    bottleneck_where: str = "houlsby"
    """houlsby: behind attention and feed-forward; pfeiffer: behind the feed-forward alone."""
    bottleneck_target_modules: list[str] = field(default_factory=list)
    """Layers to put a bottleneck behind, by the ends of their names, instead of those that --bottleneck_where finds."""


class Method(methods.TensorsMethod):
    """A frozen body with small trained networks in it, under a trained head."""

    name = "bottleneck"

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of `Settings`."""
        super().__init__(settings)
        where = settings.bottleneck_where
        require(settings.bottleneck_size >= 1, "bottleneck_size", settings.bottleneck_size, "at least 1")
        require(where in ("houlsby", "pfeiffer"), "bottleneck_where", where, "houlsby or pfeiffer")

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base; bottlenecks and the head take gradients."""
        model: torch.nn.Module = self.frozen(base, task)
        layers = linear_layers(model, methods.head_modules(model, task))
        for name in self._places(base, list(layers)):
            _put_behind(layers[name], self.settings.bottleneck_size)
        return model

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """A bottleneck behind each of its places."""
        layers = saved.linear_layers()
        size, changes = self.settings.bottleneck_size, {}
        for name in self._places(base, list(layers)):
            width = layer_size(layers[name])[1]
            changes[name] = LayerChange(
                squeeze=saved.of_body(name, "bottleneck.down.weight", (size, width)),
                squeeze_bias=saved.of_body(name, "bottleneck.down.bias", (size,))[:, None],
                expand=saved.of_body(name, "bottleneck.up.weight", (width, size)).T,
                expand_bias=saved.of_body(name, "bottleneck.up.bias", (width,))[None],
            )
        return Change(layers=changes)

    def _places(self, base: Base, layers: list[str]) -> list[str]:
        """Names of the layers that get a bottleneck.

        Raises:
            SettingsError: a name asked for matches no layer.
            ModelError: this architecture calls its layers by names that are not known here; it lists them.
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
                f"{'attention and ' if houlsby else ''}the feed-forward. Name them: --bottleneck_target_modules, of "
                f"{', '.join(last_parts(layers))}."
            )
        return [name for name in layers if name in forward or (houlsby and name in attention)]


def _ending(layers: Sequence[str], ends: Sequence[str]) -> list[str]:
    """Those of the layers whose names end so."""
    return [name for name in layers if any(matches(name, end) for end in ends)]


def _put_behind(layer: Any, size: int) -> None:
    """Add a bottleneck to what a linear layer puts out (`[…, width]`); the layer's own parameters keep their names."""
    from torch import nn

    width = layer_size(layer)[1]
    down, up = nn.Linear(width, size), nn.Linear(size, width)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    layer.bottleneck = nn.Sequential(OrderedDict(down=down, activation=nn.GELU(), up=up))

    def add(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = output + layer.bottleneck(output)
        return changed

    layer.register_forward_hook(add)
