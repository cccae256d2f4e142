"""A LoRA layer with fused products gives the result of PEFT's, and in bf16 is no less exact."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adapters.models import lora_linear
from adapters.models.lora_linear import FusedLoraLinear, use_fused_lora


class Net(nn.Module):
    """Two layers, one without a bias."""

    def __init__(self, into: int, inside: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(into, inside), nn.Linear(inside, out, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))  # type: ignore[no-any-return]


def pair(sizes: tuple[int, int, int], rank: int, **options: Any) -> tuple[Any, Any]:
    """PEFT's model and ours, of the same numbers."""
    config = peft.LoraConfig(
        target_modules=["first", "second"], r=rank, lora_alpha=3 * rank, init_lora_weights=False, **options
    )
    theirs = peft.get_peft_model(Net(*sizes), config)  # type: ignore[arg-type]
    ours = copy.deepcopy(theirs)
    use_fused_lora(ours)
    return theirs, ours


def learned(model: Any, x: torch.Tensor, *, autocast: bool = False) -> dict[str, torch.Tensor]:
    """The output, and every gradient."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = model(x)
    out.float().square().mean().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"out": out.detach().float(), "x": x.grad, **grads}


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 24)] * 3),
    rank=st.integers(1, 9),
    shape=st.lists(st.integers(1, 5), max_size=3),
    seed=st.integers(0, 99),
)
def test_outputs_and_gradients_are_those_of_peft(
    sizes: tuple[int, int, int], rank: int, shape: list[int], seed: int
) -> None:
    torch.manual_seed(seed)
    theirs, ours = pair(sizes, rank)
    x = torch.randn(*shape, 2, sizes[0])
    wanted, found = learned(theirs, x), learned(ours, x)
    assert wanted.keys() == found.keys() and len(found) == 6
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_compiled_it_is_the_plain_sum_in_one_graph(*, autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs, ours = pair((12, 20, 8), 3)
    x = torch.randn(4, 5, 12)
    wanted = learned(theirs, x, autocast=autocast)
    ours.compile(backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(lora_linear._FusedLora, "apply", lambda *given: pytest.fail("this would be copied"))
    found = learned(ours, x, autocast=autocast)
    for name, tensor in wanted.items():
        assert (found[name] - tensor).norm() <= (2e-2 if autocast else 1e-5) * tensor.norm(), name


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    _, ours = pair((5, 4, 3), 2)
    ours.double()
    layer = ours.base_model.model.first
    names = [f"{part}.default.weight" for part in ("lora_A", "lora_B")]

    def run(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> Any:
        return torch.func.functional_call(layer, dict(zip(names, (down, up), strict=True)), x)

    given = (torch.randn(6, 5), layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach())
    assert torch.autograd.gradcheck(run, tuple(tensor.double().requires_grad_() for tensor in given))


def test_in_bf16_it_is_no_further_from_the_truth_than_peft() -> None:
    torch.manual_seed(0)
    theirs, ours = pair((256, 256, 256), 16)
    x = torch.randn(64, 256)
    truth = learned(copy.deepcopy(theirs).double(), x.double())
    apart = {}
    for label, model in (("theirs", theirs), ("ours", ours)):
        found = learned(model, x, autocast=True)
        apart[label] = {name: float((found[name].double() - truth[name].double()).norm()) for name in truth}
    for name, theirs_apart in apart["theirs"].items():
        assert apart["ours"][name] <= 1.05 * theirs_apart, name
    assert apart["ours"]["out"] < 0.95 * apart["theirs"]["out"]


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"lora_dropout": 0.5}, {"lora_bias": True}], ids=["dora", "dropout", "bias"]
)
def test_what_is_more_than_two_products_is_left_to_peft(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs, ours = pair((8, 8, 8), 2, **options)
    x = torch.randn(3, 8)
    for model in (theirs, ours):
        model.eval() if "lora_dropout" not in options else model.train()
    torch.manual_seed(1)
    wanted = theirs(x)
    torch.manual_seed(1)
    assert torch.equal(ours(x), wanted)


def test_two_adapters_merging_and_disabling_are_still_pefts() -> None:
    torch.manual_seed(0)
    theirs, ours = pair((8, 8, 8), 2)
    assert type(ours.base_model.model.first) is FusedLoraLinear
    x = torch.randn(3, 8)
    for model in (theirs, ours):
        model.add_adapter("second", peft.LoraConfig(target_modules=["first"], r=3))
        model.base_model.set_adapter(["default", "second"])
    torch.testing.assert_close(ours(x), theirs(x))
    with ours.disable_adapter(), theirs.disable_adapter():
        assert torch.equal(ours(x), theirs(x))
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    torch.testing.assert_close(ours.merge_and_unload()(x), theirs.merge_and_unload()(x))
