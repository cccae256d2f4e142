"""Several processes learn and answer what one does; fewer than were asked for are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

ENVIRONMENT = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def flags(base: Path, data: Path, folder: Path) -> list[str]:
    """A run in fp32 without dropout, with batches that two processes cannot share evenly."""
    given = {
        "--model_name_or_path": base,
        "--dataset_name": data,
        "--output_dir": folder,
        "--train_batch_pieces": 100,
        "--gradient_accumulation_steps": 2,
        "--num_train_epochs": 2,
        "--learning_rate": 0.003,
        "--dropout": 0,
        "--mixed_precision": "no",
    }
    return [str(word) for pair in given.items() for word in pair]


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """A command in the clone, in the environment of someone who has started nothing yet."""
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    print(ended.stdout, ended.stderr)
    return ended


def scores(folder: Path) -> Any:
    return json.loads((folder / "scores.json").read_text())


def test_two_processes_learn_and_answer_what_one_does(run_recipe, tiny_bert, tagged, tmp_path):
    assert run_recipe("lora_ner", *flags(tiny_bert, tagged, tmp_path / "one")) == 0
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "two")]
    ended = start("adapters", "launch", "--num_processes", "2", *recipe)
    assert ended.returncode == 0
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["training"]["steps"] == two["training"]["steps"] > 10
    for alone, shared in zip(one["training"]["dev_scores"], two["training"]["dev_scores"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert shared["score"] == pytest.approx(alone["score"], abs=1e-9)
    assert len(one["training"]["dev_scores"]) == 2
    lines = [(tmp_path / name / "predictions.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 30
    assert one["quality"] == two["quality"]
    assert one["quality"]["entity_f1"]["f1"]["value"] > 0.1
    assert ended.stdout.count("test entity_f1 f1:") == 1, "one process prints"


def test_the_user_error_of_two_processes_stands_once_and_leaves_nothing(tiny_bert, tagged, tmp_path):
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "run"), "--lora_target_modules", "qery"]
    ended = start("adapters", "launch", "--num_processes", "2", *recipe)
    assert ended.returncode != 0
    assert ended.stderr.count("matches no linear layer") == 1
    assert not (tmp_path / "run").exists()


def test_accelerate_launch_that_starts_one_process_for_two_is_refused(tiny_bert, tagged, tmp_path):
    """On a CPU, without MPI, it starts one process however many it was asked for, and says nothing."""
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "run")]
    ended = start("accelerate.commands.launch", "--cpu", "--num_processes", "2", *recipe)
    assert ended.returncode != 0
    assert "python -m adapters launch --num_processes" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("--num_processes", "0", "recipes/lora_ner.py"), ("--num_processes", "2", "nope.py")])
def test_launch_refuses_what_it_cannot_start(words, capsys, monkeypatch):
    from adapters.__main__ import main

    monkeypatch.chdir(REPOSITORY)
    assert main(["launch", *words]) == 2
    assert any(told in capsys.readouterr().err for told in ("must be at least 1", "needs a recipe's file"))


def test_a_launcher_that_was_asked_for_more_processes_than_run_is_refused(run_recipe, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TASKSWAP_NUM_PROCESSES", "3")
    assert run_recipe("lora_ner") == 2
    told = capsys.readouterr().err
    assert "3 processes were asked for, 1 runs" in told
    assert "python -m adapters launch --num_processes 3" in told
    assert not (tmp_path / "run").exists()
