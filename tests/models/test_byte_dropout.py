"""The mask drawn by bytes is a dropout mask: its rate, its mean, its independence, its seed."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from adapters.models.byte_dropout import ByteDropout, use_byte_dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_elements_are_dropped_at_the_rounded_rate_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    out = ByteDropout(p)(torch.ones(1000, 1001))
    rate = round(256 * p) / 256
    zeros = int((out == 0).sum())
    assert stats.binomtest(zeros, out.numel(), rate).pvalue > 1e-4
    assert abs(rate - p) <= 1 / 512
    assert torch.unique(out).tolist() == [0.0, pytest.approx(1 / (1 - rate))]
    assert out.mean().item() == pytest.approx(1, abs=0.02)


def test_neighbours_that_share_a_draw_are_independent() -> None:
    torch.manual_seed(1)
    out = (ByteDropout(0.5)(torch.ones(80_000)) == 0).view(-1, 8).int()
    for other in range(1, 8):
        table = torch.zeros(2, 2)
        for a in (0, 1):
            for b in (0, 1):
                table[a, b] = ((out[:, 0] == a) & (out[:, other] == b)).sum()
        assert stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_a_seed_decides_the_mask_and_gradients_pass_where_elements_did() -> None:
    inputs = torch.ones(7, 5, requires_grad=True)
    torch.manual_seed(2)
    first = ByteDropout(0.3)(inputs)
    torch.manual_seed(2)
    assert torch.equal(first, ByteDropout(0.3)(inputs))
    first.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, first.detach())


def test_nothing_is_dropped_when_evaluating_or_at_rate_zero() -> None:
    inputs = torch.randn(4, 4)
    assert torch.equal(ByteDropout(0.5).eval()(inputs), inputs)
    assert torch.equal(ByteDropout(0.0)(inputs), inputs)
    assert not ByteDropout(1.0)(inputs).any()


def test_every_dropout_of_a_model_is_exchanged_and_nothing_else() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25), nn.Sequential(nn.Dropout(0.5)))
    names = list(model.state_dict())
    use_byte_dropout(model)
    assert [type(module) for module in model.modules() if isinstance(module, nn.Dropout)] == [ByteDropout] * 2
    assert list(model.state_dict()) == names and model[1].p == 0.25
