"""A causal model trains the same without padding masks, and a model that is not causal keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from adapters.models.attention import drop_padding_masks
from adapters.models.base_model import open_base
from adapters.tasks.base import examples
from adapters.training import trainer as training

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = ("full", "lora", "bottleneck", "prefix", "prompt_tuning")


def note_masks(model: Any, seen: list[Any]) -> None:
    """Note the mask that a model's body is given from now on."""
    headed = model.get_base_model() if hasattr(model, "get_base_model") else model
    headed.base_model.register_forward_pre_hook(
        lambda body, inputs, named: seen.append(named.get("attention_mask")), with_kwargs=True
    )


def learned(base: Any, name: str, read: Any) -> tuple[list[float], list[Any]]:
    """The losses of three steps over sentences of unlike lengths, and the masks that the body saw."""
    task, found = read
    task, train = task.on(base.kind), found["train"]
    method = tiny.method(name, dropout=0.0, learning_rate=0.05)
    torch.manual_seed(0)
    model = method.wrap(base, task, train)
    trainer = tiny.trainer(method, model, base, task, train)
    trainer.model.train()
    seen: list[Any] = []
    note_masks(model, seen)
    rows = list(range(min(len(train), 8)))
    assert len({trainer.dataset.lengths[row] for row in rows}) > 1
    return [trainer.train_step([rows]) for _ in range(3)], seen


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("name", METHODS)
def test_a_causal_model_learns_the_same_without_masks(
    name: str, kind: str, tagged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(str(getattr(tiny, kind)(tmp_path / kind)))
    read = examples.read_named("ner", (), dataset_name=str(tagged))
    losses, without = learned(base, name, read)
    monkeypatch.setattr(training, "drop_padding_masks", lambda model: None)
    wanted, masks = learned(base, name, read)
    assert losses == pytest.approx(wanted, rel=2e-5)
    assert len(set(wanted)) == 3, "it learns"
    assert all(mask is not None for mask in masks)
    assert all((mask is None) == (name != "prefix") for mask in without), "behind a prefix the mask says more"


def body_of(architecture: str) -> Any:
    """A headed model of one layer, in training mode."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    xlnet = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=20, **xlnet if architecture == "XLNet" else {**sizes, "num_key_value_heads": 1}
    )
    return getattr(transformers, f"{architecture}ForTokenClassification")(config).train()


@pytest.mark.parametrize(("architecture", "causal"), [("XLNet", False), ("Bert", False), ("Qwen2", True)])
def test_only_a_model_that_sees_nothing_to_its_right_goes_without(architecture: str, *, causal: bool) -> None:
    model, seen = body_of(architecture), []
    drop_padding_masks(model)
    assert model.training
    note_masks(model, seen)
    ids, mask = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 1, 1, 0]])
    model(input_ids=ids, attention_mask=mask)
    model.eval()(input_ids=ids, attention_mask=mask)
    in_training, in_evaluation = seen
    assert (in_training is None) == causal
    assert in_evaluation is not None, "a text that is written may be padded on the left"
