"""Checkpoints are complete or absent, whatever happens during writing; damaged ones are recognised."""

from __future__ import annotations

import json
import random
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import forked
import pytest
import tiny
import torch
from conftest import forget_accelerate

from adapters.core.errors import CheckpointError, SettingsError
from adapters.training.checkpoint import Checkpoint, Checkpoints

IDENTITY = {"settings": {"learning_rate": 0.1, "seed": 0}, "base": ["a", "b"]}


def made(folder: Path, *, save_total_limit: int = 2, **identity: Any) -> Checkpoints:
    return Checkpoints(folder / "checkpoints", lambda: {**IDENTITY, **identity}, save_total_limit=save_total_limit)


def saved(store: Checkpoints, step: int, *, size: int = 64) -> Path:
    values = {"a": torch.full((size,), float(step)), "b": torch.arange(4)}
    return store.save(
        step, {"model": values, "random": {"torch.0": torch.arange(9, dtype=torch.uint8)}}, {"step": step}
    )


def whole(store: Checkpoints, said: list[str] | None = None) -> int:
    """The step of the newest whole checkpoint, its content checked."""
    found = store.find("latest", (said if said is not None else []).append)
    step = int(found.state["step"])
    assert (found.tensors["model"]["a"] == step).all()
    return step


def test_what_was_saved_is_found_and_the_oldest_are_removed(tmp_path: Path) -> None:
    store = made(tmp_path, save_total_limit=2)
    for step in (1, 2, 10):
        saved(store, step)
    assert [path.name for path in store.paths()] == ["step-00000010", "step-00000002"]
    assert whole(store) == 10
    assert store.find(str(store.paths()[1]), print).state["step"] == 2
    names = {path.name for path in store.paths()[0].iterdir()}
    assert names == {"model.safetensors", "random.safetensors", "state.json", "manifest.json"}
    store.remove()
    with pytest.raises(CheckpointError, match="has no complete checkpoint"):
        whole(store)


def test_a_damaged_checkpoint_does_not_count_among_those_that_are_kept(tmp_path: Path) -> None:
    """Steps 100, 200 and a damaged 300; a run that goes on from 200 and keeps one saves 250."""
    before = made(tmp_path, save_total_limit=9)
    for step in (100, 200, 300):
        saved(before, step)
    (before.folder / "step-00000300" / "state.json").write_text("{}")
    path = saved(made(tmp_path, save_total_limit=1), 250)
    assert path.is_dir() and before.paths() == [path]
    for step in (100, 200, 300):
        saved(before, step)
    (before.folder / "step-00000300" / "model.safetensors").write_bytes(b"")
    saved(made(tmp_path, save_total_limit=2), 250)
    assert [path.name for path in before.paths()] == ["step-00000250", "step-00000200"]


def test_what_was_trained_is_the_newest_and_goes_when_the_run_has_finished(tmp_path: Path) -> None:
    store = made(tmp_path)
    saved(store, 7)
    path = store.save_trained({"best": {"a": torch.ones(3)}}, {"step": 5})
    assert store.find("latest", print).path == path and store.find("latest", print).state["step"] == 5
    saved(store, 8)
    assert path.is_dir(), "no step takes its place"
    (path / "state.json").write_text("")
    assert whole(store) == 8, "a damaged one is passed over"
    store.finish(keep=True)
    assert not path.exists() and whole(store) == 8
    store.finish(keep=False)
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "random.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_is_used(
    name: str, how: str, tmp_path: Path
) -> None:
    store = made(tmp_path)
    saved(store, 1)
    path = saved(store, 2)
    content = (path / name).read_bytes()
    half = len(content) // 2
    damaged = {"flip": content[:half] + bytes([content[half] ^ 4]) + content[half + 1 :], "cut": content[:half]}
    (path / name).unlink() if how == "gone" else (path / name).write_bytes(damaged.get(how, b""))
    with pytest.raises((CheckpointError, SettingsError), match="step-00000002"):
        store.find(str(path), print)
    if name != "manifest.json" or how != "flip":  # a flip there may be in what it says of the run, which is refused
        said: list[str] = []
        assert whole(store, said) == 1
        assert "step-00000002" in said[0] and "The one before it is used" in said[0]


