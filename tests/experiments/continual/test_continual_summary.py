"""The numbers of a continual experiment: known ones found again, and sentences that claim no more than the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from continual_runs import TASKS, write_run
from continual_runs import conditions as gathered

from adapters.core.holm import holm
from adapters.experiments.comparison import results_table
from adapters.experiments.continual.output import save_and_print
from adapters.experiments.continual.results import ConditionRuns
from adapters.experiments.continual.summary import summarise
from adapters.experiments.continual.table import columns, entries, group
from adapters.experiments.continual.verdict import sentences

ORDERS = [list(TASKS), list(TASKS)[::-1], ["agnews", "dbpedia", "trec"]]
LEVELS = {"sequential": 0.5, "replay": 0.84, "ewc": 0.83}


def ends(level: float) -> dict[str, float]:
    return {"trec": level, "agnews": level - 0.1, "dbpedia": level + 0.05}


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> list[ConditionRuns]:
    """Three strategies over three orders, a routed one, and all tasks at once; a run of ewc has failed."""
    folder, runs = tmp_path_factory.mktemp("runs"), []
    for number, order in enumerate(ORDERS):
        given: dict[str, Any] = {"order": order, "number": number, "seed": number}
        for strategy, level in LEVELS.items():
            if (strategy, number) != ("ewc", 2):
                wobble = 0.02 * (number - 1) if strategy == "replay" else 0.0
                runs.append(write_run(folder / f"{strategy}{number}", strategy, ends=ends(level + wobble), **given))
        adapter = folder / f"adapter{number}"
        runs.append(write_run(adapter, "adapter_per_task", ends=ends(0.9), routed=0.8, stored=60_000, **given))
        runs.append(write_run(folder / f"joint{number}", "joint", ends=ends(0.92), at_once=True, **given))
    return gathered(runs, planned=3)


@pytest.fixture(scope="module")
def summary(conditions: list[ConditionRuns]) -> dict[str, Any]:
    return summarise(conditions, resamples=400)


def row_of(summary: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in summary["rows"] if row["name"] == name)
    return found


def test_the_numbers_of_a_row_are_the_known_ones(summary: dict[str, Any]) -> None:
    row = row_of(summary, "sequential")
    assert row["by_task"] == pytest.approx(ends(0.5), abs=0.01)
    assert row["value"] == pytest.approx(0.45 + 0.1 / 3, abs=0.01) and row["low"] < row["value"] < row["high"]
    lasts = [order[-1] for order in ORDERS]
    learned = [0.9 - (0.9 - row["by_task"][last]) / 3 for last in lasts]  # the last task ends as it was learned
    assert row["learning_accuracy"] == pytest.approx(sum(learned) / 3, abs=0.02)
    assert row["forgetting"] == pytest.approx(-row["backward"]) and row["forgetting"] > 0.3
    joint = row_of(summary, "joint")
    assert joint["intransigence"] is None and joint["forgetting"] is None and joint["bound"] == "all tasks at once"
    assert row["intransigence"] == pytest.approx(joint["value"] - row["learning_accuracy"])
    assert row["forward"] is None
    assert (row["train_seconds"], row["seconds"], row["tokens"]) == (30.0, 40.0, 3000.0)
    assert joint["train_seconds"] == 10.0
    assert (row["artifact_bytes"], row["stored_bytes"]["base"]) == (1000, 90_000_000)
    assert row["averages"][0] == pytest.approx(0.9) and row["averages"][-1] == pytest.approx(row["value"])
    assert [one["order"] for one in row["matrices"]] == ORDERS
    json.dumps(summary, allow_nan=False)


def test_a_routed_condition_has_a_second_row_without_the_tasks_name(summary: dict[str, Any]) -> None:
    named, routed = row_of(summary, "adapter_per_task"), row_of(summary, "routed adapter_per_task")
    assert (named["named"], named["routing"], routed["named"]) == (True, None, False)
    assert routed["routing"]["final"] == pytest.approx(0.8) and routed["routing"]["accuracy"][0] == 1
    assert routed["value"] == pytest.approx(0.8 * named["value"], abs=0.02)
    assert routed["intransigence"] is None, "all tasks at once was scored with the name alone"
    (told,) = (line for line in sentences(summary) if line.startswith("routed adapter_per_task (means)"))
    assert "80.0 % of the examples are sent to their own task" in told and "(significant)" in told


def test_all_pairs_of_complete_rows_are_adjusted_together(summary: dict[str, Any]) -> None:
    tests, rows = summary["tests"], summary["rows"]
    complete = [i for i, row in enumerate(rows) if not row["incomplete"]]
    assert len(complete) == 5 and len(tests) == 10
    assert all(set(test["rows"]) <= set(complete) for test in tests)
    assert [test["p_holm"] for test in tests] == holm([test["p"] for test in tests])
    for test in tests:
        i, j = test["rows"]
        assert test["difference"] == pytest.approx(rows[i]["value"] - rows[j]["value"])
        assert test["differs"] == (test["p_holm"] < 0.05)


def test_an_incomplete_condition_is_shown_and_in_no_test(summary: dict[str, Any]) -> None:
    found = {entry["name"]: entry for entry in entries(summary)}
    assert found["ewc"]["result"] == results_table.INCOMPLETE and found["ewc"]["difference"] is None
    told = " ".join(sentences(summary))
    assert "ewc is incomplete (2 runs finished, others failed), so it is in no test." in told
    assert "ewc (" not in told


def test_each_row_is_compared_with_the_best_strategy_that_is_told_as_much(summary: dict[str, Any]) -> None:
    found = entries(summary)
    assert [(group(one), one["name"], one["result"]) for one in found] == [
        ("With the task identity given", "adapter_per_task", results_table.BEST),
        ("With the task identity given", "replay", results_table.NOT_SIGNIFICANT),
        ("With the task identity given", "sequential", results_table.SIGNIFICANT),
        ("With the task identity given", "ewc", results_table.INCOMPLETE),
        ("With the task identity given: reference (not sequential)", "joint", found[4]["result"]),
        ("Without task identity", "routed adapter_per_task", results_table.BEST),
    ]
    assert found[1]["best"]["name"] == found[4]["best"]["name"] == "adapter_per_task"
    assert found[1]["difference_low"] <= found[1]["difference"] <= found[1]["difference_high"]
    (first, *_) = sentences(summary)
    assert first.startswith(
        "With the task identity given, adapter_per_task (88.3) has the highest final average Accuracy"
    )
    assert "; significantly lower (Holm-adjusted p < 0.05): sequential (48.3)." in first
    assert "No significant difference from replay (82.3) (Holm-adjusted p ≥ 0.05, n = 370, " in first


def test_simultaneous_bounds_say_who_is_not_inferior_and_who_stores_least(
    conditions: list[ConditionRuns],
) -> None:
    whole = [ConditionRuns(records=one.records) for one in conditions]
    summary = summarise(whole, margin=0.2, resamples=300)
    (advice,) = summary["advice"]
    names = [summary["rows"][i]["name"] for i in advice["non_inferior"]]
    assert names == ["replay", "ewc", "adapter_per_task"]
    assert summary["rows"][advice["chosen"]]["name"] in ("replay", "ewc")
    assert "stores the least beyond the base model" in " ".join(sentences(summary))
    assert all(advice["bounds"][str(i)] > -0.2 for i in advice["non_inferior"])
    assert advice["bounds"]["0"] < -0.2, "sequential"
    (strict,) = summarise(whole, margin=0.001, resamples=300)["advice"]
    assert (strict["non_inferior"], strict["chosen"]) == ([], None)


def test_with_one_run_the_sentences_are_about_these_models_in_this_order(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, name, ends=ends(level)) for name, level in LEVELS.items()]
    summary = summarise(gathered(runs), resamples=200)
    told = " ".join(sentences(summary))
    assert "With one run, this is about these trained models, not about the strategies." in told
    assert "learned in one order alone" in told
    assert "No significant difference from ewc (" in told
    assert all(row["of_one_model"] and row["sd"] is None for row in summary["rows"])
    assert summary["rows"][0]["matrices"][0]["low"][2][2] is not None


def test_missing_scores_are_named_and_what_needs_them_is_left_open(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "replay", ends=ends(0.8))
    scores = json.loads((folder / "scores.json").read_text())
    scores["matrix"][1] = [None, None, None]
    (folder / "scores.json").write_text(json.dumps(scores))
    summary = summarise(gathered([folder]), resamples=100)
    (row,) = summary["rows"]
    assert (row["forgetting"], row["backward"], row["learning_accuracy"]) == (None, None, None)
    assert row["averages"] == pytest.approx([0.9, None, row["value"]])
    assert "replay: no score on trec, agnews after learning agnews." in sentences(summary)
    assert "only replay" in sentences(summary)[0]


def test_costs_that_were_not_measured_are_left_open(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "replay", ends=ends(0.8))
    scores = json.loads((run / "scores.json").read_text())
    scores["stages"] = [{"tasks": stage["tasks"]} for stage in scores["stages"]]
    (run / "scores.json").write_text(json.dumps(scores))
    (row,) = summarise(gathered([run]), resamples=50)["rows"]
    assert (row["artifact_bytes"], row["train_seconds"], row["peak_memory_bytes"]) == (None, None, None)


def test_conditions_of_several_methods_and_settings_have_names_of_their_own(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"strategy": "replay", "settings": {"memory": 5}},
        {"strategy": "replay", "settings": {"memory": 20}},
        {"strategy": "replay", "method": "full", "settings": {"memory": 20}},
    ]
    runs = [write_run(tmp_path / str(i), ends=ends(0.8), **kind) for i, kind in enumerate(kinds)]
    summary = summarise(gathered(runs), resamples=50)
    names = ["replay with lora [1]", "replay with lora [2]", "replay with full"]
    assert [row["name"] for row in summary["rows"]] == names


def test_four_files_are_written_and_the_screen_names_the_scenario(
    conditions: list[ConditionRuns], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = [("ewc, order 2", "OSError: no space")]
    summary = save_and_print(conditions, tmp_path, command="taskswap x", failures=failures, resamples=100)
    assert {path.name for path in tmp_path.iterdir()} == {f"continual.{kind}" for kind in ("json", "md", "html", "svg")}
    stored = json.loads((tmp_path / "continual.json").read_text())
    assert stored["verdict"] == summary["verdict"] and stored["format"] == 1
    assert stored["failures"] == [{"run": "ewc, order 2", "reason": "OSError: no space"}]
    text = (tmp_path / "continual.md").read_text()
    assert text.count("task-incremental") >= 4 and "**ewc, order 2 failed:** OSError" in text
    shown = " ".join(capsys.readouterr().out.split())
    assert "task-incremental: each task has labels of its own" in shown and "3 orders of the tasks, 3 seeds" in shown
    assert "failed: ewc, order 2" in shown
    for column in columns(entries(summary), "Accuracy"):
        assert column.title in shown


def test_with_growing_labels_a_routed_strategy_competes_with_those_that_need_no_name(tmp_path: Path) -> None:
    given: dict[str, Any] = {"scenario": "class-incremental"}
    runs = [
        write_run(tmp_path / "replay", "replay", ends=ends(0.6), **given),
        write_run(tmp_path / "adapter", "adapter_per_task", ends=ends(0.9), routed=0.9, **given),
        write_run(tmp_path / "joint", "joint", ends=ends(0.92), at_once=True, **given),
    ]
    summary = summarise(gathered(runs), resamples=400)
    named, without = "With the task identity given", "Without task identity"
    assert [(group(one), one["name"], one["result"]) for one in entries(summary)] == [
        (without, "routed adapter_per_task", results_table.BEST),
        (without, "replay", results_table.SIGNIFICANT),
        (f"{without}: reference (not sequential)", "joint", results_table.SIGNIFICANT),
        (named, "adapter_per_task", results_table.BEST),
    ]
    first, second, *_ = sentences(summary)
    assert first.startswith("Without task identity, routed adapter_per_task (79.3) has the highest final average")
    assert second.startswith(f"{named}, only adapter_per_task (88.3) learned the tasks sequentially")
    assert row_of(summary, "routed adapter_per_task")["intransigence"] is not None, "joint needs no name, either"
    assert row_of(summary, "adapter_per_task")["intransigence"] is None


def test_runs_of_one_order_and_seed_are_compared_run_by_run(tmp_path: Path) -> None:
    """Two strategies that gain and lose alike from run to run: their difference hardly moves."""
    runs = [
        write_run(tmp_path / f"{name}{seed}", name, ends=ends(level + 0.06 * seed), seed=seed)
        for name, level in (("replay", 0.7), ("ewc", 0.64))
        for seed in range(3)
    ]
    summary = summarise(gathered(runs), resamples=300)
    (test,) = summary["tests"]
    assert test["difference"] == pytest.approx(0.06, abs=0.01) and test["differs"]
    spread = summary["rows"][0]["standard_errors"]["runs"]
    assert test["standard_errors"]["seeds"] < 0.1 * spread, "the runs vary, their differences do not"
