"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): the biases of every layer, norms included, and the task's head.

The rate was chosen on dev (minilm, the whole of the training data, TREC and banking77 for five epochs; mean over the
seeds in brackets; tests/benchmarks/defaults.py --methods bitfit --more --learning_rate …):

    rate   conll2003   sst2        trec        banking77
    3e-3   84.13 (1)   83.37 (3)   89.96 (1)   84.52 (1)
    5e-3   84.98 (3)   83.64 (3)   92.34 (3)   88.99 (3)   (the default)
    1e-2   85.93 (1)   50.92 (1)   92.66 (1)   91.24 (1)   (sst2 breaks down: one class for everything)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters import methods
from adapters.changes import Change, LayerChange, Saved
from adapters.errors import ModelError
from adapters.tasks import Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """BitFit."""

    learning_rate: float = 5e-3
    """Peak learning rate."""


class Method(methods.TensorsMethod):
    """A frozen body whose biases train, under a trained head."""

    name = "bitfit"
    changes_base = True

    def check(self, base: Base, task: Task) -> None:
        """The base must have biases, which Llama's class has not."""
        super().check(base, task)
        if not any(_is_bias(name) for name in _parameters(base)):
            raise ModelError(
                f"{base.name}: a model of the type {base.config.model_type} has no biases, so BitFit has nothing to "
                "train in it. Use lora, head or full, or a base with biases (minilm, bert-base-cased, gpt2)."
            )

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """What is added to the output of each layer with a bias: the trained one less the base's.

        Raises ModelError for biases that are not their layer's last addition (DeBERTa's `q_bias`).
        """
        changes = {}
        for name, parameter in saved.body.named_parameters():
            layer, _, last = name.rpartition(".")
            if not _is_bias(name) or layer not in saved.modules:
                continue
            if last != "bias":
                raise ModelError(f"{base.name}: rows with biases of their own cannot be mixed where {name} is one.")
            shift = saved.of_body(layer, last, parameter.shape) - parameter.float().cpu()
            changes[layer] = LayerChange(shift=shift[None])
        return Change(layers=changes)

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base; biases and the head take gradients."""
        model: torch.nn.Module = self.frozen(base, task)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or _is_bias(name))
        return model


def _is_bias(name: str) -> bool:
    """`…dense.bias`, `…LayerNorm.bias`, DeBERTa's `…q_bias`; not T5's `relative_attention_bias.weight`."""
    last = name.rpartition(".")[2]
    return last == "bias" or last.endswith("_bias")


def _parameters(base: Base) -> list[str]:
    """Names of the body's parameters, known from the config alone: nothing is read or allocated."""
    import torch
    import transformers

    with torch.device("meta"):
        body = transformers.AutoModel.from_config(base.config)
    return [name for name, _ in body.named_parameters()]
