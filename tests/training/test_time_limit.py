"""How long a training may take, and how many steps it takes at least."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.training import trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_training_stops_when_its_seconds_are_over_and_keeps_the_best_weights(
    run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first step takes longer than a microsecond."""
    assert run_recipe("head_ner", "--max_train_seconds", "0.000001") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    assert record["steps"] == 1 and record["out_of_time"] and not record["stopped_early"]
    (scored,) = record["dev_scores"]
    assert (scored["step"], record["best_step"]) == (1, 1) and 0 < scored["seconds"] <= record["seconds"] + 0.01
    assert "stopped at step 1 of " in capsys.readouterr().err


def test_a_resumed_training_has_used_the_seconds_before_and_ends_as_if_it_had_not_been_stopped(
    run_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves by a second with each look at it, every step takes one."""
    clock = SimpleNamespace(perf_counter=itertools.count().__next__, time=time.time)
    monkeypatch.setattr(trainer, "time", clock)
    flags = ["--max_train_seconds", "5", "--max_tokens_per_batch", "100", "--checkpointing_steps", "3"]
    flags += ["--save_total_limit", "9"]
    ends = []
    for more in ([], ["--resume_from_checkpoint", str(tmp_path / "whole" / "checkpoints" / "step-00000003")]):
        folder = tmp_path / ("again" if more else "whole")
        assert run_recipe("head_ner", *flags, "--output_dir", str(folder), *more) == 0
        record = json.loads((folder / "scores.json").read_text())["training"]
        assert (record["steps"], record["seconds"], record["out_of_time"]) == (5, 5, True)
        ends.append([record["dev_scores"], (folder / "predictions.jsonl").read_bytes()])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("seconds", ["0", "nan", "-1"])
def test_a_limit_that_allows_nothing_is_refused(
    run_recipe: Any, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("head_ner", "--max_train_seconds", seconds) == 2
    assert "--max_train_seconds" in capsys.readouterr().err


def test_few_examples_are_trained_on_for_as_many_steps_as_asked(run_recipe: Any, tmp_path: Path) -> None:
    assert run_recipe("head_ner", "--min_train_steps", "30", "--early_stopping_patience", "99") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    assert record["steps"] == 30 and not record["out_of_time"]
