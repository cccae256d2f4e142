"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190; for tagging Liu et al. 2022, arXiv:2110.07602) by PEFT.

Every layer's attention sees keys and values of `num_virtual_tokens` pieces that are not there; they are trained, along
with the task's head. They begin as those of real text from the training split, as Li & Liang advise: after three epochs
on 3,000 sentences of CoNLL-2003, minilm, that scored 78.6 on dev where PEFT's random beginning scored 76.7 (16 tokens,
rate 1e-2). The same sweep chose the defaults: rate 3e-2 82.1, 1e-1 80.7; 5e-2 with 32 tokens 82.8, with 64 82.8;
through the MLP at 3e-3 78.7, at 1e-2 nothing is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import methods
from adapters.changes import Change, Saved
from adapters.errors import ModelError
from adapters.layers import key_value_heads
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Prefix tuning."""

    learning_rate: float = 3e-2
    """Peak learning rate. With --prefix_projection about 3e-3."""
    num_virtual_tokens: int = 32
    """Keys and values before the text in every layer; they take as many of the model's positions."""
    prefix_projection: bool = False
    """Train the prefix through a two-layer MLP, which is thrown away afterwards (Li & Liang's reparametrisation)."""
    encoder_hidden_size: int | None = None
    """Width of that MLP. Default: the base's own."""
    prefix_init: str = "text"
    """text: keys and values of training examples; random: PEFT's own. With --prefix_projection always random."""


class Method(methods.PeftMethod):
    """PEFT's prefix with the head trained whole beside it."""

    name = "prefix"
    peft_type = "PREFIX_TUNING"
    peft_options: ClassVar[dict[str, str]] = {"num_virtual_tokens": "num_virtual_tokens"}
    kinds = (ENCODER, CAUSAL)

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of `Settings`."""
        super().__init__(settings)
        require(settings.num_virtual_tokens >= 1, "num_virtual_tokens", settings.num_virtual_tokens, "at least 1")
        width = settings.encoder_hidden_size
        require(width is None or width >= 1, "encoder_hidden_size", width, "at least 1")
        require(settings.prefix_init in ("text", "random"), "prefix_init", settings.prefix_init, "text or random")

    @property
    def virtual_tokens(self) -> int:
        """The prefix takes positions from the text."""
        return int(self.settings.num_virtual_tokens)

    def check(self, base: Base, task: Task) -> None:
        """PEFT hands the prefix to the model as a cache of past keys and values, which not every encoder takes."""
        super().check(base, task)
        if not base.takes_cache:
            raise ModelError(
                f"{base.name}: a model of the type {base.config.model_type} takes no keys and values from outside, so "
                "it can have no prefix. Use lora, head or full, or a BERT, RoBERTa, GPT-2 or Llama class base."
            )

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """A prefix in every layer."""
        import peft

        return peft.PrefixTuningConfig(
            num_virtual_tokens=self.settings.num_virtual_tokens,
            prefix_projection=self.settings.prefix_projection,
            encoder_hidden_size=self.settings.encoder_hidden_size or base.config.hidden_size,
            modules_to_save=head or None,
        )

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """Keys and values in front of the text; PEFT saves those that an MLP made, not the MLP."""
        config = base.config.get_text_config()
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        whole = config.num_hidden_layers * 2 * key_value_heads(config) * width
        return Change(prefix=saved.take("prompt_embeddings", (self.virtual_tokens, whole)))

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """As PEFT does it; then the prefix takes the keys and values of real text."""
        wrapped = super().wrap(base, task, train)
        if self.settings.prefix_init == "text" and not self.settings.prefix_projection and len(train):
            _begin_as_text(wrapped, base, self.first_pieces(base, task, train, self.virtual_tokens))
        return wrapped


def _begin_as_text(model: Any, base: Base, ids: list[int]) -> None:
    """Set a prefix to the keys and values that the base computes for as many pieces.

    Raises ModelError where PEFT's prefix is not of their shape (Falcon, whose heads share one key).
    """
    import torch
    from transformers import DynamicCache

    weight = model.prompt_encoder[model.active_adapter].embedding.weight  # [tokens, layers * 2 * heads * width]
    body = model.get_base_model().base_model
    training = body.training
    body.eval()
    cache = DynamicCache()
    with torch.no_grad():
        body(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
        pairs = [part[0].transpose(0, 1) for layer in cache.layers for part in (layer.keys, layer.values)]
        begun = torch.stack(pairs, 1).flatten(1)  # each [tokens, heads, width]
        if begun.shape != weight.shape:
            raise ModelError(
                f"{base.name}: keys and values of a piece are {begun.shape[1]} numbers, PEFT's prefix has "
                f"{weight.shape[1]}: it knows no prefix for this base. Use lora, head or full."
            )
        weight.copy_(begun)
    body.train(training)
