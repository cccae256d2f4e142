"""A base whose weights do not fit its config is refused in words, and never becomes random."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from conftest import build_tiny_bert

from adapters.core.errors import ModelError, SettingsError
from adapters.models.base_model import Base, open_base

pytestmark = pytest.mark.usefixtures("one_thread")
LOADERS: dict[str, Callable[[Base], Any]] = {
    "headed": lambda base: base.load("AutoModelForSequenceClassification", {"num_labels": 3}),
    "body": lambda base: base.load_body(),
    "generator": lambda base: base.load_generator(),
}


def changed(folder: Path, values: dict[str, Any]) -> Base:
    """A base of which entries of the config were changed."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return open_base(str(folder))


@pytest.mark.parametrize("loader", sorted(LOADERS))
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"intermediate_size": 96},
            r"model\.layers\.0\.mlp\.down_proj\.weight is \[32, 64\] in the file and would be \[32, 96\] by the config "
            r"\(intermediate_size 96\) \(and 5 more\)",
        ),
        ({"vocab_size": 400}, r"embed_tokens\.weight is \[\d+, 32\] in the file and would be \[400, 32\]"),
        ({"num_hidden_layers": 3}, r"its weights lack 9 tensors .*layers\.2\."),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused(
    values: dict[str, Any], words: str, loader: str, tmp_path: Path
) -> None:
    base = changed(tiny.llama(tmp_path / "llama"), values)
    with pytest.raises(ModelError, match=words):
        LOADERS[loader](base)


def test_an_encoder_lacks_its_pooler_alone(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = build_tiny_bert(tmp_path / "bert")
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if "pooler" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    assert "bert.pooler.dense.weight" in LOADERS["headed"](open_base(str(folder))).newly_initialised
    save_file({n: t for n, t in kept.items() if "layer.1.output" not in n}, weights, metadata={"format": "pt"})
    for loader in ("headed", "body"):
        with pytest.raises(ModelError, match=r"its weights lack 4 tensors .*encoder\.layer\.1\.output"):
            LOADERS[loader](open_base(str(folder)))


def test_a_head_of_another_size_is_replaced(tmp_path: Path) -> None:
    folder = build_tiny_bert(tmp_path / "bert")
    trained = LOADERS["headed"](open_base(str(folder)))
    trained.save_pretrained(folder)
    found = open_base(str(folder)).load("AutoModelForSequenceClassification", {"num_labels": 5})
    assert found.classifier.weight.shape == (5, 32)


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("distilbert", {"dropout"}),
        ("gpt2", {"resid_pdrop", "embd_pdrop"}),
        ("modernbert", {"embedding_dropout", "mlp_dropout", "classifier_dropout"}),
        ("roberta", {"hidden_dropout_prob", "classifier_dropout"}),
        ("t5", {"dropout_rate", "classifier_dropout"}),
    ],
)
def test_a_dropout_reaches_the_config_by_the_names_of_the_architecture(
    name: str, entries: set[str], tmp_path: Path
) -> None:
    base = open_base(str(getattr(tiny, name)(tmp_path / name)))
    model = base.load("AutoModelForSequenceClassification", {}, dropout=0.37)
    assert {entry for entry, value in model.config.to_dict().items() if value == 0.37} == entries
    assert any(isinstance(layer, torch.nn.Dropout) and layer.p == 0.37 for layer in model.modules())


def test_a_dropout_that_no_entry_of_the_config_takes_is_refused(tmp_path: Path) -> None:
    llama = open_base(str(tiny.llama(tmp_path / "llama")))
    with pytest.raises(SettingsError, match=r"^--dropout 0\.1: llama .*\(of dropout it has attention_dropout 0\.0\)"):
        llama.load("AutoModelForSequenceClassification", {}, dropout=0.1)
    llama.load("AutoModelForSequenceClassification", {}, dropout=0.0, attention_dropout=0.1)
    t5 = open_base(str(tiny.t5(tmp_path / "t5")))
    with pytest.raises(SettingsError, match=r"^--attention_dropout 0\.1: .*dropout_rate 0\.1"):
        t5.load("AutoModelForSequenceClassification", {}, attention_dropout=0.1)
