"""Folders that stock PEFT has written, without a card: read as PEFT reads them, or refused; the unchecked is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from safetensors.torch import load_file, save_file

from adapters.cli.main import main
from adapters.core.errors import ArtifactError, ModelError
from adapters.serving.bank.bank import AdapterBank, Request

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:.*no card:UserWarning")]
TEXT = "Ada Lovelace lived in New York ."
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
Write = Callable[..., Path]


@pytest.fixture
def write(tiny_bert: Path, tmp_path: Path) -> Write:
    """`write(config, labels, headed)`: a folder that PEFT saves, its parameters random."""

    def make(config: Any, labels: int, headed: str, base: Path = tiny_bert) -> Path:
        import peft
        import torch
        import transformers

        torch.manual_seed(0)
        model: Any = getattr(transformers, headed).from_pretrained(base, num_labels=labels)
        wrapped = peft.get_peft_model(model, config)
        with torch.no_grad():
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
        folder = tmp_path / f"peft-{len(list(tmp_path.iterdir()))}"
        wrapped.save_pretrained(folder)
        return folder

    return make


def configs() -> dict[str, Any]:
    import peft

    return {
        "lora": peft.LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=9, target_modules=["query", "value"]),
        "rslora": peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=9, target_modules=["key"], use_rslora=True),
        "dora": peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "output.dense"], use_dora=True),
        "ia3": peft.IA3Config(
            task_type="SEQ_CLS", target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]
        ),
        "prefix": peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4),
        "projected": peft.PrefixTuningConfig(
            task_type="SEQ_CLS", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=8
        ),
        "prompt": peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=6),
    }


@pytest.mark.parametrize("kind", sorted(configs()))
def test_an_adapter_of_stock_peft_answers_as_in_stock_peft(kind: str, write: Write, tiny_bert: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    folder = write(configs()[kind], 3, "AutoModelForSequenceClassification")
    bank = AdapterBank(str(tiny_bert))
    with pytest.warns(UserWarning, match="no card") as warned:
        info = bank.load("x", folder)
    message = str(warned[0].message)
    for unchecked in ("was trained on", "it has been modified", "the meaning of its classes", "longer than"):
        assert unchecked in message
        assert any(unchecked in line for line in info["unchecked"])
    (answer,) = bank.predict([Request("x", TEXT)])
    stock = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3), folder
    ).eval()
    with torch.inference_mode():
        logits = stock(**bank.base.tokenizer([TEXT], return_tensors="pt")).logits[0]
    wanted = torch.softmax(logits, -1).numpy()
    found = [answer["output"]["scores"][f"LABEL_{i}"] for i in range(3)]
    assert np.abs(np.array(found) - wanted).max() < 6e-5, "four digits are shown"
    assert np.ptp(wanted) > 0.01


def test_tags_need_names_and_take_them(write: Write, tiny_bert: Path) -> None:
    import peft

    config = peft.LoraConfig(task_type="TOKEN_CLS", r=4, target_modules=["query"])
    folder = write(config, 5, "AutoModelForTokenClassification")
    bank = AdapterBank(str(tiny_bert))
    with pytest.raises(ArtifactError, match="does not name its labels"):
        bank.load("x", folder)
    with pytest.raises(ArtifactError, match=r"classifier\.weight: expected 4 x 32, found \(5, 32\)"):
        bank.load("x", folder, labels=LABELS[:4])
    with pytest.raises(ArtifactError, match="no card"):
        bank.load("x", folder, labels=LABELS, require_card=True)
    bank.load("x", folder, labels=LABELS)
    (answer,) = bank.predict([Request("x", TEXT)])
    assert len(answer["output"]["tags"]) == len(TEXT.split())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"peft_type": "LOHA"}, r"LOHA: known: .*use_effective_conv2d"),
        ({"peft_type": "NOVEL"}, "expected a peft_type of PEFT, found 'NOVEL'"),
        ({"task_type": "CAUSAL_LM"}, "text_generation works with causal"),
        ({"task_type": None}, "does not determine the task"),
        ({"lora_alpha": 1e6}, "lora_alpha"),
        ({"lora_alpha": "nine"}, "expected a number"),
        ({"r": -4}, "lora_r -4: must be at least 1"),
        ({"lora_alpha": -1}, "adapter_config.json: .*lora_alpha -1: must be above 0 and at most 3072"),
        ({"lora_alpha": 0}, "adapter_config.json: .*lora_alpha 0: must be above 0"),
        ({"r": 8}, "expected 8 x 32, found"),
        ({"target_modules": ["query"]}, "belong to no module named in its settings"),
        ({"target_modules": ["query", "value", "key"]}, r"key\.lora_A\.weight .* is missing"),
        ({"target_modules": ".*query"}, "belong to no module named in its settings"),
        ({"target_modules": ["querry", "value"]}, "belong to no module named in its settings"),
        ({"target_modules": ["querry"]}, "PEFT cannot apply it .* No modules were targeted"),
        ({"rank_pattern": {"query": 2}}, "expected 2 x 32, found"),
        ({"alpha_pattern": {"query": -2}}, "query: alpha and rank 3 scale its update by -0.66"),
        ({"bias": "all"}, r"LayerNorm.bias \(32\) is missing"),
        ({"some_future_option": 3}, "some_future_option"),
        ({"use_dora": True}, "lora_magnitude_vector"),
    ],
)
def test_what_would_change_the_answers_unnoticed_is_refused(
    change: dict[str, Any], match: str, write: Write, tiny_bert: Path
) -> None:
    folder = write(configs()["lora"], 3, "AutoModelForSequenceClassification")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    bank = AdapterBank(str(tiny_bert))
    with pytest.raises(ValueError, match=match) as raised:
        bank.load("x", folder)
    assert isinstance(raised.value, ArtifactError | ModelError), raised.value
    assert bank.adapters() == []


def test_a_base_without_a_pooler_takes_the_one_that_an_adapter_has_trained(tmp_path: Path, tiny_bert: Path) -> None:
    import torch

    from adapters.artifacts import loading
    from adapters.models.base_model import open_base

    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_bert.iterdir():
        if path.name == "model.safetensors":
            kept = {name: tensor for name, tensor in load_file(path).items() if "pooler" not in name}
            save_file(kept, bare / path.name, metadata={"format": "pt"})
        else:
            (bare / path.name).write_bytes(path.read_bytes())
    base = open_base(str(bare))
    folders = [tiny.adapter(tmp_path / f"a{i}", "lora", base, tiny.classifying(), seed=i) for i in range(2)]
    bank = AdapterBank(str(bare))
    for number, folder in enumerate(folders):
        bank.load(f"a{number}", folder)
    answers = bank.predict([Request("a0", TEXT), Request("a1", "Rome"), Request("a0", "Rome")])
    for name, text, answer in (("a0", TEXT, answers[0]), ("a1", "Rome", answers[1]), ("a0", "Rome", answers[2])):
        alone = loading.load(tmp_path / name, base=str(bare))
        assert alone.answer([text])[0]["output"]["scores"] == pytest.approx(answer["output"]["scores"], abs=2e-4)
    assert torch.is_tensor(bank.mixed.body.pooler.dense.weight)


def test_an_albert_has_a_pooler_that_is_a_layer_like_others(tmp_path: Path, tiny_bert: Path) -> None:
    from transformers import AlbertConfig, AlbertModel, AutoTokenizer

    from adapters.artifacts import loading
    from adapters.models.base_model import open_base

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    AlbertModel(
        AlbertConfig(
            vocab_size=len(tokenizer),
            embedding_size=16,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    ).save_pretrained(tmp_path / "albert")
    tokenizer.save_pretrained(tmp_path / "albert")
    base = open_base(str(tmp_path / "albert"))
    folder = tiny.adapter(tmp_path / "adapter", "lora", base, tiny.classifying())
    bank = AdapterBank(str(tmp_path / "albert"))
    bank.load("one", folder)
    (answer,) = bank.predict([Request("one", TEXT)])
    alone = loading.load(folder, base=str(tmp_path / "albert")).answer([TEXT])[0]
    assert alone["output"]["scores"] == pytest.approx(answer["output"]["scores"], abs=2e-4)


def test_the_commands_read_a_plain_folder(write: Write, tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(configs()["lora"], 3, "AutoModelForSequenceClassification")
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "LORA by PEFT for SEQ_CLS" in out
    assert "all tensors are there" in out
    assert out.count("not checked: ") == 4
    assert main(["predict", str(folder), "Rome", "--labels", "bad", "so", "good", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["output"]["label"] in ("bad", "so", "good")
    damaged = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**damaged, "r": 5}))
    assert main(["inspect", str(folder)]) == 2
    assert "expected 5 x 32, found (3, 32)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"init_lora_weights": "pissa"}, "PEFT also changes the base's weights"),
        ({"lora_alpha": float("nan")}, "expected a number"),
        ({"r": 10**400}, "expected a number"),
    ],
)
def test_what_the_review_found_is_refused(change: dict[str, Any], match: str, write: Write, tiny_bert: Path) -> None:
    folder = write(configs()["lora"], 3, "AutoModelForSequenceClassification")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match=match):
        AdapterBank(str(tiny_bert)).load("x", folder)


def test_a_tensor_under_two_names_is_refused(write: Write, tiny_bert: Path) -> None:
    folder = write(configs()["lora"], 3, "AutoModelForSequenceClassification")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["classifier.weight"] = tensors["base_model.model.classifier.weight"] * 2
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="under two names"):
        AdapterBank(str(tiny_bert)).load("x", folder, labels=["a", "b", "c"])


def test_a_head_of_two_layers_has_as_many_classes_as_its_last(write: Write, tmp_path: Path) -> None:
    import peft

    from adapters.artifacts.plain_peft import some_labels

    base = tiny.roberta(tmp_path / "roberta")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    folder = write(config, 3, "AutoModelForSequenceClassification", base)
    assert some_labels(folder) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert AdapterBank(str(base)).load("x", folder)["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
