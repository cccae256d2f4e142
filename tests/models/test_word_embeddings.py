"""Word embeddings that are most of a base stay as they are in full fine-tuning, and nothing misses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from sequences import sequence_run, things_and_looks

from adapters.artifacts import loading
from adapters.experiments.continual import state
from adapters.experiments.continual.record import finish
from adapters.models.word_embeddings import left_out, set_training

WORDS = "embeddings.word_embeddings.weight"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def large(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with so many rows of embeddings that they are most of it, as multilingual ones have."""
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path_factory.mktemp("large")
    model = AutoModel.from_pretrained(tiny_bert)
    model.resize_token_embeddings(4000, mean_resizing=False)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def test_embeddings_that_are_most_of_a_base_stay_as_they_are_unless_told(large: Path, tiny_bert: Path) -> None:
    from transformers import AutoModel

    for folder, train, wanted in (
        (large, None, False),
        (large, True, True),
        (tiny_bert, None, True),
        (tiny_bert, False, False),
    ):
        model = AutoModel.from_pretrained(folder)
        set_training(model, train)
        assert model.get_input_embeddings().weight.requires_grad == wanted
        assert [name for name, p in model.named_parameters() if not p.requires_grad] == ([] if wanted else [WORDS])
        size = model.get_input_embeddings().weight.numel()
        said = f"its word embeddings ({size:,}) stay as they are, unless --train_embeddings is given"
        assert left_out(model) == ("" if wanted else said)


def test_embeddings_that_the_output_layer_shares_train(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.llama(tmp_path / "llama"))
    model.resize_token_embeddings(4000, mean_resizing=False)
    set_training(model, None)
    assert model.get_input_embeddings().weight.requires_grad


def test_a_run_says_and_records_it_and_goes_on_alike(
    large: Path, tagged: Path, run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model_name_or_path", str(large), "--dataset_name", str(tagged), "--max_train_steps", "4"]
    given += ["--checkpointing_steps", "2", "--save_total_limit", "9", "--learning_rate", "0.01"]
    whole, again, all_of_it = (tmp_path / name for name in ("whole", "again", "all"))
    assert run_recipe("full_ner", *given, "--output_dir", str(whole)) == 0
    said = "its word embeddings (128,000) stay as they are, unless --train_embeddings is given"
    assert f"parameters trained; {said}" in capsys.readouterr().err
    record = json.loads((whole / "scores.json").read_text())
    cost = record["cost"]
    assert record["left_out"] == said and cost["total_params"] - cost["trainable_params"] == 128_000
    assert f"of the base, {said}" in " ".join((whole / "report.txt").read_text().split())
    assert f"Of the base, {said}." in (whole / "artifact" / "README.md").read_text()
    base, trained = load_file(large / "model.safetensors"), load_file(whole / "artifact" / "model.safetensors")
    same = [name for name, value in base.items() if torch.equal(value, trained.get(f"bert.{name}", torch.empty(0)))]
    assert same == [WORDS]
    checkpoint = load_file(whole / "checkpoints" / "step-00000002" / "model.safetensors")
    assert f"bert.{WORDS}" not in checkpoint and "bert.embeddings.LayerNorm.weight" in checkpoint
    from_step = ["--resume_from_checkpoint", str(whole / "checkpoints" / "step-00000002")]
    assert run_recipe("full_ner", *given, *from_step, "--output_dir", str(again)) == 0
    for name in ("artifact/model.safetensors", "predictions.jsonl"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert loading.load(whole / "artifact").answer(["Ada lives in Oslo ."])
    assert run_recipe("full_ner", *given, "--train_embeddings", "--output_dir", str(all_of_it)) == 0
    trained = load_file(all_of_it / "artifact" / "model.safetensors")
    assert not torch.equal(trained[f"bert.{WORDS}"], base[WORDS])


@pytest.mark.parametrize("strategy", ["sequential", "ewc", "lwf", "replay"])
def test_a_sequence_of_tasks_is_learned_without_them(strategy: str, large: Path, tmp_path: Path) -> None:
    tasks = things_and_looks(tmp_path / "data")
    run = sequence_run(tmp_path / "run", tasks, large, strategy=strategy, method="full", max_train_steps=2)
    run.learn_all()
    record = finish(run)
    learned = state.read(tmp_path / "run")
    assert learned.costs["stored_bytes"]["base"] == 4 * 128_000
    assert not any(WORDS in name for name in learned.weights) and any("query" in name for name in learned.weights)
    assert all(cell is not None for cell in record["matrix"][-1])
