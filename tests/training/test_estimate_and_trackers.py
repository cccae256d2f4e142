"""Estimates before a run; trackers and the curve of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny

from adapters.core.errors import SettingsError
from adapters.experiments.learning_curve import picture, smooth
from adapters.training import trackers
from adapters.training.estimate import Estimate
from adapters.training.history import History

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_dry_run_says_what_the_run_would_take_and_writes_nothing(
    run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("lora_ner", "--dry_run", "--num_train_epochs", "3") == 0
    told = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    found = re.search(r"([\d,]+) of ([\d,]+) parameters are trained", told)
    assert found is not None
    steps = re.search(r"steps +([\d,]+), with 3 dev scores", told)
    assert steps is not None and "time     about" in told and "GiB at most" in told and "precision no" in told
    assert run_recipe("lora_ner", "--num_train_epochs", "3") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert run_recipe("lora_ner", "--dry_run") == 0, "a folder that holds a run is no matter"
    assert record["training"]["steps"] == int(steps[1].replace(",", ""))
    counts = [int(text.replace(",", "")) for text in found.groups()]
    assert counts == [record["cost"]["trainable_params"], record["cost"]["total_params"]]


@pytest.mark.parametrize(("most", "code"), [(8, 0), (0, 2)])
def test_a_dry_run_splits_a_batch_that_does_not_fit_or_says_that_no_row_does(
    most: int, code: int, run_recipe: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.tasks.ner import Task
    from adapters.training.trainer import Trainer

    loss = Task.loss

    def cramped(task: Any, logits: Any, targets: Any) -> Any:
        if len(targets) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(task, logits, targets)

    monkeypatch.setattr(Trainer, "check_memory", lambda trainer: None)  # a GPU's is not looked at before
    monkeypatch.setattr(Task, "loss", cramped)
    assert run_recipe("head_ner", "--dry_run", "--num_train_epochs", "1") == code
    told = capsys.readouterr()
    assert "out of memory with" in told.err
    assert "steps" in told.out if code == 0 else "does not fit the GPU's memory" in told.err


def test_a_dry_run_of_a_prompt_says_how_long_the_answers_take(
    run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.gpt2(tmp_path / "gpt2")
    given = ["--model_name_or_path", str(base), "--max_new_tokens", "4", "--shots", "0", "--dry_run"]
    assert run_recipe("prompt_ner", *given) == 0
    told = capsys.readouterr().out
    assert "of answering" in told and "steps" not in told and not (tmp_path / "run").exists()


def test_an_estimate_says_time_and_memory() -> None:
    one = Estimate(steps=10, scorings=2, training=100.0, dev=10.0, final=5.0, peak=2**30)
    assert one.seconds == 115 and "about 1.9 min" in one.lines()[1] and "1.00 GiB at most" in one.lines()[-1]


def test_tensorboard_has_every_loss_and_score(run_recipe: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run_recipe("lora_ner", "--with_tracking", "--report_to", "tensorboard") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    (events,) = (tmp_path / "run" / "logs" / "taskswap").glob("events.out.tfevents.*")
    read = EventAccumulator(str(events.parent))
    read.Reload()
    losses, scores = read.Scalars("train/loss"), read.Scalars("dev/score")
    assert [event.step for event in losses] == [*range(1, record["steps"] + 1)]
    assert losses[-1].value == pytest.approx(record["last_loss"], rel=1e-5)
    assert [(event.step, event.value) for event in scores] == [
        (epoch["step"], pytest.approx(epoch["score"])) for epoch in record["dev_scores"]
    ]
    assert read.Scalars("train/learning_rate")[-1].value == pytest.approx(0, abs=1e-9)


def test_a_tracker_that_is_not_there_is_named(run_recipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_recipe("lora_ner", "--with_tracking", "--report_to", "tensorbord") == 2
    assert "--report_to tensorbord: did you mean 'tensorboard'" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"is not installed\. Run: pip install"):
        trackers.requested(True, ["clearml"])
    assert trackers.requested(False, ["nothing"]) == []


def test_wandb_and_trackio_go_on_in_the_run_that_they_have_begun(tmp_path: Path) -> None:
    begun: list[dict[str, Any]] = []

    def init_trackers(project: str, *, config: Any, init_kwargs: dict[str, Any]) -> None:
        begun.append(init_kwargs)

    fake: Any = SimpleNamespace(
        log_with=["wandb"], project_dir=tmp_path / "logs", is_main_process=True, init_trackers=init_trackers
    )
    for done in (0, 7, 0):
        trackers.begin(fake, {"seed": 0, "metrics": []}, done=done)
    names = [given["wandb"]["id"] for given in begun]
    assert names[0] == names[1] != names[2] and all(given["wandb"]["resume"] == "allow" for given in begun)
    assert [given["trackio"]["name"] for given in begun] == names
    assert [given["tensorboard"] for given in begun] == [{"purge_step": 1}, {"purge_step": 8}, {"purge_step": 1}]


@pytest.mark.whole_end
def test_the_curve_is_drawn_into_the_run(run_recipe: Any, tmp_path: Path) -> None:
    assert run_recipe("lora_ner") == 0
    text = (tmp_path / "run" / "curve.svg").read_text()
    assert "<svg" in text and ">Loss<" in text and ">Step<" in text and "Dev Entity F1" in text


def test_the_smooth_line_is_the_mean_of_equal_losses_and_follows_a_change() -> None:
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smooth([1.0, 3.0]) == pytest.approx([1.0, (0.95 * 1 + 3) / 1.95])
    history = History(losses=[1.0], scores=[{"step": 1, "score": 0.5}], best_score=0.5, best_step=1)
    assert picture(history, "$f_1$") == picture(history, "$f_1$")


@pytest.mark.parametrize(
    "history",
    [
        History(),
        History(losses=[0.0]),
        History(losses=[2.0, float("nan"), 1e30]),
        History(losses=[1.0], scores=[{"step": 1, "score": float("nan")}]),
        History(losses=[3.0] * 300, scores=[{"step": 300, "score": 0.0}], best_score=0.0, best_step=300),
    ],
)
def test_a_curve_is_drawn_of_any_history(history: History) -> None:
    assert ">Step<" in picture(history, "Answer F1")
