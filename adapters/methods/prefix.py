"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190; for tagging Liu et al. 2022, arXiv:2110.07602) by PEFT.

The attention of every layer sees trained keys and values of `num_virtual_tokens` virtual tokens; the task's head is
trained alongside. They are initialised with those of real training text, as Li & Liang advise: after three epochs on
3,000 sentences of CoNLL-2003, minilm, that scored 78.6 on dev, PEFT's random initialisation 76.7 (16 tokens, learning
rate 1e-2). The same sweep chose the defaults: rate 3e-2 82.1, 1e-1 80.7; 5e-2 with 32 tokens 82.8, with 64 82.8;
through the MLP at 3e-3 78.7, at 1e-2 nothing is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError
from adapters.core.search_space import LogUniform
from adapters.core.settings import require
from adapters.methods.base.delta import AdapterDelta, AdapterTensors
from adapters.methods.base.virtual_tokens import VirtualTokenMethod
from adapters.models.layers import key_value_heads
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Prefix tuning."""

    learning_rate: float = 3e-2
    """Peak learning rate. With --prefix_projection use about 3e-3."""
    num_virtual_tokens: int = 32
    """Number of virtual tokens before the text; they use as many of the model's positions."""
    prefix_projection: bool = False
    """Train the prefix through a two-layer MLP, which is discarded afterwards (Li & Liang's reparametrisation)."""
    encoder_hidden_size: int | None = None
    """Hidden size of that MLP. Default: that of the base."""
    prefix_init: str = "text"
    """Initialisation: keys and values of training text, or random (always random with --prefix_projection)."""


class Method(VirtualTokenMethod):
    """PEFT's prefix tuning, with the head trained in full."""

    name = "prefix"
    peft_type = "PREFIX_TUNING"
    rates = LogUniform(5e-3, 1e-1)
    init = "prefix_init"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        width = settings.encoder_hidden_size
        require(width is None or width >= 1, "encoder_hidden_size", width, "at least 1")

    def check(self, base: Base, task: Task) -> None:
        """The base must accept a cache of past keys and values, as which PEFT passes the prefix."""
        super().check(base, task)
        if not base.takes_cache:
            raise ModelError(
                f"{base.name}: a model of the type {base.config.model_type} accepts no past keys and values, so it "
                "cannot have a prefix. Use lora, head or full, or a BERT, RoBERTa, GPT-2 or Llama class base."
            )

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's PrefixTuningConfig."""
        from adapters.models.peft_library import peft

        return peft.PrefixTuningConfig(
            num_virtual_tokens=self.settings.num_virtual_tokens,
            prefix_projection=self.settings.prefix_projection,
            encoder_hidden_size=self.settings.encoder_hidden_size or base.config.hidden_size,
            modules_to_save=head or None,
        )

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """Keys and values before the text; PEFT saves the output of an MLP, not the MLP."""
        config = base.config.get_text_config()
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        size = config.num_hidden_layers * 2 * key_value_heads(config) * width
        return AdapterDelta(prefix=tensors.take("prompt_embeddings", (self.virtual_tokens, size)))

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """PEFT's model, its prefix initialised with keys and values of real text."""
        wrapped = super().wrap(base, task, train)
        if self.settings.prefix_init == "text" and not self.settings.prefix_projection and len(train):
            _initialise_from_text(wrapped, base, self.first_tokens(base, task, train))
        return wrapped


def _initialise_from_text(model: Any, base: Base, ids: list[int]) -> None:
    """Set a prefix to the keys and values that the base computes for `ids`.

    Raises ModelError if PEFT's prefix has another shape (Falcon, whose heads share one key).
    """
    import torch
    from transformers import DynamicCache

    weight = model.prompt_encoder[model.active_adapter].embedding.weight  # [tokens, layers * 2 * heads * width]
    body = model.get_base_model().base_model
    training = body.training
    body.eval()
    cache = DynamicCache()
    with torch.no_grad():
        place = body.get_input_embeddings().weight.device  # a quantized base is on its device already
        body(input_ids=torch.tensor([ids], device=place), past_key_values=cache, use_cache=True)
        pairs = [part[0].transpose(0, 1) for layer in cache.layers for part in (layer.keys, layer.values)]
        states = torch.stack(pairs, 1).flatten(1)  # each [tokens, heads, width]
        if states.shape != weight.shape:
            raise ModelError(
                f"{base.name}: keys and values of a token are {states.shape[1]} numbers, but PEFT's prefix has "
                f"{weight.shape[1]}: it does not support this base. Use lora, head or full."
            )
        weight.copy_(states)
    body.train(training)
