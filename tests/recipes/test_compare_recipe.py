"""compare_ner.py, run whole at tiny size with all its methods: killed, taken up again, failing, refused."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY, build_comparison_folder, call_recipe, ended_runs
from forked import Forked

from adapters.cli.main import main
from adapters.experiments.many_runs.planned_run import PlannedRun, Share, execute

pytestmark = pytest.mark.slow

ALL = ["majority", "crf", "full", "head", "lora", "prefix", "zero_shot", "few_shot"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny bases and data."""
    return build_comparison_folder(tmp_path_factory.mktemp("compare"))


def command(place: Path, out: str, *flags: str) -> list[str]:
    given = {
        "--model_name_or_path": place / "bert",
        "--prompt_model_name_or_path": place / "llama",
        "--dataset_name": place / "data",
        "--output_dir": place / out,
        "--seeds": 1,
        "--num_train_epochs": 1,
        "--mixed_precision": "no",
        "--max_new_tokens": 4,
        "--shots": 1,
        "--num_virtual_tokens": 4,
        "--tuning_trials": 0,
    }
    words = [word for flag, value in given.items() if flag not in flags for word in (flag, str(value))]
    return [sys.executable, "recipes/compare_ner.py", *words, *flags]


def run_here(place: Path, out: str, *flags: str) -> int:
    """The comparison in this process; its exit code."""
    return call_recipe(REPOSITORY / "recipes" / "compare_ner.py", command(place, out, *flags)[2:])


def test_a_killed_comparison_goes_on_with_the_missing_runs(place: Path, runs_in_process: None) -> None:
    """The killed one's runs have processes of their own, two at a time, and it leaves at least one running."""
    flags, out = ("--methods", "head,bitfit,zero_shot", "--also_on_prompt_base"), place / "killed"
    killed = Forked(command(place, "killed", *flags, "--runs_at_once", "2")[1:], place / "killed.log")
    limit = time.monotonic() + 300
    while not ended_runs(out) and time.monotonic() < limit:
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    before = ended_runs(out)
    assert 1 <= len(before) < 3, killed.printed()
    assert run_here(place, "killed", *flags) == 0
    after = ended_runs(out)
    assert len(after) == 3
    assert all(after[name] == moment for name, moment in before.items()), "finished runs are kept"


