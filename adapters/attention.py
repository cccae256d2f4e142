"""How attention is computed while a model learns: by the fastest kernel, and without masks that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LONGEST_PLAIN = 192
"""Pieces of a row from which fused attention is the faster one on a CPU."""


def attention(device: torch.device, precision: str, pieces: int) -> Any:
    """A context in which attention over rows of so many pieces is learned from as fast as this machine can.

    On a CPU in bf16 torch's fused attention takes its time for the backward pass, however short the rows: up to some
    two hundred pieces, products and a softmax one after the other take a third of it (torch 2.13, AVX-512).
    """
    import contextlib

    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device.type == "cpu" and precision == "bf16" and pieces <= LONGEST_PLAIN:
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


def leave_masks_out(model: Any) -> None:
    """Let a model whose pieces see none to their right learn without the mask of the padding, which is on the right.

    A mask keeps GPUs from the attention kernels made for causal models. What it would change are the states of padding,
    which nothing is learned from. Whether the body is of that kind is tried on a few pieces, bit for bit; one that is
    not, or cannot be tried, keeps its masks (most of those with experts do, whose pieces share products out).

    Args:
        model: headed, PEFT's around it or not; not shared out yet.
    """
    headed = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(headed, "base_model", None)
    if body is not None and _is_causal(body):
        body.register_forward_pre_hook(_without_mask, with_kwargs=True)
        body.warn_if_padding_and_no_attention_mask = lambda *_: None  # GPT-2's, which reads the pieces for it


def _without_mask(
    body: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Behind a prefix there are masks that say more, and in evaluation padding may be on the left."""
    mask = named.get("attention_mask")
    padding_alone = mask is not None and mask.dim() == 2 and named.get("past_key_values") is None
    return inputs, {**named, "attention_mask": None} if body.training and padding_alone else named


def _is_causal(body: Any) -> bool:
    """Whether another last piece leaves the states of all those before it as they are, bit for bit."""
    import torch

    training, device = body.training, next(body.parameters()).device
    body.eval()
    try:
        with torch.no_grad():
            one, other = (body(input_ids=torch.tensor([[1, 2, 3, last]], device=device))[0][:, :-1] for last in (1, 2))
        return torch.equal(one, other)
    except (RuntimeError, TypeError, ValueError):  # it takes more than pieces, or embeddings alone (a soft prompt's)
        return False
    finally:
        body.train(training)
