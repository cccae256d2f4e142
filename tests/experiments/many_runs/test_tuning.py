"""The search for settings: halving, budgets, what is chosen, and what a search space may hold."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.core import discovery, search_space
from adapters.core.errors import SettingsError, UserError
from adapters.core.search_space import Choice, LogUniform
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.many_runs import spaces, tuning
from adapters.experiments.many_runs.planned_run import PlannedRun, RunOutcome, Share, execute, failure, run_folder
from adapters.experiments.many_runs.tuners import tuner
from adapters.methods.base.method import load_method

SPACE = {"rate": LogUniform(1e-3, 1e-1), "size": Choice({"r": 4, "alpha": 8}, {"r": 8, "alpha": 16})}


class Launcher:
    """Runs whose scores are a function of their settings, written as a run writes them."""

    def __init__(self, folder: Path, score: Any) -> None:
        self.folder, self.score, self.batches = folder, score, []

    def plan(self, method: str, base: str, changes: Mapping[str, Any], fraction: float) -> PlannedRun:
        settings = {**changes, "fraction": fraction}
        return PlannedRun(method=method, base=base, seed=tuning.SEED, settings=settings, rung=f"{fraction:.2f}")

    def __call__(self, runs: Sequence[PlannedRun]) -> list[RunOutcome]:
        self.batches.append(list(runs))
        out = []
        for run in runs:
            own, score = self.folder / run.name, self.score(run.settings)
            own.mkdir(exist_ok=True)
            if score is None:
                seconds = 10.0 * run.settings["fraction"]
                out.append(RunOutcome(run=run, folder=own, error="The loss is nan at step 3", seconds=seconds))
                continue
            right = [int(i < 20 * score) for i in range(20)]
            counts = [[hit, 0, hit, 1 - hit, 1, 0] for hit in right]  # all are of the first class
            record = {
                "main": {"metric": "accuracy", "score": "accuracy", "value": score},
                "labels": ["a", "b"],
                **dict.fromkeys(("task", "method", "base", "dataset", "cost", "seed")),
                "seconds": 10.0 * run.settings["fraction"],
                "training": {"tokens": 900 * run.settings["fraction"]},
            }
            (own / "scores.json").write_text(json.dumps(record))
            (own / "predictions.jsonl").write_text(
                "".join(json.dumps({"input": "", "counts": {"accuracy": row}}) + "\n" for row in counts)
            )
            out.append(RunOutcome(run=run, folder=own))
        return out


def near(settings: Mapping[str, Any]) -> float:
    """Best at a rate of 0.01."""
    return 1 - 0.3 * abs(math.log10(settings.get("rate", 0.1)) + 2)


def searched(
    tmp_path: Path, score: Any, trials: int, name: str = "random", **budget: Any
) -> tuple[tuning.Search, Launcher]:
    launcher = Launcher(tmp_path, score)
    search = tuning.Search("lora", "minilm", SPACE, tuner(name, SPACE, 0, 99 if budget else trials - 1, lambda _: True))
    assert tuning.run([search], launcher.plan, launcher, trials=trials, **budget)
    return search, launcher


@pytest.mark.parametrize(
    ("trials", "last"), [(1, 1), (2, 1), (3, 1 / 3), (5, 1 / 3), (6, 1), (9, 1 / 3), (16, 1 / 3), (18, 1), (50, 1)]
)
def test_a_third_of_each_rung_goes_on_and_no_rung_has_a_single_trial(trials: int, last: float) -> None:
    planned = tuning.rungs(trials)
    assert planned[-1].fraction == pytest.approx(last) and planned[0].trials == trials and len(planned) <= 3
    assert trials == 1 or min(rung.trials for rung in planned) > 1, "one trial has nothing to be compared with"
    for before, now in itertools.pairwise(planned):
        assert now.trials == max(before.trials // 3, 1) and now.fraction == pytest.approx(3 * before.fraction)


def test_sixteen_trials_cost_less_than_a_third_of_sixteen_full_trainings(tmp_path: Path) -> None:
    search, launcher = searched(tmp_path, near, 16)
    fractions = [run.settings["fraction"] for batch in launcher.batches for run in batch]
    assert sum(fractions) == pytest.approx(tuning.cost(16)) and tuning.cost(16) < 16 / 3
    assert search.seconds == pytest.approx(10 * tuning.cost(16))
    assert [len(batch) for batch in launcher.batches if batch] == [16, 5]
    assert search.chosen() is search.best(1 / 3, 1)[0] and "after 1/3 of the training" in search.sentence()


def test_the_best_trial_on_dev_is_chosen_and_the_methods_own_settings_are_the_first(tmp_path: Path) -> None:
    search, _ = searched(tmp_path, near, 9)
    assert search.trials[0].settings == {}
    drawn = [trial.settings["rate"] for trial in search.trials[1:]]
    assert search.chosen().settings["rate"] == min(drawn, key=lambda rate: abs(math.log10(rate) + 2))
    record = search.record({"rate": 0.01})
    assert record["trials"] == 9 and record["failed"] == 0 and record["resolution"] > 0
    assert record["curve"] == sorted(record["curve"]) and len(record["curve"]) == 8
    assert record["curve"][-1] == pytest.approx(max(map(near, ({"rate": rate} for rate in drawn))))
    json.dumps(record)


def test_trials_that_diverge_are_counted_and_the_search_goes_on(tmp_path: Path) -> None:
    search, _ = searched(tmp_path, lambda s: None if s.get("rate", 0) > 0.02 else near(s), 9)
    failed = [trial for trial in search.trials if trial.error]
    assert failed and all(trial.settings["rate"] > 0.02 for trial in failed)
    assert search.chosen().settings["rate"] <= 0.02 and "failed" in search.sentence()


def test_a_score_that_is_no_number_is_a_failed_trial(tmp_path: Path) -> None:
    search, _ = searched(tmp_path, lambda s: float("nan") if s.get("rate", 0) > 0.02 else near(s), 6)
    assert any(trial.error == "its dev score is nan" for trial in search.trials)


def test_where_every_trial_fails_the_default_settings_run(tmp_path: Path) -> None:
    search, _ = searched(tmp_path, lambda _: None, 3)
    assert search.chosen().settings == {} and "all 3 trials failed" in search.sentence()
    assert search.record({})["curve"] == []


@pytest.mark.parametrize("budget", [{"seconds": 60.0}, {"tokens": 5400}])
def test_a_budget_of_seconds_or_tokens_is_spent_and_not_exceeded(tmp_path: Path, budget: dict[str, Any]) -> None:
    search, _ = searched(tmp_path, near, 6, **budget)
    spent, allowed = (search.seconds, 60.0) if "seconds" in budget else (search.tokens, 5400)
    assert 0.6 * allowed < spent <= allowed and len(search.trials) > 6
    assert search.chosen() is not search.trials[0], "its own settings alone had the full training"


def test_a_budget_of_seconds_is_kept_where_the_default_settings_fail(tmp_path: Path) -> None:
    def score(settings: Mapping[str, Any]) -> float | None:
        return near(settings) if "rate" in settings else None

    search, _ = searched(tmp_path, score, 3, seconds=60.0)
    assert len(search.trials) > 1 and search.seconds <= 60


def test_a_budget_below_one_more_trial_leaves_the_default_settings(tmp_path: Path) -> None:
    search, launcher = searched(tmp_path, near, 6, seconds=12.0)
    assert len(search.trials) == 1 and [len(batch) for batch in launcher.batches if batch] == [1]


def test_one_trial_is_no_search(tmp_path: Path) -> None:
    search, launcher = searched(tmp_path, near, 1)
    assert not search.searched and not [batch for batch in launcher.batches if batch]
    assert search.sentence().endswith("nothing to search")


def test_a_search_left_to_a_scheduler_ends_where_its_runs_have_not_ended(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, near)
    search = tuning.Search("lora", "minilm", SPACE, tuner("random", SPACE, 0, 5, lambda _: True))
    assert not tuning.run([search], launcher.plan, lambda _: [], trials=6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_the_expected_best_is_the_mean_over_all_orders(scores: list[float]) -> None:
    found = tuning.expected_best(scores)
    for k in range(1, len(scores) + 1):
        every = [max(chosen) for chosen in itertools.combinations(scores, k)]
        assert found[k - 1] == pytest.approx(float(np.mean(every)))


def test_optuna_proposes_the_same_again_and_learns_where_scores_are_high(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is an extra: pip install -e '.[tune]'")
    found = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        search, launcher = searched(tmp_path / str(number), near, 20, name="optuna")
        found.append([trial.settings for trial in search.trials])
        assert {"name", "sampler", "seed", "version"} == set(search.record({})["tuner"])
        assert search.record({})["curve"] == [], "its draws are not independent"
        assert all(len(batch) <= 1 for batch in launcher.batches[1:20])
    assert found[0] == found[1]
    distance = [abs(math.log10(settings["rate"]) + 2) for settings in found[0][1:]]
    assert np.mean(distance[-8:]) < np.mean(distance[:8])


@given(st.integers(0, 2**31), st.integers(1, 30))
def test_draws_are_distinct_within_the_space_and_the_same_for_a_seed(seed: int, number: int) -> None:
    drawn = search_space.drawn(SPACE, seed, number)
    assert drawn == search_space.drawn(SPACE, seed, number)
    assert len({json.dumps(one, sort_keys=True) for one in drawn}) == len(drawn) == number
    assert all(1e-3 <= one["rate"] <= 1e-1 and one["alpha"] == 2 * one["r"] for one in drawn)


def test_a_small_space_has_only_as_many_draws_as_it_has_settings() -> None:
    assert sorted(one["shots"] for one in search_space.drawn({"shots": Choice(1, 2, 4)}, 0, 20)) == [1, 2, 4]


def test_rates_are_drawn_evenly_on_a_log_scale() -> None:
    generator, dimension = random.Random(0), LogUniform(1e-4, 1e-2)
    below = sum(dimension.draw(generator) < 1e-3 for _ in range(2000))
    assert 900 < below < 1100


def check(changes: Mapping[str, Any]) -> None:
    """What a method says of its settings."""
    settings = discovery.load("methods", "lora").Settings(**changes)
    if settings.lora_r < 1:
        raise SettingsError(f"--lora_r {settings.lora_r}: must be at least 1.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lora]\nlora_r = [0, 8]\n", r"\[lora\] lora_r = 0 is invalid: --lora_r 0: must be at least 1"),
        ("[lora]\nlora_rr = [4, 8]\n", r"\[lora\] lora_rr: no setting of it: .*lora_r"),
        ("[lora]\nlora_r = ['four']\n", r"\[lora\] lora_r = 'four'"),
        ("[lora]\nlearning_rate = {low = 0, high = 1}\n", r"\[lora\] learning_rate: .*above 0"),
        ("[lora]\nlearning_rate = {low = 1e-3}\n", r"\[lora\] learning_rate: found .* needed a list of values"),
        ("[lora]\nlearning_rate = []\n", r"needed a list of values"),
        ("[loar]\nlora_r = [4]\n", r"\[loar\] is not compared: .*lora"),
        ("lora = 3\n", r"lora must be a table"),
        ("[lora\n", r"not a TOML file"),
    ],
)
def test_a_space_with_an_impossible_value_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    settings = discovery.load("methods", "lora").Settings
    with pytest.raises(SettingsError, match=message):
        spaces.of_file(spaces.read(str(file), ["lora"])["lora"], settings, check, f"--search_space {file}: [lora]")


def test_a_space_of_a_file_is_read() -> None:
    record = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "lora_r": [4, 8]}
    found = {name: search_space.from_record(one, name) for name, one in record.items()}
    assert found == {"learning_rate": LogUniform(1e-4, 1e-2), "lora_r": Choice(4, 8)}
    recorded = search_space.records(found)
    assert {name: search_space.from_record(one, name) for name, one in recorded.items()} == found


def test_values_of_a_methods_own_space_that_do_not_fit_are_left_out_and_said() -> None:
    said: list[str] = []
    found = spaces.of_method({"lora_r": Choice(0, 4, 8), "learning_rate": LogUniform(1e-3, 1e-2)}, check, said.append)
    assert found["lora_r"] == Choice(4, 8) and "learning_rate" in found
    assert said == ["lora_r: 0 left out, as invalid for these data or this base"]


def test_what_the_user_gave_is_not_searched() -> None:
    found, taken = spaces.free(SPACE, {"alpha", "seed"})
    assert set(found) == {"rate"} and taken == ["alpha"]


def test_every_method_declares_a_space_of_its_own_settings() -> None:
    names = discovery.names("methods")
    assert len(names) >= 12
    for name in names:
        method = load_method(name)
        own = discovery.load("tasks", "classification").Settings
        fields = {field.name for kind in discovery.load("methods", name).Settings.__mro__ for field in _fields(kind)}
        fields |= {field.name for field in _fields(own)}
        space = method.search_space("classification")
        assert space or not method.trains or not method.needs_base, name
        for dimension, one in space.items():
            for value in search_space.ends(one):
                for setting in search_space.value(dimension, value):
                    assert setting in fields | {"num_train_epochs", "learning_rate"}, (name, setting)


def _fields(kind: type) -> Sequence[Any]:
    return tuple(getattr(kind, "__dataclass_fields__", {}).values())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tuning_trials", "-1"], "tuning_trials"),
        (["--tuning_seconds", "0"], "tuning_seconds"),
        (["--tuning_seconds", "9", "--tuning_tokens", "9"], "without another budget"),
        (["--tuning_seconds", "9", "--tuning_trials", "0"], "without --tuning_trials 0"),
        (["--tuner", "grid"], "random or optuna"),
        (["--tuner", "optuna", "--launcher", "slurm"], "scores of earlier trials"),
        (["--tuning_prompt_samples", "3"], "at least 10"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_read(flags: list[str], message: str) -> None:
    comparison = Comparison(None, task="classification", defaults={}, argv=["--train_file", "none.csv", *flags])
    with pytest.raises(UserError, match=message):
        comparison.check()


def test_a_trial_that_failed_by_itself_is_marked_beside_its_folder(tmp_path: Path) -> None:
    assert failure(tmp_path / "lora-minilm-trial-0.5") == tmp_path / "lora-minilm-trial-0.5.failed"


@pytest.mark.parametrize("contents", ["The loss is nan.", json.dumps({"error": "The loss is nan.", "seconds": 4.5})])
def test_a_failure_is_read_with_its_seconds_and_an_older_one_without(contents: str, tmp_path: Path) -> None:
    run = PlannedRun(method="lora", base="", seed=0, settings={"trial": True})
    (tmp_path / "runs").mkdir()
    failure(run_folder(run, tmp_path)).write_text(contents)
    outcome = execute(run, tmp_path, Share())
    assert outcome.error == "The loss is nan." and (outcome.seconds == 4.5) == contents.startswith("{")
