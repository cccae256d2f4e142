"""The recipes for answers, summaries and translations, run whole at two steps' size on tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import tiny
from conftest import REPOSITORY, build_tiny_bert, call_recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

METRICS = {
    "question_answering": "answer_f1",
    "summarization": "rouge",
    "translation": "chrf",
    "relation_extraction": "relation_f1",
}
MARKED = ("question_answering", "relation_extraction")
"""Tasks that an encoder does."""
NAMES, PLACES = ("Ada", "Alan", "Grace", "Kurt"), ("London", "Paris", "Oslo")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny bases, and a training file of each task."""
    folder = tmp_path_factory.mktemp("texts")
    build_tiny_bert(folder / "bert")
    tiny.gpt2(folder / "gpt2", positions=256)
    pairs = [(name, town) for name in NAMES for town in PLACES] * 3
    texts = [f"{name} lived in {town} ." for name, town in pairs]
    paragraphs = [
        {
            "context": text,
            "qas": [{"id": f"q{n}", "question": f"Where {n} ?", "answers": [{"text": town, "answer_start": at}]}],
        }
        for n, ((_, town), text) in enumerate(zip(pairs, texts, strict=True))
        for at in [text.index(town)]
    ]
    (folder / "train.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    rows = [{"source": [text, f"So {n}."], "target": [text]} for n, text in enumerate(texts)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "train.en").write_text("".join(f"{text} {n}\n" for n, text in enumerate(texts)))
    relations = [
        {"text": f"{text} {n}", "head": name, "tail": town, "relation": "lived_in" if n % 2 else "Other"}
        for n, ((name, town), text) in enumerate(zip(pairs, texts, strict=True))
    ]
    (folder / "train.relations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in relations))
    (folder / "train.de").write_text("".join(f"{text} so {n}\n" for n, text in enumerate(texts)))
    return folder


def flags(place: Path, task: str, out: Path) -> list[str]:
    data: Mapping[str, list[str]] = {
        "question_answering": ["--train_file", "train.json"],
        "summarization": ["--train_file", "train.jsonl"],
        "relation_extraction": ["--train_file", "train.relations.jsonl"],
        "translation": ["--train_file", "train.en", "--source_lang", "en", "--target_lang", "de"],
    }
    words = [str(place / word) if word.startswith("train.") else word for word in data[task]]
    written = [] if task == "relation_extraction" else ["--max_new_tokens", "4"]
    return [*words, "--output_dir", str(out), "--mixed_precision", "no", *written]


def recipe_of(kind: str, task: str) -> Path:
    return REPOSITORY / "recipes" / f"{kind}_{task.removesuffix('_extraction')}.py"


@pytest.mark.parametrize("task", METRICS)
@pytest.mark.parametrize("kind", ["full", "lora", "prompt"])
def test_a_recipe_leaves_a_run_of_its_task_from_one_file(kind: str, task: str, place: Path, tmp_path: Path) -> None:
    marks = kind != "prompt" and task in MARKED
    own = ["--model_name_or_path", str(place / ("bert" if marks else "gpt2"))]
    own += ["--shots", "1"] if kind == "prompt" else ["--max_train_steps", "2"]
    recipe = recipe_of(kind, task)
    assert call_recipe(recipe, [*flags(place, task, tmp_path / "run"), *own]) == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (record["task"], record["main"]["metric"]) == (task, METRICS[task])
    assert record["dataset"]["split"] == "dev" and (tmp_path / "run" / "artifact").is_dir()


@pytest.mark.parametrize("task", METRICS)
def test_a_comparison_recipe_ends_with_a_row_for_each_method(
    task: str, place: Path, tmp_path: Path, runs_in_process: None
) -> None:
    marks = task in MARKED
    own = ["--model_name_or_path", str(place / ("bert" if marks else "gpt2")), "--seeds", "1", "--shots", "1"]
    own += ["--prompt_model_name_or_path", str(place / "gpt2"), "--max_train_steps", "2", "--max_predict_samples", "4"]
    own += ["--num_virtual_tokens", "4", "--tuning_trials", "0"]
    recipe = recipe_of("compare", task)
    assert call_recipe(recipe, [*flags(place, task, tmp_path / "c"), *own]) == 0
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())
    trained = ["full", "head", "lora", "prefix"] if marks else ["full", "lora"]
    rivals = ["majority", "tfidf"] if task == "relation_extraction" else []
    assert [row["method"] for row in kept["rows"]] == [*rivals, *trained, "zero_shot", "few_shot"]
    assert kept["metric"] == METRICS[task] and not kept["failures"]


@pytest.mark.parametrize("recipe", [recipe_of(kind, task) for task in METRICS for kind in ("full", "compare")])
def test_without_data_a_recipe_says_what_it_needs(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_recipe(recipe, ["--output_dir", str(tmp_path / "run")]) == 2
    assert "--train_file" in capsys.readouterr().err and not (tmp_path / "run").exists()