def test_a_checkpoint_of_another_format_says_which_and_the_one_before_it_is_used(tmp_path: Path) -> None:
    store = made(tmp_path)
    saved(store, 1)
    path = saved(store, 2)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    said: list[str] = []
    assert whole(store, said) == 1
    assert "step-00000002: expected format 1, found 99." in said[0]


def test_a_checkpoint_of_another_run_says_what_differs(tmp_path: Path) -> None:
    path = saved(made(tmp_path), 1)
    other = made(tmp_path, settings={"learning_rate": 0.2, "seed": 0})
    with pytest.raises(SettingsError, match=r"settings\.learning_rate: 0\.1 there, 0\.2 here") as raised:
        other.find(str(path), print)
    assert "seed" not in str(raised.value)
    with pytest.raises(CheckpointError, match="nowhere"):
        other.find(str(tmp_path / "nowhere"), print)


SAVING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_checkpoints import made, saved
store = made(Path(sys.argv[2]), save_total_limit=2)
for step in range(int(sys.argv[3]) + 1, 10**6):
    saved(store, step, size=20_000)
    print(step, flush=True)
"""


def killed(folder: Path, begin: int, draw: random.Random) -> list[int]:
    """The steps that a process said it had saved from one on, until kill -9 at a random moment of the next ones."""
    script, log = folder / "saving.py", folder / f"log {begin}"
    script.write_text(SAVING)
    process, steps = forked.Forked([script, Path(__file__).parent, folder, begin], log), draw.randint(1, 4)
    process.until(lambda: process.printed().count("\n") >= steps)
    time.sleep(draw.random() * 0.02)
    process.kill()
    process.wait()
    return [int(line) for line in process.printed().split()]


@pytest.mark.slow
def test_a_kill_at_any_moment_of_saving_loses_at_most_what_was_being_written(tmp_path: Path) -> None:
    draw, last = random.Random(0), 0
    for _ in range(4):
        said = killed(tmp_path, last, draw)
        store = made(tmp_path)
        last = whole(store)
        assert last in (said[-1], said[-1] + 1)
        store.sweep()
        assert all(not path.name.startswith(".") for path in store.folder.iterdir())


@pytest.mark.parametrize("limit", [0, 1, 100, 300, 700, 3000, 60_000])
def test_a_full_disk_leaves_the_checkpoint_before_it(limit: int, tmp_path: Path) -> None:
    store = made(tmp_path)
    saved(store, 1, size=20_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"step-00000002: the checkpoint of about 80,041 bytes could not be"):
            saved(store, 2, size=20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert whole(store) == 1
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    saved(store, 2, size=20_000)
    assert whole(store) == 2


def test_nothing_of_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    path = saved(made(tmp_path), 1)
    for file in path.iterdir():
        content = file.read_bytes()
        if file.suffix == ".json":
            json.loads(content)
        else:
            size = int.from_bytes(content[:8], "little")
            assert set(json.loads(content[8 : 8 + size])) >= {"torch.0"} or file.name == "model.safetensors"


@pytest.mark.parametrize("name", ["", " "])
def test_a_checkpoint_without_a_name_is_refused_and_removes_none(
    name: str, run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "run" / "checkpoints" / "step-00000004" / "state.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert run_recipe("head_ner", "--resume_from_checkpoint", name) == 2
    assert "must be latest, or the folder of a checkpoint" in capsys.readouterr().err
    assert kept.is_file()


def test_a_checkpoint_after_each_scoring_is_of_the_steps_that_were_scored(run_recipe: Any, tmp_path: Path) -> None:
    given = ["--num_train_epochs", "3", "--checkpointing_steps", "epoch", "--save_total_limit", "9"]
    assert run_recipe("head_ner", *given) == 0
    training = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    scored = [f"step-{score['step']:08d}" for score in training["dev_scores"]]
    assert len(scored) == 3
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == scored


def test_a_refused_resume_changes_nothing_of_the_run(
    run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--max_train_steps", "2"]
    monkeypatch.setattr("adapters.training.checkpoint.Checkpoints.finish", lambda self, keep: None)
    assert run_recipe("head_ner", *flags) == 0
    files = {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()}
    assert tmp_path / "run" / "scores.json" in files
    resumed = [*flags, "--resume_from_checkpoint"]
    for more, said in (
        (["latest", "--learning_rate", "0.5"], "belongs to another run. settings.learning_rate: "),
        ([str(tmp_path / "none")], "not a complete checkpoint"),
    ):
        assert run_recipe("head_ner", *resumed, *more) == 2
        assert said in capsys.readouterr().err
        assert {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()} == files
    assert run_recipe("head_ner", *resumed, "latest") == 0


def test_a_checkpoint_of_other_options_in_a_file_of_the_same_name_is_refused(
    run_recipe: Any, tiny_bert: Path, tagged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapters.cli.main import main

    options = tmp_path / "options.json"
    given = ["--model_name_or_path", str(tiny_bert), "--dataset_name", str(tagged), "--mixed_precision", "no"]
    given += ["--peft_type", "LOHA", "--peft_config", str(options), "--max_train_steps", "2"]
    words = ["train", "--task", "ner", "--method", "peft", *given, "--output_dir"]
    options.write_text(json.dumps({"r": 4, "target_modules": ["query"]}))
    assert main([*words, str(tmp_path / "run"), "--checkpointing_steps", "1"]) == 0
    kept = ["--resume_from_checkpoint", str(tmp_path / "run" / "checkpoints" / "step-00000002")]
    forget_accelerate()
    assert main([*words, str(tmp_path / "same"), *kept]) == 0
    options.write_text(json.dumps({"r": 4, "target_modules": ["value"]}))
    forget_accelerate()
    assert main([*words, str(tmp_path / "other"), *kept]) == 2
    said = capsys.readouterr().err
    assert "settings.peft_options: " in said and "query" in said and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [("model", "renamed"), ("model", "reshaped"), ("optimizer", "renamed"), ("best", "renamed"), ("best", "reshaped")],
)
def test_tensors_that_the_model_does_not_train_are_refused_before_anything_changes(
    file: str, change: str, tiny_bert: Path, tagged: Path, tmp_path: Path
) -> None:
    from adapters.data.dataset_files import open_splits
    from adapters.models.base_model import open_base
    from adapters.tasks.ner import Settings, Task
    from adapters.training.state import capture_state
    from adapters.training.trainer import BEST

    task, splits = Task.read(open_splits(folder=tagged), Settings())
    base, how = open_base(str(tiny_bert)), tiny.method("lora")
    model = how.wrap(base, task, ())
    trainer = tiny.trainer(how, model, base, task, splits["train"])
    trainer.train_step(trainer.dataset.batches(0, 1)[:1])
    tensors, state = capture_state(model, trainer.optimizer, trainer.schedule, trainer.accelerator)
    tensors[BEST] = dict(tensors["model"])
    name = next(iter(tensors[file]))
    if change == "renamed":
        tensors[file][f"other.{name}"] = tensors[file].pop(name)
    else:
        tensors[file][name] = torch.zeros(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="has other tensors than this model trains"):
        trainer.resume(Checkpoint(path=tmp_path, state={**state, **trainer._progress()}, tensors=tensors))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["trained", "step-00000004"])
def test_a_checkpoint_that_a_killed_process_had_moved_aside_is_found(name: str, tmp_path: Path) -> None:
    store = made(tmp_path)
    saved(store, 4)
    store.save_trained({"best": {"a": torch.ones(3)}}, {"step": 5})
    path = store.folder / name
    for other in store.folder.iterdir():
        if other != path:
            shutil.rmtree(other)
    path.rename(store.folder / f".{name}.abcdefgh.old")
    (store.folder / f".{name}.ijklmnop").mkdir()
    (store.folder / f".{name}.gone").mkdir()
    again = made(tmp_path)
    assert again.any() and again.find("latest", print).path == path
    assert [each.name for each in store.folder.iterdir()] == [name]
