"""Attention during training: the fastest way on short rows, no cast twice, and no masks that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SDPA = "sdpa"
"""Transformers' name for torch's attention, which models have by default."""
TOGETHER = ({"query", "key", "value"}, {"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})
"""Names of layers that read the same states."""

LONGEST_PLAIN = 192
"""Longest row, in tokens, for which unfused attention is faster on a CPU."""


@contextmanager
def fastest_attention(device: torch.device, precision: str, tokens: int) -> Iterator[None]:
    """Within the block, models attend by what is fastest in training on rows of `tokens` tokens.

    On a CPU in bf16 the backward pass of torch's fused attention is slow, however short the rows, and its plain one
    computes in fp32: up to about two hundred tokens, products in bf16 and a softmax take a third of the time of the
    first (torch 2.13, AVX-512).
    """
    if device.type != "cpu" or precision != "bf16" or tokens > LONGEST_PLAIN:
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    from adapters.models.short_attention import attended

    own = ALL_ATTENTION_FUNCTIONS[SDPA]
    ALL_ATTENTION_FUNCTIONS[SDPA] = attended
    try:
        with sdpa_kernel(SDPBackend.MATH):  # for what the products are not for
            yield
    finally:
        ALL_ATTENTION_FUNCTIONS[SDPA] = own


def cast_once(model: torch.nn.Module) -> None:
    """Under autocast, cast what several projections read once for all of them, and not in each."""
    for module in model.modules():
        names = {name for name, _ in module.named_children()}
        if any(together <= names for together in TOGETHER):
            module.register_forward_pre_hook(_cast, with_kwargs=True)


def _cast(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs of a layer, its states in the numbers of autocast."""
    import torch

    states = inputs[0] if inputs else named.get("hidden_states")
    if not isinstance(states, torch.Tensor) or not torch.is_autocast_enabled(states.device.type):
        return inputs, named
    states = states.to(torch.get_autocast_dtype(states.device.type))
    return ((states, *inputs[1:]), named) if inputs else (inputs, {**named, "hidden_states": states})


def drop_padding_masks(model: Any) -> None:
    """Train a causal model without attention masks for padding, which is on the right.

    A mask prevents the attention kernels that GPUs have for causal models. It only changes the states of padding, which
    have no loss. Whether the body is causal is tested on a few tokens, bit for bit; a body that is not, or cannot be
    tested, keeps its masks (as most mixture-of-experts models do, where tokens share matrix products).

    Args:
        model: headed, with or without PEFT; not sharded yet.
    """
    headed = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(headed, "base_model", None)
    if body is not None and _is_causal(body):
        body.register_forward_pre_hook(_without_mask, with_kwargs=True)
        body.warn_if_padding_and_no_attention_mask = lambda *_: None  # GPT-2's warning, which reads all tokens


def _without_mask(
    body: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Drop a mask that only marks padding. After a prefix masks mark more; in evaluation padding may be on the left."""
    mask = named.get("attention_mask")
    only_padding = mask is not None and mask.dim() == 2 and named.get("past_key_values") is None
    return inputs, {**named, "attention_mask": None} if body.training and only_padding else named


def _is_causal(body: Any) -> bool:
    """Whether the states of all earlier tokens stay the same, bit for bit, with another last token."""
    import torch

    training, device = body.training, next(body.parameters()).device
    body.eval()
    try:
        with torch.no_grad():
            one, other = (body(input_ids=torch.tensor([[1, 2, 3, last]], device=device))[0][:, :-1] for last in (1, 2))
        return torch.equal(one, other)
    except (
        RuntimeError,
        TypeError,
        ValueError,
    ):  # it needs more than tokens, or accepts only embeddings (soft prompts)
        return False
    finally:
        body.train(training)
