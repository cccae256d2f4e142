"""AdamW compared with torch's own, weight decay, and the initial bias of a head."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from transformers import SchedulerType

from adapters.core.errors import SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.methods.base.method import load_method
from adapters.models.base_model import open_base
from adapters.training.optimizer import adamw, schedule, start_at_prior


def test_the_update_is_that_of_torchs_own_adamw_and_vectors_do_not_decay():
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
    model = torch.nn.Sequential(torch.nn.Linear(2, 2).requires_grad_(False), torch.nn.Linear(2, 2))
    held = [p for group in adamw(model, CommonSettings()).param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model[1].parameters()}


def test_the_last_trained_layer_of_as_many_outputs_as_classes_begins_at_the_prior():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 4))
    before = [model[0].bias.tolist(), model[2].bias.tolist()]
    start_at_prior(model, np.log([0.5, 0.25, 0.25]))
    assert model[1].bias.tolist() == pytest.approx(np.log([0.5, 0.25, 0.25]).tolist())
    assert [model[0].bias.tolist(), model[2].bias.tolist()] == before


def test_a_head_without_a_bias_and_no_prior_change_nothing():
    model = torch.nn.Linear(4, 3, bias=False)
    before = model.weight.clone()
    assert start_at_prior(model, np.zeros(3)) is False, "so that it can be said"
    assert start_at_prior(torch.nn.Linear(4, 3), None) is True
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("method", ["full", "bottleneck", "lora"])
def test_the_prior_is_written_to_the_head_alone_though_a_layer_of_the_body_is_as_wide(method, tiny_bert):
    """64 classes, and bottlenecks and a feed-forward of 64."""
    prior = np.log(np.arange(1, 65) / np.arange(1, 65).sum())
    task = tiny.classifying(tuple(f"c{n}" for n in range(64)))
    base = open_base(str(tiny_bert))
    kind = load_method(method)
    settings = join(CommonSettings, *(sys.modules[one.__module__].Settings for one in (type(task), kind)))()
    model = kind(settings).wrap(base, task, [])
    before = {name: value.clone() for name, value in model.named_parameters()}
    assert start_at_prior(model, prior)
    changed = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    assert len(changed) == 1 and "classifier" in changed[0] and changed[0].endswith("bias"), changed
    assert "original_module" not in changed[0]


def test_a_causal_classifier_has_no_bias_for_the_prior_which_is_said(run_recipe, tmp_path, capsys):
    base = tiny.llama(tmp_path / "llama")
    rows = [f"a {'good' if n % 3 else 'bad'} film {n},{'yes' if n % 3 else 'no'}" for n in range(30)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    given = ["--model_name_or_path", str(base), "--train_file", str(tmp_path / "train.csv"), "--max_train_steps", "1"]
    assert run_recipe("lora_classification", *given) == 0
    assert "the head has no bias: training does not start at the frequencies" in capsys.readouterr().err


def test_a_tenth_of_the_steps_warms_up_and_an_unknown_schedule_is_refused():
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


NEEDS = {"cosine_with_min_lr": '{"min_lr": 0.1}', "cosine_warmup_with_min_lr": '{"min_lr": 0.1}'}


@pytest.mark.parametrize("name", [kind.value for kind in SchedulerType])
def test_every_schedule_of_transformers_runs_or_is_refused_with_those_that_do(name):
    def steps(given: str | None = None) -> list[float]:
        optimizer = adamw(torch.nn.Linear(2, 2), replace(CommonSettings(), learning_rate=1.0))
        plan = schedule(optimizer, replace(CommonSettings(), lr_scheduler_type=name, lr_scheduler_kwargs=given), 20)
        rates = []
        for _ in range(20):
            optimizer.step()
            plan.step()
            rates.append(plan.get_last_lr()[0])
        return rates

    if name in ("reduce_lr_on_plateau", "greedy"):
        with pytest.raises(SettingsError, match=rf"{name}: is not supported, as it follows the loss.*linear, cosine"):
            steps()
        return
    if name in NEEDS:
        with pytest.raises(SettingsError, match=rf"--lr_scheduler_type {name}: .*--lr_scheduler_kwargs"):
            steps()
    rates = steps(NEEDS.get(name))
    assert all(0 <= rate <= 1 for rate in rates) and max(rates) > 0.5
    with pytest.raises(SettingsError, match=rf"--lr_scheduler_kwargs nonsense: {name} takes"):
        steps('{"nonsense": 1}')


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cosine", '{"num_cycles": "two"}'),
        ("cosine_with_restarts", '{"num_cycles": [2]}'),
        ("polynomial", '{"power": "a"}'),
        ("polynomial", '{"lr_end": null}'),
        ("inverse_sqrt", '{"timescale": "10"}'),
        ("cosine_with_min_lr", '{"min_lr": {}}'),
    ],
)
def test_a_value_of_a_schedule_of_another_type_is_refused(name, given):
    settings = replace(CommonSettings(), lr_scheduler_type=name, lr_scheduler_kwargs=given)
    with pytest.raises(SettingsError, match=f"--lr_scheduler_type {name}: .*--lr_scheduler_kwargs"):
        schedule(adamw(torch.nn.Linear(2, 2), settings), settings, 20)


@pytest.mark.parametrize(("given", "told"), [("{", "is no JSON"), ("[1]", "must be a JSON object")])
def test_values_of_a_schedule_that_are_no_object_are_refused(given, told):
    settings = replace(CommonSettings(), lr_scheduler_kwargs=given)
    with pytest.raises(SettingsError, match=rf"--lr_scheduler_kwargs .*{told}"):
        schedule(adamw(torch.nn.Linear(2, 2), settings), settings, 20)
