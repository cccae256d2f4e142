"""Heads that are not one label of several: a number, several labels, pairs of texts, tags of any scheme, no head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest

import adapters
from adapters.core.errors import ArtifactError, SettingsError
from adapters.serving.bank.bank import AdapterBank, Request

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]
NAMES = ["bad", "so", "good"]


def lora(base: str = "bert") -> Any:
    return foreign.configs(base)["LoRA"]


def logits_of(made: foreign.Foreign, *texts: str) -> np.ndarray:
    """Logits of stock PEFT for a text, or for a pair as the base's own tokenizer encodes it, token types included."""
    import torch
    from transformers import AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(made.base)(*texts, return_tensors="pt", split_special_tokens=True)
    with torch.inference_mode():
        return foreign.stock_model(made)(**encoded).logits[0].numpy()


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_head_of_one_number_answers_the_number(name: str, tmp_path: Path) -> None:
    base = foreign.BASES[name][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", lora(name), num_labels=1)
    bank = AdapterBank(str(base))
    info = bank.load("x", made.folder)
    assert (info["task"], info["labels"]) == ("regression", [])
    assert "the unit and the range of its number" in info["unchecked"]
    answers = bank.predict([Request("x", text) for text in foreign.TEXTS])
    wanted = [float(foreign.stock_answer(foreign.stock_model(made), made, text)[0]) for text in foreign.TEXTS]
    assert [answer["output"]["value"] for answer in answers] == pytest.approx(wanted, abs=1e-5, rel=1e-5)
    assert not {"label", "score", "scores"} & answers[0]["output"].keys()
    loaded = adapters.load(made.folder, base=str(base), device="cpu")
    assert loaded("The dog.") == answers[0]["output"]
    with pytest.raises(ArtifactError, match="gives a number, not labels: that is the task regression"):
        bank.load("y", made.folder, task="classification")
    assert bank.load("z", made.folder, multi_label=True, labels=["toxic"])["task"] == "classification"


def test_a_head_of_several_is_no_number(tmp_path: Path) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", lora())
    bank = AdapterBank(str(base))
    with pytest.raises(ArtifactError, match="the head has 3 outputs; regression needs a head of one"):
        bank.load("x", made.folder, task="regression")
    config = {**json.loads((base / "config.json").read_text()), "problem_type": "regression"}
    (made.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="problem_type is regression, of 3 numbers; a head of one number is"):
        bank.load("x", made.folder)


@pytest.mark.parametrize("says", ["the base's config", "a config.json in the folder", "the caller"])
def test_several_labels_are_each_a_probability_of_its_own(says: str, tmp_path: Path) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", lora())
    config = json.loads((base / "config.json").read_text())
    several = {**config, "problem_type": "multi_label_classification"}
    given: dict[str, Any] = {}
    if says == "the base's config":
        (base / "config.json").write_text(json.dumps(several))
    elif says == "a config.json in the folder":
        names = {"id2label": dict(zip("012", NAMES, strict=True))}
        (made.folder / "config.json").write_text(json.dumps({**several, **names}))
    else:
        given = {"multi_label": True, "labels": NAMES}
    bank = AdapterBank(str(base))
    info = bank.load("x", made.folder, **given)
    names = NAMES if says != "the base's config" else ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert info["labels"] == names
    (answer,) = bank.predict([Request("x", foreign.TEXTS[0])])
    shares = 1 / (1 + np.exp(-logits_of(made, foreign.TEXTS[0])))
    assert answer["output"]["scores"] == pytest.approx(dict(zip(names, shares, strict=True)), abs=6e-5)
    assert answer["output"]["labels"] == [name for name, share in zip(names, shares, strict=True) if share > 0.5]


@pytest.mark.parametrize("name", ["bert", "roberta", "electra"])
def test_pairs_are_asked_as_the_stock_tokenizer_encodes_them(name: str, tmp_path: Path) -> None:
    base = foreign.BASES[name][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "SEQ_CLS", lora(name))
    bank = AdapterBank(str(base))
    bank.load("x", made.folder, pair=True)
    for first, second in zip(foreign.TEXTS, reversed(foreign.TEXTS), strict=True):
        (answer,) = bank.predict([Request("x", {"text": first, "text_pair": second})])
        logits = logits_of(made, first, second)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert [*answer["output"]["scores"].values()] == pytest.approx(sorted(shares, reverse=True), abs=6e-5)
    (refused,) = bank.predict([Request("x", "one text")])
    assert "text_pair" in refused["error"]


def test_tags_of_another_scheme_are_named_and_converted(tmp_path: Path) -> None:
    base = foreign.BASES["bert"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "TOKEN_CLS", lora())
    bank = AdapterBank(str(base))
    info = bank.load("iob1", made.folder, labels=["O", "I-PER", "I-LOC", "B-LOC", "I-ORG"])
    assert any("read as iob1 tags" in line for line in info["unchecked"])
    info = bank.load("pos", made.folder, labels=["NOUN", "VERB", "ADJ", "PUNCT", "X"])
    assert any("read as plain tags" in line for line in info["unchecked"])
    tagged, plain = bank.predict([Request("iob1", "Ada lived in London ."), Request("pos", "Ada lived in London .")])
    assert {tag[0] for tag in tagged["output"]["tags"]} <= set("OBI")
    assert plain["output"]["entities"] == [] and set(plain["output"]["tags"]) <= {"NOUN", "VERB", "ADJ", "PUNCT", "X"}
    with pytest.raises(ArtifactError, match="mix tags with a prefix"):
        bank.load("mixed", made.folder, labels=["O", "B-PER", "LOC", "X", "Y"])


def test_a_folder_of_a_writer_loads_alone_and_by_another_task(tmp_path: Path) -> None:
    base = foreign.BASES["qwen2"][0](tmp_path / "base")
    made = foreign.make(tmp_path / "x", base, "CAUSAL_LM", lora("qwen2"))
    bank = AdapterBank(str(base))
    assert bank.load("x", made.folder)["task"] == "text_generation"
    assert bank.load("y", made.folder, task="summarization")["task"] == "summarization"
    with pytest.raises(ArtifactError, match="text_generation has no labels"):
        bank.load("z", made.folder, labels=NAMES)
    with pytest.raises(ArtifactError, match="multi_label: the task text_generation has no such alternative"):
        bank.load("z", made.folder, multi_label=True)
    loaded = adapters.load(made.folder, base=str(base), device="cpu")
    text = foreign.TEXTS[2]
    (written,) = bank.generate([Request("x", text)])
    assert loaded(text)["completion"] == written["output"]["completion"].strip()


def test_what_an_artifact_says_itself_cannot_be_given(tmp_path: Path, tiny_bert: Path) -> None:
    import tiny

    from adapters.models.base_model import open_base

    folder = tiny.adapter(tmp_path / "x", "lora", open_base(str(tiny_bert)), tiny.classifying())
    for given in ({"pair": True}, {"multi_label": False}, {"max_length": 8}, {"labels": NAMES}):
        with pytest.raises(SettingsError, match=f"{next(iter(given))}: only for plain PEFT folders"):
            adapters.load(folder, base=str(tiny_bert), **given)  # type: ignore[arg-type]
