"""The layers of a model by name, as methods and their flags speak of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from adapters.errors import SettingsError

if TYPE_CHECKING:
    import torch


def linear_layers(model: Any, head: Iterable[str]) -> dict[str, torch.nn.Module]:
    """Linear layers of a headed model by name, those of the head and of a language-model head (often tied) left out."""
    import torch
    from transformers.pytorch_utils import Conv1D

    writing = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not writing
        and not any(name == part or name.startswith(f"{part}.") for part in head)
    }  # fmt: skip


def poolers(model: Any) -> dict[str, torch.nn.Module]:
    """The modules, by name, that make one state of a text out of its pieces', in front of BERT's classifier, say."""
    return {name: module for name, module in model.named_modules() if name.rpartition(".")[2] == "pooler"}


def matches(layer: str, end: str) -> bool:
    """Whether a layer bears a name or ends with it: what PEFT takes for a target module."""
    return layer == end or layer.endswith(f".{end}")


def last_parts(layers: Iterable[str]) -> list[str]:
    """By what the layers are called in a flag and in a message: the last parts of their names."""
    return sorted({name.rsplit(".", 1)[-1] for name in layers})


def require_layers(flag: str, wanted: Iterable[str], layers: Iterable[str], *, also: str = "") -> None:
    """Raises SettingsError that lists the layers there are, unless each name of a flag matches one of them."""
    ends = last_parts(layers)
    for name in wanted:
        if not any(matches(layer, name) for layer in layers):
            near = difflib.get_close_matches(name, ends, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"--{flag} {name}: matches no linear layer of this base.{hint} Its layers: {', '.join(ends)}{also}."
            )


def layer_size(layer: Any) -> tuple[int, int]:
    """Numbers that a linear layer takes and gives; GPT-2's own keeps its weight `[in, out]`, 4 bits are packed."""
    if hasattr(layer, "out_features"):
        return layer.in_features, layer.out_features
    rows, columns = layer.weight.shape
    return rows, columns


def key_value_heads(config: Any) -> int:
    """Heads of keys and values in a layer's attention, which several heads of queries may share."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
