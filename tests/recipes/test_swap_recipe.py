"""The recipe that swaps tasks, run whole on tiny models: it trains what is missing, answers a batch, and goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_tagged

from adapters.artifacts import artifact
from adapters.serving.bank.bank import AdapterBank, Request

RunRecipe = Callable[..., int]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    tagged, reviews = tmp_path / "sentences", tmp_path / "reviews"
    for folder in (tagged, reviews):
        folder.mkdir()
    for name in ("train", "dev", "test"):
        write_tagged(tagged / f"{name}.conll", 40)
        lines = [f"{'Ada' if n % 2 else 'Rome'} film {n},{'fresh' if n % 2 else 'rotten'}" for n in range(40)]
        (reviews / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return ["--datasets", str(tagged), str(reviews), "--max_train_steps", "2"]


def test_two_adapters_are_trained_once_and_answer_together(
    data: list[str], run_recipe: RunRecipe, tmp_path: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("swap_tasks", *data) == 0
    first = capsys.readouterr()
    assert "ner: training lora for ner" in first.err
    assert "mood: training prefix for classification" in first.err
    assert first.out.count("[mood]") == first.out.count("[ner]") == 2
    assert "one batch" in first.out and "switching adapters: " in first.out
    before = {name: artifact.read_card(tmp_path / "run" / name / "artifact")["digest"] for name in ("ner", "mood")}
    (tmp_path / "run" / "mood" / "artifact" / "README.md").write_text("changed")
    assert run_recipe("swap_tasks", *data) == 0
    again = capsys.readouterr()
    assert "ner: " in again.err and "ner: training" not in again.err
    assert "mood: training" in again.err, "what is damaged is made again"
    after = {name: artifact.read_card(tmp_path / "run" / name / "artifact")["digest"] for name in ("ner", "mood")}
    assert after["ner"] == before["ner"]
    bank = AdapterBank(str(tiny_bert))
    for name in after:
        bank.load(name, tmp_path / "run" / name / "artifact")
    assert all("error" not in a for a in bank.predict([Request("ner", "Ada in Rome"), Request("mood", "Ada")]))


def test_a_dataset_is_needed_for_each_adapter(
    data: list[str], run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("swap_tasks", *data[:2]) == 2
    assert "--datasets: expected 2, one for each of ner, mood" in capsys.readouterr().err
    shutil.rmtree(data[2])
    assert run_recipe("swap_tasks", *data) == 2
    assert not (tmp_path / "run" / "mood" / "artifact").exists()
