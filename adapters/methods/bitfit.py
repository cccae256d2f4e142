"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): trains the biases of every layer, norms included, and the head.

The learning rate was chosen on dev (minilm, all training data, five epochs for TREC and banking77; mean over the number
of seeds in brackets; tests/benchmarks/defaults.py --methods bitfit --more --learning_rate …):

    rate   conll2003   sst2        trec        banking77
    3e-3   84.13 (1)   83.37 (3)   89.96 (1)   84.52 (1)
    5e-3   84.98 (3)   83.64 (3)   92.34 (3)   88.99 (3)   (the default)
    1e-2   85.93 (1)   50.92 (1)   92.66 (1)   91.24 (1)   (sst2 diverges: one class for everything)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.core.errors import ModelError, UnmixableError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.methods.base.delta import AdapterDelta, AdapterTensors, LayerDelta
from adapters.methods.base.method import TensorsMethod
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """BitFit."""

    learning_rate: float = 5e-3
    """Peak learning rate."""


class Method(TensorsMethod):
    """A frozen body with trainable biases, and a trainable head."""

    name = "bitfit"
    trains_base = True

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate and length of the training."""
        return {"learning_rate": LogUniform(1e-3, 2e-2), "num_train_epochs": Choice(3.0, 5.0, 10.0)}

    def check(self, base: Base, task: Task) -> None:
        """The base must have biases, which the Llama class lacks."""
        super().check(base, task)
        if not any(_is_bias(name) for name in _parameters(base)):
            raise ModelError(
                f"{base.name}: a model of the type {base.config.model_type} has no biases, so BitFit has nothing to "
                "train. Use lora, head or full, or a base with biases (minilm, bert-base-cased, gpt2)."
            )

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """A shift of each layer that has a bias: the trained bias minus the base's.

        Raises ModelError for biases that are not the last addition of their layer (DeBERTa's `q_bias`).
        """
        layers = {}
        for name, parameter in tensors.body.named_parameters():
            layer, _, last = name.rpartition(".")
            if not _is_bias(name) or layer not in tensors.modules:
                continue
            if last != "bias":
                raise UnmixableError(f"{base.name}: BitFit adapters cannot be mixed in a batch on a base with {name}.")
            shift = tensors.of_body(layer, last, parameter.shape) - parameter.float().cpu()
            layers[layer] = LayerDelta(shift=shift[None])
        return AdapterDelta(layers=layers)

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base with trainable biases and head."""
        model: torch.nn.Module = self.frozen(base, task)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or _is_bias(name))
        return model


def _is_bias(name: str) -> bool:
    """`…dense.bias`, `…LayerNorm.bias`, DeBERTa's `…q_bias`; not T5's `relative_attention_bias.weight`."""
    last = name.rpartition(".")[2]
    return last == "bias" or last.endswith("_bias")


def _parameters(base: Base) -> list[str]:
    """Names of the body's parameters, from the config alone: no weights are read or allocated."""
    import torch
    import transformers

    with torch.device("meta"):
        body = transformers.AutoModel.from_config(base.config)
    return [name for name, _ in body.named_parameters()]
