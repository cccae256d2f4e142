"""PEFT folders without a card, of any of PEFT's methods, alone: loaded, inspected and merged as stock PEFT answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
import tiny
from safetensors.torch import load_file, save_file

import adapters
from adapters.artifacts import loading, merging
from adapters.artifacts.plain_peft import Reading
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, ModelError
from adapters.methods.base import peft_layout
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


def config(kind: str) -> Callable[[], Any]:
    """A config of PEFT for BERT; of some types no file here is."""
    import peft

    others = {
        "LoHa": lambda: peft.LoHaConfig(r=4, target_modules=["query", "value"]),
        "VeRA": lambda: peft.VeraConfig(r=4, target_modules=["query", "value"]),
        "OFT": lambda: peft.OFTConfig(oft_block_size=4, target_modules=["query"]),
    }
    return others.get(kind) or foreign.configs("bert")[kind]


def shares(loaded: Any) -> np.ndarray:
    """Probabilities `[texts, classes]` of the classes, in order."""
    outputs = [answer["output"] for answer in loaded.answer(foreign.TEXTS)]
    return np.array([[output["scores"][f"LABEL_{i}"] for i in range(3)] for output in outputs])


@pytest.mark.parametrize("kind", ["LoRA with patterns", "(IA)³", "prompt tuning", "LoHa", "VeRA", "OFT"])
def test_a_folder_of_any_method_answers_alone_as_in_stock_peft_and_merged(kind: str, tmp_path: Path) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", config(kind))
    logits = np.array([foreign.stock_answer(foreign.stock_model(made), made, text) for text in foreign.TEXTS])
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    alone = shares(loading.load_plain(made.folder, Reading(), device="cpu", dtype="float32"))
    assert np.abs(alone - wanted).max() < 6e-5, "four digits are shown"
    assert np.array_equal(shares(adapters.load(made.folder, device="cpu")), alone)
    if kind == "prompt tuning":
        with pytest.raises(ModelError, match="virtual tokens, which no weights can represent"):
            merging.merge(made.folder, tmp_path / "merged")
        return
    merging.merge(made.folder, tmp_path / "merged")
    assert np.abs(shares(loading.load(tmp_path / "merged", device="cpu")) - wanted).max() < 6e-5
    card = json.loads((tmp_path / "merged" / "card.json").read_text())
    assert any("was trained on" in line for line in card["merged"]["unchecked"])


def test_a_bank_says_which_folders_it_cannot_mix_and_answers_with_them_as_the_commands_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", config("LoHa"))
    bank, labels = AdapterBank(str(base)), ("bad", "so", "good")
    with pytest.warns(UserWarning, match="so these were not checked"):
        assert not bank.load("x", made.folder, labels=labels)["mixed"]
    (answer,) = bank.predict([{"adapter": "x", "inputs": "The dog."}])
    (refused,) = bank.predict([{"adapter": "x", "inputs": "The dog.", "task": "text_generation"}])
    assert "x answers alone, and only its own task (classification)" in refused["error"]
    assert main(["inspect", str(made.folder)]) == 0
    shown = capsys.readouterr().out
    assert "LOHA by PEFT for SEQ_CLS" in shown and "all tensors are there" in shown and "not checked" in shown
    assert main(["predict", str(made.folder), "--json", "--labels", "bad", "so", "good", "--", "The dog."]) == 0
    assert json.loads(capsys.readouterr().out)["output"]["label"] == answer["output"]["label"]
    assert main(["merge", str(made.folder), "--output_dir", str(tmp_path / "m"), "--labels", "bad", "so", "good"]) == 0
    assert json.loads((tmp_path / "m" / "card.json").read_text())["task"]["labels"] == ["bad", "so", "good"]


def test_a_merged_writer_writes_what_its_adapter_does(tmp_path: Path) -> None:
    base = foreign.BASES["qwen2"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "CAUSAL_LM", foreign.configs("qwen2")["LoRA"])
    merging.merge(made.folder, tmp_path / "merged")
    both = adapters.load(made.folder, device="cpu"), loading.load(tmp_path / "merged", device="cpu")
    written = [[answer["output"]["completion"] for answer in one.answer(foreign.TEXTS)] for one in both]
    assert written[0] == written[1] and any(written[0])


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        ("one tensor less", "Missing: "),
        ("one tensor more", "of no layer: "),
        ("not finite", "not finite"),
        ("no head", "does not name its labels"),
    ],
)
def test_a_damaged_folder_of_any_method_is_refused(harm: str, match: str, tmp_path: Path) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", config("LoHa"))
    path = made.folder / "adapter_model.safetensors"
    tensors = load_file(path)
    first = min(name for name in tensors if "hada" in name)
    if harm == "one tensor less":
        del tensors[first]
    elif harm == "one tensor more":
        tensors[f"{first}.more"] = tensors[first].clone()
    elif harm == "not finite":
        tensors[first][0] = float("nan")
    else:
        tensors = {name: tensor for name, tensor in tensors.items() if "classifier" not in name}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=match):
        adapters.load(made.folder, device="cpu")


SLOW = r"((\w|\.)+)+!"
"""A pattern that takes longer than anybody waits on the name of a module."""


@pytest.mark.parametrize("option", ["target_modules", "rank_pattern", "alpha_pattern", "exclude_modules"])
def test_a_pattern_that_never_ends_is_refused_before_peft_matches_it(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peft_layout, "PATTERN_SECONDS", 0.2)
    base = foreign.BASES["bert"][0](tmp_path / "base")
    folder = foreign.make(tmp_path / "x", base, "SEQ_CLS", config("LoHa")).folder
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), option: {SLOW: 3} if "pattern" in option else SLOW}))
    for load in (lambda: loading.load_plain(folder, Reading()), lambda: AdapterBank(str(base)).load("x", folder)):
        with pytest.raises(ArtifactError, match=rf"{option}: the pattern .* does not end within"):
            load()


def test_an_artifact_with_such_a_pattern_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peft_layout, "PATTERN_SECONDS", 0.2)
    base = open_base(str(foreign.BASES["bert"][0](tmp_path / "base")))
    options = {"target_modules": ".*query", "n_frequency_pattern": {"query": 10}}
    how = {"peft_type": "FOURIERFT", "peft_options": json.dumps(options)}
    folder = tiny.adapter(tmp_path / "x", "peft", base, tiny.classifying(), **how)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n_frequency_pattern": {SLOW: 10}}))
    given = json.dumps({**options, "n_frequency_pattern": {SLOW: 10}})
    tiny.rewrite(folder, lambda card: card["method"]["settings"].update(peft_options=given))
    for load in (lambda: loading.load(folder, base=base), lambda: AdapterBank(str(base.folder)).load("x", folder)):
        with pytest.raises(ArtifactError, match=r"n_frequency_pattern: the pattern .* does not end"):
            load()
