"""Several processes learn and answer what one does; fewer than were asked for are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest
import tiny
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

ENVIRONMENT = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def flags(base: Path, data: Path, folder: Path) -> list[str]:
    """A run in fp32 without dropout, with batches that two processes cannot share evenly."""
    given = {
        "--model_name_or_path": base,
        "--dataset_name": data,
        "--output_dir": folder,
        "--max_tokens_per_batch": 100,
        "--gradient_accumulation_steps": 2,
        "--num_train_epochs": 2,
        "--dropout": 0,
        "--mixed_precision": "no",
    }
    return [str(word) for pair in given.items() for word in pair]


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """A command in the clone, in the environment of someone who has started nothing yet."""
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    words = [sys.executable, "-m", *command]
    # Into files: a pipe would be held open by a process that outlives its launcher.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=out, stderr=err)
        try:
            process.wait(timeout=300)
        except subprocess.TimeoutExpired:
            for started in [*psutil.Process(process.pid).children(recursive=True), process]:
                started.kill()
            raise
        ended = subprocess.CompletedProcess(words, process.returncode, *(f.seek(0) or f.read() for f in (out, err)))
    print(ended.stdout, ended.stderr)
    return ended


def scores(folder: Path) -> Any:
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.parametrize(
    ("method", "rate", "by_the_launcher"), [("full", 0.01, False), ("lora", 0.02, True), ("prefix", 0.1, False)]
)
def test_two_processes_learn_and_answer_what_one_does(
    method, rate, by_the_launcher, run_recipe, tiny_bert, tagged, tmp_path
):
    rates = ["--learning_rate", str(rate)]
    assert run_recipe(f"{method}_ner", *flags(tiny_bert, tagged, tmp_path / "one"), *rates) == 0
    recipe = [f"recipes/{method}_ner.py", *flags(tiny_bert, tagged, tmp_path / "two"), *rates]
    if by_the_launcher:
        ended = start("adapters", "launch", "--num_processes", "2", *recipe)
        assert ended.returncode == 0
        printed = ended.stdout + ended.stderr
    else:
        printed = forked.launched(2, recipe, tmp_path / "logs")
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
    assert printed.count("test Entity F1:") == 1, "one process prints"
    assert printed.count("epoch 1: loss") == 1, "one process prints"
    assert (tmp_path / "two" / "report.txt").is_file()


def test_two_processes_ask_a_prompted_model_of_each_example_once(tmp_path, tagged):
    base = tiny.llama(tmp_path / "llama")
    for number, folder in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        given = ["--model_name_or_path", base, "--dataset_name", tagged, "--output_dir", folder, "--shots", 1]
        words = ["recipes/prompt_ner.py", *given, "--max_new_tokens", 8, "--mixed_precision", "no"]
        forked.launched(number, words, tmp_path / f"logs{number}")
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["cost"]["trainable_params"] == 0 and one["method_notes"] == {"prompt": "ner_few", "shots": 1}
    lines = [(tmp_path / name / "predictions.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 30 and all("written" in json.loads(line) for line in lines[0])


def test_the_user_error_of_two_processes_stands_once_and_leaves_nothing(tiny_bert, tagged, tmp_path):
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "run"), "--lora_target_modules", "qery"]
    printed = forked.launched(2, recipe, tmp_path / "logs", codes={2})  # by no launcher, which would end the second
    told = [line for line in printed.splitlines() if "matches no linear layer" in line]
    assert len(told) == 2 and told[0].startswith("--lora_target_modules") and told[1].startswith("process 1: --lora")
    assert not (tmp_path / "run").exists()


TOLD = """
import json, os, sys

json.dump(dict(os.environ), open(sys.argv[1], "w"))
"""


def test_accelerate_launch_that_starts_one_process_for_two_is_refused(tiny_bert, tagged, tmp_path):
    """On a CPU, without MPI, it starts one process however many it was asked for, and says nothing."""
    (tmp_path / "told.py").write_text(TOLD)
    words = ("--cpu", "--num_processes", "2", str(tmp_path / "told.py"), str(tmp_path / "environment.json"))
    assert start("accelerate.commands.launch", *words).returncode == 0
    environment = json.loads((tmp_path / "environment.json").read_text())
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "run")]
    alone = forked.Forked(recipe, tmp_path / "log", environment=environment)
    assert alone.wait() == 2, "train in fewer processes than asked for"
    assert "taskswap launch --num_processes" in alone.printed()
    assert not (tmp_path / "run").exists()


def test_launch_refuses_what_it_cannot_start(capsys):
    from adapters.cli.main import main

    assert main(["launch", "--num_processes", "2", "nope.py"]) == 2
    assert "launch needs a recipe's file, found 'nope.py'" in capsys.readouterr().err


def test_a_launcher_that_was_asked_for_more_processes_than_run_is_refused(run_recipe, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TASKSWAP_NUM_PROCESSES", "3")
    assert run_recipe("lora_ner") == 2
    told = capsys.readouterr().err
    assert "3 processes were requested, but 1 is running" in told
    assert "taskswap launch --num_processes 3" in told
    assert not (tmp_path / "run").exists()


WAITING = """
import os, sys, time
open(os.path.join(sys.argv[1], "rank" + os.environ["RANK"]), "w").write(str(os.getpid()))
time.sleep(300)
"""


@contextmanager
def waiting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A launcher whose two processes wait; they outlive it nowhere."""
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "seen").mkdir()
    command = ["-m", "adapters", "launch", "--num_processes", "2", str(tmp_path / "waiting.py"), str(tmp_path / "seen")]
    with (tmp_path / "log").open("w") as told:
        launcher = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, stderr=told)
    try:
        notes = [tmp_path / "seen" / f"rank{rank}" for rank in (0, 1)]
        while not all(note.is_file() and note.read_text() for note in notes):
            assert launcher.poll() is None, "the launcher ended before its processes began"
            time.sleep(0.1)
        started = [psutil.Process(int(note.read_text())) for note in notes]
        yield launcher, started
        launcher.wait(60)
        _, alive = psutil.wait_procs(started, timeout=30)
        for process in alive:
            process.kill()
        assert not alive, "processes outlive their launcher"
    finally:
        launcher.kill()
        launcher.wait()


def test_stopping_the_launcher_stops_the_processes_it_started(tmp_path):
    """A launcher that dies alone leaves orphans that hold cores and memory."""
    with waiting(tmp_path) as (launcher, started):
        started += [process for process in started[0].parents()[:1] if process.pid != launcher.pid]
        launcher.send_signal(signal.SIGTERM)


def test_a_process_that_dies_stops_the_others_and_its_end_is_told(tmp_path):
    with waiting(tmp_path) as (launcher, started):
        started[1].send_signal(signal.SIGKILL)
    assert launcher.returncode != 0
    assert "SIGKILL" in (tmp_path / "log").read_text()
