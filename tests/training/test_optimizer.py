"""AdamW compared with torch's own, weight decay, and the initial bias of a head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapters.core.errors import SettingsError
from adapters.core.settings import CommonSettings
from adapters.training.optimizer import adamw, schedule, start_at_prior


def test_the_update_is_that_of_torchs_own_adamw_and_vectors_do_not_decay():
    import torch

    torch.manual_seed(0)
    models = [
        torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)) for _ in range(2)
    ]
    models[1].load_state_dict(models[0].state_dict())
    ours = adamw(models[0], replace(CommonSettings(), learning_rate=1e-2, weight_decay=0.3))
    matrices = [p for p in models[1].parameters() if p.ndim > 1]
    vectors = [p for p in models[1].parameters() if p.ndim == 1]
    theirs = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}], lr=1e-2, foreach=False
    )
    for _ in range(20):
        inputs = torch.randn(4, 8)
        for model, optimizer in zip(models, (ours, theirs), strict=True):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_frozen_parameters_are_not_the_optimizers():
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 2).requires_grad_(False), torch.nn.Linear(2, 2))
    held = [p for group in adamw(model, CommonSettings()).param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model[1].parameters()}


def test_the_last_trained_layer_of_as_many_outputs_as_classes_begins_at_the_prior():
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 4))
    before = [model[0].bias.tolist(), model[2].bias.tolist()]
    start_at_prior(model, np.log([0.5, 0.25, 0.25]))
    assert model[1].bias.tolist() == pytest.approx(np.log([0.5, 0.25, 0.25]).tolist())
    assert [model[0].bias.tolist(), model[2].bias.tolist()] == before


def test_a_head_without_a_bias_and_no_prior_change_nothing():
    import torch

    model = torch.nn.Linear(4, 3, bias=False)
    before = model.weight.clone()
    start_at_prior(model, np.zeros(3))
    start_at_prior(torch.nn.Linear(4, 3), None)
    assert torch.equal(model.weight, before)


def test_a_tenth_of_the_steps_warms_up_and_an_unknown_schedule_is_refused():
    import torch

    model = torch.nn.Linear(2, 2)
    optimizer = adamw(model, replace(CommonSettings(), learning_rate=1.0))
    plan = schedule(optimizer, CommonSettings(), 20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.step()
    assert rates[:3] == pytest.approx([0, 0.5, 1]) and rates[3] < 1 and optimizer.param_groups[0]["lr"] == 0
    with pytest.raises(SettingsError, match="did you mean 'linear'"):
        schedule(optimizer, replace(CommonSettings(), lr_scheduler_type="lineer"), 20)
