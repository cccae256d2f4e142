"""Padding is read by no head, whatever a base's config and tokenizer say of it; and each token has an embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from adapters.artifacts import loading
from adapters.core.errors import ModelError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank, Request

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["Ada", "Ada Lovelace lived in New York with a friend .", "Alan Turing"]


def change(folder: Path, name: str, **values: Any) -> None:
    """Change entries of a base's JSON file."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return tiny.llama(tmp_path / "llama")


PADS = {
    "config 0, tokenizer's end of text": ({"pad_token_id": 0}, {}),
    "config -1": ({"pad_token_id": -1}, {}),
    "none": ({"pad_token_id": None}, {}),
    "a token of their own": ({"pad_token_id": 1}, {"pad_token": "<pad>"}),
    "each another": ({"pad_token_id": 3}, {"pad_token": "<pad>"}),
    "the first token of the vocabulary": ({"pad_token_id": 260}, {"pad_token": "<|endoftext|>"}),
}


@pytest.mark.parametrize("pads", sorted(PADS))
def test_a_causal_classifier_answers_a_text_alone_as_with_others_and_as_in_stock_peft(
    pads: str, llama: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    of_config, of_tokenizer = PADS[pads]
    change(llama, "config.json", **of_config)
    change(llama, "tokenizer_config.json", **of_tokenizer)
    folder = tiny.adapter(tmp_path / "adapter", "lora", open_base(str(llama)), tiny.classifying())
    loaded = loading.load(folder, base=str(llama))
    bank = AdapterBank(str(llama))
    bank.load("x", folder)
    stock = AutoModelForSequenceClassification.from_pretrained(llama, num_labels=2)
    stock.config.pad_token_id = None  # it then reads the last token of a text alone
    stock = PeftModel.from_pretrained(stock, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(llama)
    with torch.inference_mode():
        wanted = [torch.softmax(stock(**tokenizer(text, return_tensors="pt")).logits[0], -1).numpy() for text in TEXTS]
    together = [answer["output"] for answer in loaded.answer(TEXTS)]
    alone = [loaded.answer([text])[0]["output"] for text in TEXTS]
    mixed = [answer["output"] for answer in bank.predict([Request("x", text) for text in TEXTS])]
    for answers in (together, alone, mixed):
        found = np.array([[output["scores"][label] for label in ("bad", "good")] for output in answers])
        assert np.abs(found - np.array(wanted)).max() < 6e-5, pads
    assert np.ptp(np.array(wanted)[:, 0]) > 0.005, "the texts are told apart"


def test_a_base_whose_texts_all_end_with_its_only_special_token_pads_with_another(llama: Path) -> None:
    from tokenizers import processors
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    tokenizer.save_pretrained(llama)
    change(llama, "config.json", vocab_size=len(tokenizer) + 2)
    base = open_base(str(llama))
    assert base.word_tokenizer.after == (tokenizer.eos_token_id,)
    assert base.tokenizer.pad_token_id == tokenizer.eos_token_id
    assert base.pad_id >= len(tokenizer), "an embedding that no token has"
    change(llama, "config.json", vocab_size=len(tokenizer))
    with pytest.raises(ModelError, match="no token to pad with"):
        _ = open_base(str(llama)).pad_id


def test_roberta_counts_positions_from_the_padding_of_its_config(tmp_path: Path) -> None:
    folder = tiny.roberta(tmp_path / "roberta")
    assert open_base(str(folder)).pad_id == json.loads((folder / "config.json").read_text())["pad_token_id"]


def test_a_token_without_an_embedding_is_refused_and_named(llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(llama)
    with pytest.raises(ModelError, match=rf"'<tool>' \(id {rows}\), but the model has embeddings for {rows}") as raised:
        open_base(str(llama))
    assert "resize_token_embeddings" in str(raised.value)


def test_a_padding_token_without_an_embedding_is_not_used(llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(llama)
    assert AutoTokenizer.from_pretrained(llama).pad_token_id == rows
    assert open_base(str(llama)).pad_id < rows
