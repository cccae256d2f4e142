"""The positions of a soft prompt in a model's output: removed, so that a task sees those of the text only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.models.base_model import CAUSAL

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

OF_POSITIONS = {"TOKEN_CLS": ("logits",), "QUESTION_ANS": ("start_logits", "end_logits")}
"""By PEFT's task type: the fields of a model's output that have a value for each position."""


def without_prompt_outputs(model: Any, base: Base) -> torch.nn.Module:
    """Remove the soft prompt's positions from a model's outputs, by hooks, which also run inside DDP."""
    model.register_forward_hook(_cut_prompt)
    if base.kind == CAUSAL and model.active_peft_config.task_type == "SEQ_CLS":
        headed = model.get_base_model()
        headed.register_forward_pre_hook(_show_padding, with_kwargs=True)
        headed.base_model.register_forward_pre_hook(_only_embeddings, with_kwargs=True)
    wrapped: torch.nn.Module = model
    return wrapped


def _cut_prompt(model: Any, inputs: tuple[Any, ...], output: Any) -> Any:
    """Remove the positions of the prompt: `[batch, virtual tokens + tokens, …]` to `[batch, tokens, …]`."""
    config = model.active_peft_config
    for name in OF_POSITIONS.get(config.task_type, ()):
        output[name] = output[name][:, config.num_virtual_tokens :]
    return output


def _show_padding(model: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Pass a causal classifier tokens as well as embeddings, as it looks for each row's last token before padding.

    Given only embeddings, as PEFT does, it takes the last position of the batch, padding or not.
    """
    import torch

    embeddings, mask = named["inputs_embeds"], named.get("attention_mask")
    padding = model.config.get_text_config().pad_token_id
    tokens = torch.full(embeddings.shape[:2], padding + 1, device=embeddings.device)  # any token except padding
    if mask is not None:
        tokens[mask == 0] = padding
    return inputs, {**named, "input_ids": tokens}


def _only_embeddings(
    body: Any, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hide from the body the tokens that `_show_padding` passes to the head."""
    named = {name: value for name, value in named.items() if name != "input_ids"}
    return (None, *inputs[1:]), named
