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
    which nothing is learned from. Whether the body is of that kind is tried on a few pieces; else it stays as it is.

    Args:
        model: headed, PEFT's around it or not; not shared out yet.
    """
    headed = model.get_base_model() if hasattr(model, "get_base_model") else model
    if _is_causal(headed.base_model):
        headed.base_model.register_forward_pre_hook(_without_mask, with_kwargs=True)


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

    training = body.training
    body.eval()
    embed = body.get_input_embeddings()
    device = embed.weight.device
    with torch.no_grad():
        one, other = (
            body(inputs_embeds=embed(torch.tensor([[1, 2, 3, last]], device=device)))[0][:, :-1] for last in (1, 2)
        )
    body.train(training)
    return torch.equal(one, other)
