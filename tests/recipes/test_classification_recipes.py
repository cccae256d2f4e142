"""The recipes for text classification, run whole on tiny models: what they leave, and that it can be used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import FILLERS, FIRST, PLACES, REPOSITORY, build_tiny_bert, call_recipe
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from adapters.artifacts import loading

RunRecipe = Callable[..., int]
RATES = {"full": "0.003", "lora": "0.015", "prefix": "0.1"}


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def write_texts(path: Path, number: int) -> Path:
    """A CSV of made-up texts about a person or about a place; in a fifth of them the label is another's."""
    draw = random.Random(path.name)
    lines = ["text,label"]
    for _ in range(number):
        label, words = draw.choice([("person", FIRST), ("place", PLACES)])
        text = " ".join([draw.choice(words), *draw.choices(FILLERS[:-1], k=draw.randint(1, 6))])
        said = label if draw.random() < 0.8 else draw.choice(["person", "place", "other"])
        lines.append(f'"{text}, ""so"" they say",{said}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for name, size in (("train", 120), ("dev", 30), ("test", 40)):
        write_texts(folder / f"{name}.csv", size)
    return folder


@pytest.mark.parametrize("method", sorted(RATES))
def test_a_training_recipe_leaves_a_run_whose_artifact_answers(
    method: str, texts: Path, run_recipe: RunRecipe, tiny_bert: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags = ["--dataset_name", str(texts), "--learning_rate", RATES[method], "--num_train_epochs", "8",
             "--per_device_train_batch_size", "8"]  # fmt: skip
    assert run_recipe(f"{method}_classification", *flags) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    folder = tmp_path / "run"
    record = json.loads((folder / "scores.json").read_text())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    gold, found = [line["gold"] for line in lines], [line["prediction"] for line in lines]
    quality = record["quality"]["accuracy"]
    assert quality["accuracy"]["value"] == pytest.approx(accuracy_score(gold, found))
    assert quality["macro_f1"]["value"] == pytest.approx(f1_score(gold, found, average="macro"))
    assert quality["matthews"]["value"] == pytest.approx(matthews_corrcoef(gold, found))
    assert quality["accuracy"]["low"] < quality["accuracy"]["value"] < quality["accuracy"]["high"]
    assert 0 <= record["quality"]["expected_calibration_error"]["ece"]["value"] < 1
    assert quality["accuracy"]["value"] > (0.6 if method == "full" else 0.4)  # a third by chance
    card = json.loads((folder / "artifact" / "card.json").read_text())
    assert card["task"]["labels"] == ["other", "person", "place"]
    loaded = loading.load(folder / "artifact", base=None if method == "full" else str(tiny_bert))
    answers = loaded.answer([line["inputs"] for line in lines])
    assert [answer["output"]["label"] for answer in answers] == found
    assert "error" in loaded.answer([""])[0]


@pytest.mark.parametrize("writer", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("asked", ["zero_shot", "few_shot"])
def test_a_prompted_run_chooses_among_the_labels(
    writer: str, asked: str, texts: Path, run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.BUILDERS[writer](tmp_path / writer)
    prompt = ["--prompt", f"classification_{asked.removesuffix('_shot')}", "--method", asked]
    flags = ["--model_name_or_path", str(base), "--dataset_name", str(texts), *prompt]
    assert run_recipe("prompt_classification", *flags) == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (record["parse_failures"], record["cost"]["trainable_params"]) == (0, 0)
    assert "no training; peak memory" in capsys.readouterr().out
    loaded = loading.load(tmp_path / "run" / "artifact", base=str(base))
    (answer,) = loaded.answer(["Ada lived in London"])
    assert answer["output"]["label"] in ("other", "person", "place")
    assert sum(answer["output"]["scores"].values()) == pytest.approx(1, abs=1e-3)


def masked_bert(folder: Path) -> Path:
    """The tiny BERT with its masked-language-model head."""
    from transformers import AutoModelForMaskedLM

    build_tiny_bert(folder)
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    return folder


def test_an_encoder_is_asked_by_its_mask(texts: Path, run_recipe: RunRecipe, tmp_path: Path) -> None:
    base = masked_bert(tmp_path / "bert")
    flags = ["--model_name_or_path", str(base), "--dataset_name", str(texts), "--prompt", "classification_cloze"]
    assert run_recipe("prompt_classification", *flags, "--shots", "2") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert record["method_notes"] == {"prompt": "classification_cloze", "shots": 2}
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert {line["prediction"] for line in lines} <= {"other", "person", "place"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt", "classification_few"], "is an encoder, which fills masks but cannot generate"),
        (["--prompt", "classification_cloze"], "its weights have no language-model head"),
        (["--prompt", "ner_few"], "is a prompt for ner, not for classification"),
        (["--multi_label"], "The task classification cannot be prompted; train a method for it"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    flags: list[str], message: str, texts: Path, run_recipe: RunRecipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("prompt_classification", "--dataset_name", str(texts), *flags) == 2
    assert message in capsys.readouterr().err


def test_only_an_encoder_fills_a_mask(
    texts: Path, run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.gpt2(tmp_path / "gpt2")
    flags = ["--model_name_or_path", str(base), "--dataset_name", str(texts), "--prompt", "classification_cloze"]
    assert run_recipe("prompt_classification", *flags) == 2
    assert "has a {{mask}}, which only an encoder can fill" in capsys.readouterr().err


def test_several_labels_pairs_weights_and_windows_train(run_recipe: RunRecipe, tmp_path: Path) -> None:
    draw = random.Random(0)
    folder = tmp_path / "several"
    folder.mkdir()
    for name in ("train", "test"):
        rows = []
        for _ in range(60):
            names = sorted({draw.choice(FIRST) for _ in range(draw.randint(0, 2))})
            rows.append({"sentence1": " ".join([*names, "lived"] * 30), "sentence2": "in London",
                         "labels": names[:1] * 2 if names else []})  # fmt: skip
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--dataset_name", str(folder), "--multi_label", "--max_length", "20", "--class_weights", "balanced"]
    flags += ["--learning_rate", "0.005", "--num_train_epochs", "12", "--per_device_train_batch_size", "8"]
    assert run_recipe("full_classification", *flags, "--validation_file", str(folder / "test.jsonl")) == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert record["main"]["metric"] == "multilabel_f1" and record["truncated"] == 60
    assert record["main"]["value"] > 0.2
    loaded = loading.load(tmp_path / "run" / "artifact")
    (answer,) = loaded.answer([{"text": "Ada lived", "text_pair": "in London"}])
    assert isinstance(answer["output"]["labels"], list)


def test_a_comparison_over_training_sizes_ends_with_a_table_and_a_curve(
    texts: Path, tmp_path: Path, runs_in_process: None
) -> None:
    build_tiny_bert(tmp_path / "bert")
    tiny.llama(tmp_path / "llama")
    given: dict[str, Any] = {
        "--model_name_or_path": tmp_path / "bert", "--prompt_model_name_or_path": tmp_path / "llama",
        "--dataset_name": texts, "--output_dir": tmp_path / "out", "--methods": "bitfit,few_shot",
        "--train_sizes": "40,all", "--seeds": 1, "--num_train_epochs": 1, "--mixed_precision": "no",
        "--shots": 1, "--prompt": "classification_few", "--tuning_trials": 0,
    }  # fmt: skip
    words = [*(str(word) for pair in given.items() for word in pair), "--also_on_prompt_base"]
    assert call_recipe(REPOSITORY / "recipes" / "compare_classification.py", words) == 0
    summary = json.loads((tmp_path / "out" / "comparison.json").read_text())
    rows = [(row["method"], row["size"], row["train_examples"]) for row in summary["rows"]]
    assert rows == [("bitfit", "40", 40), ("bitfit", "all", 120), ("few_shot", "", 120)]
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "How many labelled examples?" in page and any("few_shot" in line for line in summary["verdict"])
    assert summary["score"] == "accuracy" and set(summary["rows"][0]["by_label"]) == {"other", "person", "place"}