def test_what_was_trained_is_scored_as_exports_in_rows_of_their_own(
    place: Path, runs_in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added to a comparison that has ended: nothing is trained again."""
    out, plain = place / "exported", ("--methods", "head,zero_shot")
    assert run_here(place, "exported", *plain) == 0
    after = ended_runs(out)
    capsys.readouterr()
    assert run_here(place, "exported", *plain, "--exports", "onnx,onnx_int8") == 0
    printed = capsys.readouterr()
    assert ended_runs(out) == after
    assert "--exports: zero_shot is left out: it trains nothing" in printed.err
    head, whole, small, prompted = json.loads((out / "comparison.json").read_text())["rows"]
    titles = [row["method"] for row in (head, whole, small, prompted)]
    assert titles == ["head", "head (onnx)", "head (onnx int8)", "zero_shot"]
    assert whole["value"] == head["value"] and whole["train_seconds"] == head["train_seconds"]
    assert small["artifact_bytes"] < whole["artifact_bytes"] and whole["latency_p50_ms"] != head["latency_p50_ms"]
    assert "\nhead (onnx int8) " in printed.out
    run = Path(head["runs"][0])
    texts = [[json.loads(line)["prediction"] for line in (folder / "predictions.jsonl").read_text().splitlines()]
             for folder in (run, run / "exports" / "onnx")]  # fmt: skip
    assert texts[0] == texts[1]
    assert main(["compare", str(run), str(run / "exports" / "onnx_int8")]) == 0
    assert "head (onnx int8)" in capsys.readouterr().out
    assert run_here(place, "exported", *plain, "--exports", "onnx,onnx_int8") == 0
    assert "export: " not in capsys.readouterr().err
    assert run_here(place, "exported", *plain, "--exports", "onnx,gguf") == 2
    assert "--exports gguf" in capsys.readouterr().err


def test_a_search_killed_at_a_trial_goes_on_and_never_scores_test(
    place: Path, runs_in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    space, out = place / "space.toml", place / "searched"
    space.write_text("[head]\nlearning_rate = {low = 1e-3, high = 1e-1}\n[full]\nlearning_rate = [1e-3, 1e30]\n")
    flags = (
        "--methods",
        "head,full",
        "--also_on_prompt_base",
        "--search_space",
        str(space),
        "--tuning_trials",
        "3",
        "--num_train_epochs",
        "6",
    )
    killed = Forked(command(place, "searched", *flags)[1:], place / "searched.log")
    limit = time.monotonic() + 300
    while not ended_runs(out) and time.monotonic() < limit:
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    before = ended_runs(out)
    assert before and not (out / "comparison.json").exists(), killed.printed()
    assert run_here(place, "searched", *flags) == 0
    printed, after = capsys.readouterr().out, ended_runs(out)
    assert all(after[name] == moment for name, moment in before.items()), "finished trials are kept"
    kept = json.loads((out / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == ["head", "full"]
    head, full = (row["tuning"] for row in kept["rows"])
    assert head["trials"] == 3 and head["failed"] == 0 and set(head["settings"]) == {"learning_rate"}
    assert full["failed"] == 1, "a rate of 1e30 diverges"
    assert "Settings were chosen on dev from 3 trials" in " ".join(printed.split())
    for name in after:
        scored = json.loads((out / "runs" / name / "scores.json").read_text())
        trial = "-trial-" in name
        assert scored["dataset"]["split"] == ("dev" if trial else "test"), "a trial never scores test"
        assert (out / "runs" / name / "artifact").exists() != trial
    assert run_here(place, "searched", *flags) == 0
    assert ended_runs(out) == after and capsys.readouterr().out == printed, "nothing runs twice, not even what failed"


def test_a_comparison_shows_all_that_fit_the_task_and_runs_nothing_twice(
    place: Path, runs_in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "all"
    assert run_here(place, "all", "--also_on_prompt_base", "lora") == 0
    printed, after = capsys.readouterr(), ended_runs(out)
    first = printed.out
    assert "left out: tfidf: The method tfidf learns answers that are labels" in printed.err
    assert len(after) == 9  # eight, and LoRA on the prompted base
    assert run_here(place, "all", "--also_on_prompt_base", "lora") == 0
    assert ended_runs(out) == after and capsys.readouterr().out == first
    kept = json.loads((out / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == [*ALL, "lora"]
    assert [Path(row["base"]).name for row in kept["rows"]] == [""] * 2 + ["bert"] * 4 + ["llama"] * 3
    assert (out / "comparison.html").read_text().startswith("<!doctype html>")
    assert (out / "comparison.svg").read_text().startswith("<svg")
    assert all(f"\n{method} " in first for method in ALL)

    assert main(["compare", *(str(out / "runs" / name) for name in after)]) == 0
    compared = capsys.readouterr().out
    assert all(method in compared for method in ALL)


def test_each_seed_draws_other_training_examples_the_same_for_all_methods(place: Path, runs_in_process: None) -> None:
    flags = ("--methods", "head,few_shot,zero_shot", "--also_on_prompt_base", "--seeds", "2", "--redraw", "train")
    assert run_here(place, "redrawn", *flags, "--max_train_samples", "20") == 0
    rows = json.loads((place / "redrawn" / "comparison.json").read_text())["rows"]
    assert [len(row["seeds"]) for row in rows] == [2, 2, 1], "zero-shot reads no training examples"
    for row in rows:
        for folder, seed in zip(row["runs"], row["seeds"], strict=True):
            train = json.loads((Path(folder) / "scores.json").read_text())["dataset"]["notes"]["train"]
            assert (train["draw"], train["limit"]) == (seed, "20 drawn")
    assert rows[2]["of_one_model"] is False


def test_a_run_that_fails_is_shown_with_its_reason_and_the_others_go_on(
    place: Path, runs_in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--methods", "head,few_shot", "--also_on_prompt_base", "--shots", "61", "--max_predict_samples", "5"]
    assert run_here(place, "failing", *flags) == 1
    shown = capsys.readouterr().out
    assert "there are 60 training examples" in shown
    assert "few_shot-llama" in shown and "\nhead " in shown
    kept = json.loads((place / "failing" / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == ["head"]
    assert "failed" in (place / "failing" / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--methods", "lroa"], "did you mean 'lora'"),
        (["--methods", "tfidf,crf"], "those of the task ner are tags of words. Use crf or majority."),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (
            ["--methods", "few_shot", "--prompt_model_name_or_path", "BERT"],
            "is of the kind encoder; the method few_shot",
        ),
        (["--train_sizes", "50,many"], "--train_sizes many: must be numbers, or all"),
        (["--train_sizes", "61"], "--train_sizes 61: there are 60 training examples; say all."),
        (["--train_sizes", "60,all"], "--train_sizes 60 all: 60 are all training examples; give one of them."),
        (["--train_sizes", "20,20"], "--train_sizes 20 20: 20 is given twice."),
        (["--forbid_overlap"], "--forbid_overlap: "),
        (["--margin", "0"], "--margin 0.0: must be a number of points above 0"),
        (["--cost", "money"], "--cost money: must be storage or training or latency or memory"),
        (["--tuning_trials", "2", "--max_eval_samples", "5"], "dev has 5 examples; at least 10 are needed to choose"),
        (["--resample", "words"], "--resample words: must be auto or examples or documents"),
        (["--resample", "documents"], "scored examples have no document. Name the column"),
        (["--redraw", "train", "--max_train_samples", "9999"], "leaves nothing to draw"),
        (["--redraw", "train", "--train_sizes", "9999,20"], "leaves nothing to draw"),
        (["--redraw", "train", "--train_sizes", "20,all"], "--redraw train: must be given with --max_train_samples"),
        (["--redraw", "dev"], "--redraw dev: must be train"),
        (["--lora_r", "0"], "--lora_r 0: must be at least 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    place: Path, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [str(place / "bert") if word == "BERT" else word for word in flags]
    if "--forbid_overlap" in flags:
        flags += ["--test_file", str(place / "data" / "train.conll")]
    assert run_here(place, "refused", *flags) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (place / "refused").exists()


def test_a_folder_of_another_comparison_or_of_something_else_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "other"
    (folder / "runs").mkdir(parents=True)
    start_settings = {"task": "ner", "max_length": 128}
    (folder / "settings.json").write_text(json.dumps(start_settings))
    assert run_here(place, "other") == 2
    assert "holds another comparison, which differs in" in " ".join(capsys.readouterr().err.split())
    (place / "notes").mkdir()
    (place / "notes" / "mine.txt").write_text("mine")
    assert run_here(place, "notes") == 2
    assert "holds files other than a comparison's" in " ".join(capsys.readouterr().err.split())
    assert (place / "notes" / "mine.txt").read_text() == "mine"


def test_a_runs_name_depends_on_its_settings_and_not_on_its_folder() -> None:
    one = PlannedRun(method="lora", base="a/b", seed=0, settings={"lora_r": 8, "output_dir": "x"})
    assert one.name == PlannedRun(method="lora", base="a/b", seed=0, settings={"lora_r": 8, "output_dir": "y"}).name
    assert one.name != PlannedRun(method="lora", base="a/b", seed=0, settings={"lora_r": 9}).name
    assert one.name.startswith("lora-b-seed0-")


def test_a_run_that_an_earlier_comparison_left_running_is_waited_for(tmp_path: Path) -> None:
    import fcntl
    import threading

    run = PlannedRun(method="full", base="b", seed=0)
    (tmp_path / "runs" / run.name).mkdir(parents=True)
    lock = (tmp_path / "runs" / f"{run.name}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def finish() -> None:
        (tmp_path / "runs" / run.name / "scores.json").write_text("{}")
        lock.close()

    threading.Timer(0.3, finish).start()
    outcome = execute(run, tmp_path, Share())
    assert not outcome.error and outcome.seconds >= 0.25
    assert not (tmp_path / "runs" / f"{run.name}.log").exists(), "nothing was run"


def test_an_edited_prompt_or_plugin_makes_new_runs(place: Path, tmp_path: Path, runs_in_process: None) -> None:
    prompt, plugin = tmp_path / "mine.toml", tmp_path / "mine" / "methods" / "_shared.py"
    prompt.write_text((REPOSITORY / "prompts" / "ner_few.toml").read_text())
    plugin.parent.mkdir(parents=True)
    plugin.write_text("VALUE = 1\n")
    flags = ["--methods", "head,few_shot", "--also_on_prompt_base", "--prompt", str(prompt)]
    flags += ["--plugin_dir", str(tmp_path / "mine"), "--max_predict_samples", "3"]
    assert run_here(place, "edited", *flags) == 0
    first = {*ended_runs(place / "edited")}
    prompt.write_text(prompt.read_text() + "\n# edited\n")
    assert run_here(place, "edited", *flags) == 0
    second = {*ended_runs(place / "edited")}
    assert len(first) == 2 and [name.partition("-")[0] for name in second - first] == ["few_shot"]
    plugin.write_text("VALUE = 2\n")
    assert run_here(place, "edited", *flags) == 0
    assert len({*ended_runs(place / "edited")} - second) == 2
