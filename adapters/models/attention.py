"""Attention during training: the fastest kernel, and no masks that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LONGEST_PLAIN = 192
"""Longest row, in tokens, for which unfused attention is faster on a CPU."""


def attention_kernel(device: torch.device, precision: str, tokens: int) -> Any:
    """A context that selects the fastest attention kernel for training on rows of `tokens` tokens.

    The backward pass of torch's fused attention is slow on a CPU in bf16, however short the rows: up to about two
    hundred tokens, separate products and a softmax take a third of the time (torch 2.13, AVX-512).
    """
    import contextlib

    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device.type == "cpu" and precision == "bf16" and tokens <= LONGEST_PLAIN:
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


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
