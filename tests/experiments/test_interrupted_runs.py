"""What was trained is on disk before it is scored: a run may end in any phase, and goes on by the same command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import forget_accelerate
from interrupted import EVERY, FULL, SIGNALS, interrupted, outcome

from adapters.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
SAMPLED = [
    ("read", "SIGTERM"),
    ("seventh step", "SIGKILL"),
    ("dev score", "SIGINT"),
    ("write a checkpoint", FULL),
    ("write what was trained", FULL),
    ("test score", "SIGINT"),
    ("write the artifact", FULL),
    ("write scores", "SIGTERM"),
    ("remove checkpoints", "SIGKILL"),
]
"""tests/benchmarks/resume.py --only phases tries all of them."""


def command(base: Path, data: Path, out: Path, *more: str) -> list[str]:
    given = {
        "--task": "ner",
        "--method": "lora",
        "--model_name_or_path": base,
        "--dataset_name": data,
        "--output_dir": out,
        "--mixed_precision": "no",
        "--learning_rate": 0.02,
        "--dropout": 0.1,
        "--num_train_epochs": 3,
        "--max_tokens_per_batch": 300,
        "--checkpointing_steps": 4,
    }
    return ["train", *(str(word) for pair in given.items() for word in pair), *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Any:
    """Data, and what a run that nothing interrupts ends with."""
    from conftest import write_tagged

    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "data").mkdir()
    for name, size in (("train", 60), ("dev", 20), ("test", 20)):
        write_tagged(folder / "data" / f"{name}.conll", size)
    forget_accelerate()
    assert main(command(tiny_bert, folder / "data", folder / "whole")) == 0
    return folder / "data", outcome(folder / "whole")


@pytest.mark.parametrize(("phase", "fault"), SAMPLED)
def test_a_run_that_ends_in_a_phase_goes_on_by_the_same_command(
    phase: str, fault: str, place: Any, tiny_bert: Path, tmp_path: Path
) -> None:
    data, whole = place
    assert (phase, fault) in EVERY
    words, log = command(tiny_bert, data, tmp_path / "run"), tmp_path / "log"
    code = interrupted(words, phase, fault, log)
    said = log.read_text()
    assert code == SIGNALS[fault] if fault in SIGNALS else code != 0 or phase == "write what was trained", said
    trained = phase not in ("read", "seventh step", "dev score", "write a checkpoint")
    if trained and fault in ("SIGINT", "SIGTERM"):
        assert "To score it: the same command with --resume_from_checkpoint latest" in " ".join(said.split())
    forget_accelerate()
    assert main([*words, "--resume_from_checkpoint", "latest"]) == 0
    assert outcome(tmp_path / "run") == whole


def test_what_was_trained_is_not_trained_again(
    place: Any, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.training.trainer import Trainer

    data, whole = place
    words = command(tiny_bert, data, tmp_path / "run")
    assert interrupted(words, "test score", "SIGKILL", tmp_path / "log") == SIGNALS["SIGKILL"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"settings.json", "checkpoints"}
    monkeypatch.setattr(Trainer, "train_step", None)
    forget_accelerate()
    assert main([*words, "--resume_from_checkpoint", "latest"]) == 0
    assert outcome(tmp_path / "run") == whole
    kept = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert kept and all(name.startswith("step-") for name in kept), "those that --checkpointing_steps asked for"


def test_a_tracked_run_goes_on_in_its_logs(place: Any, tiny_bert: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data, whole = place
    words = command(tiny_bert, data, tmp_path / "run", "--with_tracking", "--report_to", "tensorboard")
    interrupted(words, "seventh step", "SIGKILL", tmp_path / "log")
    logs = sorted((tmp_path / "run" / "logs").rglob("events*"))
    assert logs
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold whole seconds
    forget_accelerate()
    assert main([*words, "--resume_from_checkpoint", "latest"]) == 0
    assert set(logs) < set((tmp_path / "run" / "logs").rglob("events*")), "nothing was removed"
    read = EventAccumulator(str(tmp_path / "run" / "logs" / "taskswap"))
    read.Reload()
    steps = [event.step for event in read.Scalars("train/loss")]
    assert steps == [*range(1, whole[0]["training"]["steps"] + 1)], "each step once, in one run"
