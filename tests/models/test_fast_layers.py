"""The fast forward pass of BERT's layers gives what their own gives, wherever it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from conftest import build_tiny_bert

from adapters.models import packed_linear
from adapters.models.base_model import open_base
from adapters.models.fast_layers import quicken
from adapters.models.packed_linear import pack

FAST: dict[str, Callable[[Path], Path]] = {
    "bert": build_tiny_bert,
    "roberta": tiny.roberta,
    "xlmr": tiny.xlmr,
    "electra": tiny.electra,
}
OTHERS = {name: getattr(tiny, name) for name in ("deberta", "distilbert", "albert", "mpnet", "modernbert", "gpt2")}
IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def body(folder: Path) -> Any:
    return open_base(str(folder)).load_body().base_model.eval()


def linears(model: Any) -> list[Any]:
    return [one for one in model.modules() if type(one) is torch.nn.Linear]


def states(model: Any, **more: Any) -> torch.Tensor:
    """Of the tokens that are no padding."""
    found: torch.Tensor = model(input_ids=IDS, attention_mask=MASK, **more).last_hidden_state
    return found[MASK.bool()]


@pytest.mark.parametrize("kind", FAST)
def test_states_are_those_of_the_layers_own_pass(kind: str, tmp_path: Path, one_thread: None) -> None:
    own = body(FAST[kind](tmp_path / kind))
    fast = copy.deepcopy(own)
    assert quicken(fast) == own.config.num_hidden_layers
    with torch.inference_mode():
        assert torch.allclose(states(fast), states(own), atol=1e-6)
        alone = [model(input_ids=IDS[:1]).last_hidden_state for model in (own, fast)]
        assert torch.allclose(*alone, atol=1e-6)
    state = own.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in fast.state_dict().items())
    again = copy.deepcopy(fast)
    with torch.inference_mode():
        assert torch.equal(states(again), states(fast))
        first = next(one for name, one in again.named_parameters() if "query.weight" in name)
        with torch.no_grad():
            first.zero_()  # a copy is another model
        assert not torch.equal(states(again), states(fast))


@pytest.mark.parametrize("kind", OTHERS)
def test_other_layers_keep_their_own_pass(kind: str, tmp_path: Path) -> None:
    assert quicken(body(OTHERS[kind](tmp_path / kind))) == 0


def test_a_layer_that_computes_otherwise_keeps_its_own_pass(tmp_path: Path) -> None:
    own = body(build_tiny_bert(tmp_path))
    first = own.encoder.layer[0]
    before = first.forward
    first.forward = lambda states, mask=None, *_, **__: 2 * before(states, mask)
    assert quicken(own) == 1
    assert own.encoder.layer[0].forward is not before
    assert quicken(own.train()) == 0, "in training there is dropout"


def test_it_can_be_moved_trained_hooked_and_explained(tmp_path: Path, one_thread: None) -> None:
    own = body(build_tiny_bert(tmp_path))
    fast = copy.deepcopy(own)
    quicken(fast)
    for model in (own, fast):
        model.to(torch.float64)
    with torch.inference_mode():
        assert torch.allclose(states(fast), states(own), atol=1e-12)
    given = [own.get_input_embeddings()(IDS).detach().requires_grad_() for _ in range(2)]
    for model, one in zip((own, fast), given, strict=True):
        model(inputs_embeds=one, attention_mask=MASK).last_hidden_state[:, 0].sum().backward()
    assert torch.allclose(given[0].grad, given[1].grad, atol=1e-12)
    seen: list[torch.Size] = []
    for layer in (fast.encoder.layer[0].attention.self.key, fast.encoder.layer[1].output.dense):
        layer.register_forward_hook(lambda _, __, out: seen.append(out.shape))
    with torch.inference_mode():
        assert torch.allclose(states(fast), states(own), atol=1e-12)
    assert len(seen) == 2
    torch.manual_seed(0)
    wanted = states(own.train())
    torch.manual_seed(0)
    assert torch.equal(states(fast.train()), wanted), "dropout is that of the layer's own pass"


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2", "distilbert", "t5"])
def test_packed_layers_give_the_same_products(kind: str, tmp_path: Path, one_thread: None) -> None:
    folder = build_tiny_bert(tmp_path) if kind == "bert" else getattr(tiny, kind)(tmp_path)
    own = open_base(str(folder)).load_body().base_model.eval()
    fast = copy.deepcopy(own)
    linear = linears(own)
    assert pack(fast) == len(linear) and pack(fast) == 0, "once"
    with torch.inference_mode():
        for one, other in zip(linear, linears(fast), strict=True):
            for rows in (1, 3, 70):
                given = torch.randn(2, rows, one.in_features)
                assert torch.allclose(one(given), other(given), atol=1e-5)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        low = copy.deepcopy(own).to(torch.bfloat16)
        wanted = [one(torch.ones(2, one.in_features, dtype=torch.bfloat16)) for one in linears(low)]
        assert pack(low) == len(linear)
        with torch.inference_mode():
            for one, value in zip(linears(low), wanted, strict=True):
                assert torch.allclose(one(torch.ones(2, one.in_features, dtype=torch.bfloat16)), value, rtol=0.02)


def test_a_packed_layer_follows_its_weight_its_numbers_and_gradients(tmp_path: Path) -> None:
    layer = torch.nn.Linear(7, 5).eval()
    given = torch.randn(3, 7)
    assert pack(layer) == 1
    wanted = layer.weight.detach() @ given.T
    layer(given.clone().requires_grad_()).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert torch.allclose(layer(given) - layer.bias, wanted.T, atol=1e-5)
        layer.weight.mul_(2)
        assert torch.allclose(layer(given) - layer.bias, 2 * wanted.T, atol=1e-5)
        copied = copy.deepcopy(layer)
        layer.weight.mul_(0)
        assert torch.allclose(copied(given) - copied.bias, 2 * wanted.T, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert copied(given).dtype == torch.bfloat16
        copied.to(torch.float64)
        assert torch.allclose(copied(given.double()) - copied.bias, 2 * wanted.T.double(), atol=1e-5)


def test_what_cannot_be_packed_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pack(torch.nn.Linear(4, 4).to(torch.float16)) == 0
    assert pack(torch.nn.Linear(4, 4, device="meta")) == 0
    monkeypatch.setattr(packed_linear, "MOST", 63)
    assert pack(torch.nn.Linear(4, 4)) == 0
    monkeypatch.undo()
    monkeypatch.setattr(packed_linear.platform, "machine", lambda: "arm64")
    assert pack(torch.nn.Linear(4, 4)) == 0
