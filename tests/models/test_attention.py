"""Attention and casts of training on a CPU: as torch's own attention gives them, and gradients, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from adapters.models.attention import LONGEST_PLAIN, cast_once, fastest_attention
from adapters.models.short_attention import Attention

CPU = torch.device("cpu")


class Layer:
    """An attention layer, as transformers' functions read it."""

    training = True

    def __init__(self, *, causal: bool, groups: int = 1) -> None:
        self.is_causal, self.num_key_value_groups = causal, groups


def attended(inputs: list[torch.Tensor], layer: Layer, mask: torch.Tensor | None, **named: Any) -> list[torch.Tensor]:
    """States and the gradients of query, key and value, within `fastest_attention`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    given = [one.clone().requires_grad_() for one in inputs]
    with fastest_attention(CPU, "bf16", 8):
        states, weights = ALL_ATTENTION_FUNCTIONS["sdpa"](layer, *given, mask, **named)
    assert weights is None
    (states * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
    return [states.detach(), *(one.grad for one in given if one.grad is not None)]


def wanted(inputs: list[torch.Tensor], layer: Layer, mask: torch.Tensor | None, **named: Any) -> list[torch.Tensor]:
    """The same by transformers' function, in fp32."""
    given = [one.float().requires_grad_() for one in inputs]
    states, _ = sdpa_attention_forward(layer, *given, mask, **named)
    (states * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
    return [states.detach(), *(one.grad for one in given if one.grad is not None)]


@pytest.mark.parametrize("mask", ["none", "padding", "causal", "causal mask", "added", "prefix"])
@pytest.mark.parametrize("groups", [1, 3])
def test_short_rows_are_attended_as_torch_attends(mask: str, groups: int) -> None:
    torch.manual_seed(0)
    rows, heads, tokens, width, before = 2, 6, 8, 4, 3 if mask == "prefix" else 0
    sizes = ((heads, tokens), (heads // groups, tokens + before), (heads // groups, tokens + before))
    inputs = [torch.randn(rows, count, length, width, dtype=torch.bfloat16) for count, length in sizes]
    seen = torch.ones(rows, 1, tokens, tokens + before, dtype=torch.bool)
    if mask == "padding":
        seen[1, ..., 5:] = False
    elif mask in ("causal mask", "prefix"):
        seen = seen.tril(before)
    given = None if mask in ("none", "causal") else seen
    if mask == "added":
        given = torch.randn(rows, 1, tokens, tokens, dtype=torch.bfloat16)
    layer, scaling = Layer(causal=mask == "causal", groups=groups), 0.3
    reference = None if given is None else given if given.dtype is torch.bool else given.float()
    found = attended(inputs, layer, given, scaling=scaling)
    for one, other in zip(found, wanted(inputs, layer, reference, scaling=scaling), strict=True):
        assert one.dtype is torch.bfloat16 and one.shape == other.shape
        assert float((one.float() - other).abs().max()) <= 2.0**-5 * float(other.abs().max())


def test_the_gradients_are_those_of_the_function() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    bias = torch.randn(2, 1, 5, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(Attention.apply, (*inputs, bias, 0.7))
    assert torch.autograd.gradcheck(Attention.apply, (*inputs, None, 0.7))


@pytest.mark.parametrize(("dtype", "named"), [(torch.float32, {}), (torch.bfloat16, {"dropout": 0.5})])
def test_all_else_is_left_to_transformers(dtype: torch.dtype, named: dict[str, float]) -> None:
    inputs = [torch.randn(1, 2, 8, 4, dtype=dtype) for _ in range(3)]
    layer = Layer(causal=False)
    torch.manual_seed(1)
    found = attended(inputs, layer, None, **named)[0]
    torch.manual_seed(1)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        assert torch.equal(found, sdpa_attention_forward(layer, *inputs, None, **named)[0])


def test_a_learned_bias_keeps_its_gradient_and_values_their_width() -> None:
    inputs = [torch.randn(1, 2, 8, width, dtype=torch.bfloat16) for width in (4, 4, 6)]
    bias = torch.zeros(1, 1, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    assert attended(inputs, Layer(causal=False), bias)[0].shape == (1, 8, 2, 6)
    assert bias.grad is not None and bool(bias.grad.any())
    for one, other in zip(
        attended(inputs, Layer(causal=False), None), wanted(inputs, Layer(causal=False), None), strict=True
    ):
        assert float((one.float() - other).abs().max()) <= 2.0**-5 * float(other.abs().max())


@pytest.mark.parametrize(("precision", "tokens"), [("no", 8), ("bf16", LONGEST_PLAIN + 1)])
def test_other_numbers_and_long_rows_keep_their_attention(precision: str, tokens: int) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with fastest_attention(CPU, precision, tokens):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before
    with pytest.raises(ValueError, match="x"), fastest_attention(CPU, "bf16", 8):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not before
        raise ValueError("x")
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_states_are_cast_once_and_nothing_else_changes(kind: str, tiny_bert: Path, tmp_path: Path) -> None:
    folder = tiny_bert if kind == "bert" else tiny.BUILDERS[kind](tmp_path / kind)
    model = AutoModel.from_pretrained(folder).train()
    ids = torch.arange(12).view(2, 6) % 8 + 1

    def run() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            states = model(input_ids=ids).last_hidden_state
        (states.float() * torch.linspace(-1, 1, states.shape[-1]).sin()).sum().backward()
        return states, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    before = run()
    cast_once(model)
    after = run()
    assert torch.equal(before[0], after[0])
    most = max(float(gradient.abs().max()) for gradient in before[1].values())
    for name, gradient in before[1].items():  # sums of three projections' gradients are rounded elsewhere
        near = 0.02 * max(float(gradient.abs().max()), 1e-3 * most)  # that of a key's bias is 0, but for rounding
        assert torch.allclose(gradient, after[1][name], atol=near, rtol=0), name
    seen: list[torch.dtype] = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    run()
    together = {"bert": 3, "llama": 5, "gpt2": 0}[kind] * len(tiny_layers(model))
    assert seen.count(torch.bfloat16) >= together
    model.float()(input_ids=ids)  # without autocast nothing is cast


def tiny_layers(model: Any) -> Any:
    """The layers of a model."""
    return getattr(model, "layers", None) or getattr(model, "h", None) or model.encoder.layer
