"""A resumed run ends as one that was never stopped, to the last bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from interrupted import interrupted

from adapters.training import trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
STEPS = 9
METHODS = {"full_ner": "0.01", "lora_ner": "0.02", "prefix_ner": "0.1"}
FLAGS = [
    "--max_tokens_per_batch",
    "300",
    "--gradient_accumulation_steps",
    "2",
    "--max_train_steps",
    str(STEPS),
    "--num_train_epochs",
    "9",
]


def outcome(folder: Path) -> dict[str, Any]:
    """What a run must end with whether it was stopped or not."""
    weights = {path.name: path.read_bytes() for path in sorted((folder / "artifact").glob("*.safetensors"))}
    record = json.loads((folder / "scores.json").read_text())
    kept = {name: record["training"][name] for name in ("dev_scores", "last_loss", "steps", "best_step")}
    kept["dev_scores"] = [{k: v for k, v in score.items() if k != "seconds"} for score in kept["dev_scores"]]
    return {"weights": weights, **kept, "predictions": (folder / "predictions.jsonl").read_text()}


@pytest.mark.parametrize("recipe", METHODS)
def test_a_run_goes_on_from_any_step_as_if_it_had_not_been_stopped(
    recipe: str, run_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*FLAGS, "--learning_rate", METHODS[recipe], "--dropout", "0.2"]
    order: list[list[int]] = []
    step = trainer.Trainer.train_step

    def noted(trainer: Any, batches: Any) -> float:
        order.append([row for batch in batches for row in batch])
        return step(trainer, batches)

    monkeypatch.setattr(trainer.Trainer, "train_step", noted)
    whole = tmp_path / "whole"
    assert (
        run_recipe(recipe, *flags, "--output_dir", str(whole), "--checkpointing_steps", "1", "--save_total_limit", "99")
        == 0
    )
    wanted, all_rows = outcome(whole), list(order)
    assert len(all_rows) == STEPS and wanted["steps"] == STEPS
    paths = sorted((whole / "checkpoints").iterdir())
    assert len(paths) == STEPS
    for path in paths[:: 2 if recipe == "lora_ner" else 4]:  # tests/benchmarks/resume.py tries every one
        order.clear()
        own = tmp_path / f"from-{path.name}"
        assert run_recipe(recipe, *flags, "--output_dir", str(own), "--resume_from_checkpoint", str(path)) == 0
        assert outcome(own) == wanted, path.name
        assert order == all_rows[int(path.name.rpartition("-")[2]) :]


def test_two_processes_go_on_as_if_they_had_not_been_stopped(tiny_bert: Path, tagged: Path, tmp_path: Path) -> None:
    given = ["--model_name_or_path", tiny_bert, "--dataset_name", tagged, "--mixed_precision", "no", "--dropout", 0.2]

    def launched(out: str, *more: object) -> None:
        words = ["recipes/lora_ner.py", *given, "--output_dir", tmp_path / out, *FLAGS, *more]
        forked.launched(2, words, tmp_path / f"logs of {out}")

    launched("whole", "--checkpointing_steps", 4, "--save_total_limit", 9)
    launched("again", "--resume_from_checkpoint", tmp_path / "whole" / "checkpoints" / "step-00000004")
    assert outcome(tmp_path / "again") == outcome(tmp_path / "whole")


def test_a_signal_ends_behind_a_step_with_a_checkpoint_to_go_on_from(
    tiny_bert: Path, tagged: Path, tmp_path: Path, run_recipe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "--model_name_or_path": tiny_bert,
        "--dataset_name": tagged,
        "--mixed_precision": "no",
        "--dropout": 0.2,
    }
    flags = [*FLAGS, *(str(word) for pair in given.items() for word in pair)]
    assert run_recipe("lora_ner", *flags, "--output_dir", str(tmp_path / "whole")) == 0
    for sent, step, done, code in (("SIGTERM", "seventh step", 7, 143), ("SIGINT", "first step", 1, 130)):
        folder, log = tmp_path / sent, tmp_path / f"{sent}.log"
        words = ["recipes/lora_ner.py", *flags, "--output_dir", str(folder)]
        assert interrupted(words, step, sent, log) == code and "Traceback" not in (told := log.read_text()), told
        assert "--resume_from_checkpoint latest" in told
        assert {path.name for path in folder.iterdir()} == {"settings.json", "checkpoints"}, "no half artifact"
        (path,) = (folder / "checkpoints").iterdir()
        assert int(path.name.rpartition("-")[2]) == done, "the step came to its end"
        shutil.copytree(folder, replaced := tmp_path / f"replaced {sent}")

        capsys.readouterr()
        assert run_recipe("lora_ner", *flags, "--output_dir", str(folder)) == 2
        assert "holds a run that was stopped. Add --resume_from_checkpoint latest" in capsys.readouterr().err
        assert run_recipe("lora_ner", *flags, "--output_dir", str(folder), "--resume_from_checkpoint", "latest") == 0
        assert not (folder / "checkpoints").exists(), "a run that has ended needs it no more"
        assert outcome(folder) == outcome(tmp_path / "whole")
        anew = ("--output_dir", str(replaced), "--max_train_steps", "1", "--overwrite_output_dir")
        assert run_recipe("lora_ner", *anew) == 0
        assert not (replaced / "checkpoints").exists()


def test_a_run_with_other_settings_is_told_what_differs(run_recipe: Any, tmp_path: Path, capsys: Any) -> None:
    assert run_recipe("lora_ner", *FLAGS, "--checkpointing_steps", "4") == 0
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "run" / "checkpoints", kept)
    (path,) = kept.iterdir()
    for flags, told in (
        (["--learning_rate", "0.5"], "settings.learning_rate: "),
        (["--lora_r", "4"], "settings.lora_r: "),
        (["--max_train_samples", "50"], "data.train: "),
    ):
        given = [*FLAGS, *flags, "--output_dir", str(tmp_path / "other"), "--resume_from_checkpoint", str(path)]
        assert run_recipe("lora_ner", *given) == 2
        assert told in capsys.readouterr().err
    new = ("--output_dir", str(tmp_path / "new"), "--resume_from_checkpoint", "latest")
    assert run_recipe("lora_ner", *FLAGS, *new) == 0
    assert "has no checkpoint: the run begins from the beginning" in capsys.readouterr().err
    damaged = tmp_path / "damaged"
    shutil.copytree(kept, damaged / "checkpoints")
    next((damaged / "checkpoints").iterdir()).joinpath("state.json").write_text("")
    assert run_recipe("lora_ner", *FLAGS, "--output_dir", str(damaged), "--resume_from_checkpoint", "latest") == 2
    assert "has no complete checkpoint" in capsys.readouterr().err
    both = ("--resume_from_checkpoint", "latest", "--overwrite_output_dir")
    assert run_recipe("lora_ner", *FLAGS, "--output_dir", str(damaged), *both) == 0
    assert "As --overwrite_output_dir is given, the run starts from scratch" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_before_the_update_and_names_the_examples(
    run_recipe: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.tasks.ner import Task

    loss, calls = Task.loss, [0]

    def poisoned(task: Any, *given: Any, **named: Any) -> Any:
        summed, count = loss(task, *given, **named)
        calls[0] += torch.is_grad_enabled()
        return (summed * float("nan") if calls[0] > 6 else summed), count

    monkeypatch.setattr(Task, "loss", poisoned)
    assert run_recipe("lora_ner", *FLAGS, "--checkpointing_steps", "1") == 2
    told = capsys.readouterr().err
    assert "The loss is nan at step 3; nothing was updated." in told and "Ids of the examples in this step: " in told
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert path.name == "step-00000002"
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run_recipe("lora_ner", *FLAGS, "--resume_from_checkpoint", "latest", "--checkpointing_steps", "1") == 0


def test_a_batch_that_does_not_fit_is_computed_in_parts_with_one_result(
    run_recipe: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.tasks.ner import Task

    flags = [*FLAGS, "--dropout", "0"]
    assert run_recipe("lora_ner", *flags, "--output_dir", str(tmp_path / "whole")) == 0
    loss, most = Task.loss, [0]

    def cramped(task: Any, logits: Any, targets: Any, **named: Any) -> Any:
        if torch.is_grad_enabled() and len(targets) > 8 and most[0]:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        most[0] += 1
        return loss(task, logits, targets, **named)

    monkeypatch.setattr(Task, "loss", cramped)
    capsys.readouterr()
    assert run_recipe("lora_ner", *flags, "--output_dir", str(tmp_path / "parted")) == 0
    told = capsys.readouterr().err
    assert 1 <= told.count("out of memory with") <= 3
    whole, parted = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("whole", "parted"))
    losses = [[epoch["loss"] for epoch in record["training"]["dev_scores"]] for record in (whole, parted)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
