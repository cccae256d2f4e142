"""Attention of short rows in training, as one autograd function of batched products and a softmax.

torch's own plain attention computes bf16 in fp32, and under autocast each of its products is cast back.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward


class Attention(torch.autograd.Function):
    """softmax(q·kᵀ·s + bias)·v of `[rows * heads, tokens, width]`.

    Scores, weights and their gradients stay in the numbers of the inputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        scaling: float,
    ) -> torch.Tensor:
        """`bias`, `[rows, 1, tokens, keys]` or `[1, 1, tokens, keys]`, has no gradient."""
        query = query * scaling
        scores = torch.bmm(query, key.transpose(1, 2))
        if bias is not None:
            scores.view(bias.shape[0], -1, *scores.shape[1:]).add_(bias)
        weights = torch._softmax(scores, -1, False)
        ctx.save_for_backward(query, key, value, weights)
        ctx.scaling = scaling
        return torch.bmm(weights, value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Gradients in the order of the arguments."""
        query, key, value, weights = ctx.saved_tensors
        of_out = gradients[0]
        of_weights = torch.bmm(of_out, value.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.bmm(of_scores, key).mul_(ctx.scaling)
        of_key = torch.bmm(of_scores.transpose(1, 2), query)
        return of_query, of_key, torch.bmm(weights.transpose(1, 2), of_out), None, None


def attended(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **named: Any,
) -> Any:
    """What transformers' `sdpa` gives: states `[rows, tokens, heads, width]`, and None for the weights.

    It is asked itself where this is not bf16 without dropout and without a learned bias.

    Args:
        module: the attention layer.
        query: `[rows, heads, tokens, width]`.
        key: `[rows, heads, keys, width]`, or with a part of the heads, each for a group of the query's.
        value: as `key`, of a width of its own.
        attention_mask: bool, what is seen, or added to scores; `[rows, 1, tokens, keys]`.
        dropout, scaling, is_causal: as transformers gives them.
    """
    (rows, heads, tokens, width), keys = query.shape, key.shape[2]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = attention_mask is None and tokens > 1 and causal
    plain = not dropout and query.dtype is torch.bfloat16 and (keys == tokens or not causal)
    learned = attention_mask is not None and attention_mask.requires_grad  # a bias by position
    if not plain or learned or torch.compiler.is_compiling():
        given = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal, **named}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    if key.shape[1] < heads:
        key, value = (one.repeat_interleave(heads // one.shape[1], 1) for one in (key, value))
    flat = [one.reshape(rows * heads, *one.shape[2:]) for one in (query, key, value)]
    bias = attention_mask
    if causal:
        bias = torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=query.device).tril()
    if bias is not None and bias.dtype is torch.bool:
        bias = torch.zeros(bias.shape, dtype=query.dtype).masked_fill_(~bias, torch.finfo(query.dtype).min)
    scaling = width**-0.5 if scaling is None else scaling
    states: torch.Tensor = Attention.apply(*flat, bias, scaling)  # type: ignore[no-untyped-call]
    return states.view(rows, heads, tokens, -1).transpose(1, 2), None
