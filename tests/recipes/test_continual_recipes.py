from __future__ import annotations

import json

import pytest
from conftest import REPOSITORY, call_recipe
from sequences import things_and_looks, write_texts

from adapters.cli.main import main


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return things_and_looks(tmp_path_factory.mktemp("data"))


def flags(tasks, base, output, *more):
    return [
        *("--tasks", *map(str, tasks), "--model_name_or_path", str(base), "--output_dir", str(output)),
        *("--max_train_steps", "2", "--mixed_precision", "no", "--allow_unknown_tokens", "--no_publish", *more),
    ]


def test_the_recipe_compares_strategies_tuned_on_the_first_two_tasks(
    tasks, tiny_bert, tmp_path, runs_in_process, capsys
):
    words = flags(
        tasks, tiny_bert, tmp_path / "out", "--strategies", "sequential", "prefix/adapter_per_task", "prefix/separate",
        "full/olora", "--tuning_trials", "3", "--orders", "2", "--routing", "means",
    )  # fmt: skip
    assert call_recipe(REPOSITORY / "recipes" / "continual_classification.py", words) == 0
    said = capsys.readouterr()
    assert "left out: olora with full: olora works on low-rank deltas, which full does not have" in said.err
    assert "left out: separate with prefix: adapter_per_task trains the same models" in said.err
    assert "sequential-lora on " in said.err
    record = json.loads((tmp_path / "out" / "continual.json").read_text())
    names = [row["name"] for row in record["rows"]]
    assert len(names) == 3  # adapters answer with the task identity, and routed
    assert all(row["value"] is not None for row in record["rows"])
    trials = [*(tmp_path / "out" / "runs").glob("*-trial-*/scores.json")]
    assert len(trials) == 2 * 3
    for path in trials:
        one = json.loads(path.read_text())
        assert {task["split"] for task in one["tasks"].values()} == {"dev"}
        assert not (path.parent / "own").exists() and not (path.parent / "state").exists()
    before = (tmp_path / "out" / "continual.json").read_text()
    assert call_recipe(REPOSITORY / "recipes" / "continual_classification.py", words) == 0  # nothing is run again
    assert json.loads(before)["rows"] == json.loads((tmp_path / "out" / "continual.json").read_text())["rows"]


def test_a_sequence_file_has_the_flags_and_paths_from_its_folder(tasks, tiny_bert, runs_in_process):
    folder = tasks[0].parent
    lines = {
        "tasks": [path.name for path in tasks],
        "strategies": ["replay"],
        "model_name_or_path": str(tiny_bert),
        "output_dir": str(folder / "of_file"),
        "max_train_steps": 2,
        "mixed_precision": "no",
        "allow_unknown_tokens": True,
        "replay_examples": 3,
    }
    (folder / "sequence.toml").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()))
    assert main(["continual", str(folder / "sequence.toml")]) == 0
    (run,) = [path for path in (folder / "of_file" / "runs").iterdir() if path.is_dir()]
    assert json.loads((run / "scores.json").read_text())["strategy_notes"]["replay_examples"] == 3
    assert (run / "published" / "things" / "current.json").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--orders", "looks/nothing"], "no task is called 'nothing'"),
        (["--strategies", "repaly"], "No strategy is called 'repaly'"),
        (["--strategies", "full/adapter_per_task"], "strategy separate"),
        (["--tuning_trials", "-1"], "0 (no search) or more"),
        (["--scenario", "domain-incremental"], "must have the same labels"),
        (["--margin", "0"], "no data show equality"),
        (["--replay_per_class", "0"], "at least 1"),
        (["--routing", "nearest"], "means or mahalanobis"),
        (["--with_tracking"], "trackers know nothing of tasks"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(more, words, tasks, tiny_bert, tmp_path, capsys):
    strategies = [] if "--strategies" in more else ["--strategies", "replay"]
    assert main(["continual", *flags(tasks, tiny_bert, tmp_path / "out", *strategies, *more)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_run_and_writes_nothing(tasks, tiny_bert, tmp_path, capsys):
    words = flags(tasks, tiny_bert, tmp_path / "out", "--strategies", "replay", "ewc", "--orders", "2", "--dry_run")
    assert main(["continual", *words, "--tuning_trials", "6"]) == 0
    said = capsys.readouterr().out
    assert "replay (lora), ewc (lora)" in said
    assert "4: 2 orders, 1 seed; at most 16 trials" in said
    assert not (tmp_path / "out").exists()


def test_one_task_two_of_a_name_and_no_task_are_refused(tasks, tiny_bert, tmp_path, capsys):
    assert main(["continual"]) == 2
    assert "--tasks is missing" in capsys.readouterr().err
    assert main(["continual", *flags(tasks[:1], tiny_bert, tmp_path / "out")]) == 2
    assert "two tasks or more" in capsys.readouterr().err
    twin = write_texts(tmp_path, "things", ["fruit", "tool"])
    assert main(["continual", *flags([tasks[0], twin], tiny_bert, tmp_path / "out")]) == 2
    assert "another task is called things" in capsys.readouterr().err
