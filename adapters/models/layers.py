"""Layers of a model by name, as used by methods and their flags."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError

if TYPE_CHECKING:
    import torch


def linear_layers(model: Any, head: Iterable[str]) -> dict[str, torch.nn.Module]:
    """Linear layers of a headed model by name, without those of the head and the language-model head (often tied)."""
    import torch
    from transformers.pytorch_utils import Conv1D

    lm_head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not lm_head
        and not any(name == part or name.startswith(f"{part}.") for part in head)
    }


def poolers(model: Any) -> dict[str, torch.nn.Module]:
    """Poolers by name: modules that map the states of tokens to one of the text, as before BERT's classifier."""
    return {name: module for name, module in model.named_modules() if name.rpartition(".")[2] == "pooler"}


def matches(layer: str, end: str) -> bool:
    """Whether a layer's name is `end` or has it as its last parts: how PEFT matches target modules."""
    return layer == end or layer.endswith(f".{end}")


def last_parts(layers: Iterable[str]) -> list[str]:
    """The last parts of the layers' names, for flags and messages."""
    return sorted({name.rsplit(".", 1)[-1] for name in layers})


def require_layers(flag: str, wanted: Iterable[str], layers: Iterable[str], *, also: str = "") -> None:
    """Raises SettingsError that lists the layers, unless each name given by a flag matches one."""
    ends = last_parts(layers)
    for name in wanted:
        if not any(matches(layer, name) for layer in layers):
            near = difflib.get_close_matches(name, ends, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"--{flag} {name}: matches no linear layer of this base.{hint} Known layers: {', '.join(ends)}{also}."
            )


def layer_size(layer: Any) -> tuple[int, int]:
    """Input and output size of a linear layer; GPT-2's Conv1D stores its weight as `[in, out]`, 4 bits are packed."""
    if hasattr(layer, "out_features"):
        return layer.in_features, layer.out_features
    rows, columns = layer.weight.shape
    return rows, columns


def key_value_heads(config: Any) -> int:
    """Number of key-value heads, which several query heads may share."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
