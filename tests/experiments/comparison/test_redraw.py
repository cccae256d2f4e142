"""Draws of training examples: which runs of a comparison learn from which, and which records are alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import ComparisonError, SettingsError
from adapters.experiments.comparison import results
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.many_runs.planned_run import PlannedRun
from adapters.experiments.many_runs.record import Record


def comparison(*flags: str, **defaults: Any) -> Comparison:
    return Comparison(None, task="classification", defaults=defaults, argv=["--train_file", "none.csv", *flags])


def drawn(*flags: str, **defaults: Any) -> Mapping[tuple[str, str], list[tuple[int | None, int | None]]]:
    """By method and size, the limit and the draw of each planned run."""
    out: dict[tuple[str, str], list[tuple[int | None, int | None]]] = {}

    def of(run: PlannedRun) -> tuple[int | None, int | None]:
        return run.settings["max_train_samples"], run.settings["train_draw"]

    for run in comparison("--seeds", "2", *flags, **defaults).plan():
        out.setdefault((run.method, run.size), []).append(of(run))
    return out


def test_a_seed_is_a_draw_and_a_deterministic_method_that_learns_runs_once_a_draw() -> None:
    methods = ("--methods", "lora,tfidf,few_shot,zero_shot")
    found = drawn(*methods, "--redraw", "train", "--max_train_samples", "20")
    draws = [(20, 0), (20, 1)]
    assert found == {("lora", ""): draws, ("tfidf", ""): draws, ("few_shot", ""): draws, ("zero_shot", ""): draws[:1]}
    still = drawn(*methods, "--max_train_samples", "20")
    assert still == {
        **{key: [(20, None)] * 2 for key in found},
        ("tfidf", ""): still["tfidf", ""],
        ("zero_shot", ""): [(20, None)],
    }
    assert len(still["tfidf", ""]) == 1


def test_each_size_is_drawn_and_shots_without_a_limit_come_from_all_of_train() -> None:
    found = drawn("--methods", "lora,few_shot", "--redraw", "train", "--train_sizes", "50,20")
    assert found["lora", "50"] == [(50, 0), (50, 1)] and found["lora", "20"] == [(20, 0), (20, 1)]
    assert found["few_shot", ""] == [(None, None)] * 2


@pytest.mark.parametrize("flags", [["--train_sizes", "20,all"], [], ["--full"]])
def test_where_nothing_is_left_to_draw_it_is_refused_before_anything_is_read(flags: list[str]) -> None:
    """The recipe's own limit is none with --full."""
    defaults = {"max_train_samples": 300} if "--full" in flags else {}
    with pytest.raises(SettingsError, match="--redraw train: must be given with --max_train_samples"):
        comparison("--redraw", "train", *flags, **defaults).check()


def record(limit: str, **notes: Any) -> Record:
    train = {"digest": "d", "limit": limit, **notes}
    scores = {"cost": {"trainable_params": 9}, "dataset": {"sizes": {"train": 20}, "notes": {"train": train}}}
    return Record(folder=Path(f"{limit}-{notes}"), scores=scores, lines=[])


def test_other_draws_of_one_size_are_alike_and_other_differences_are_not() -> None:
    one = record("20 drawn", draw=0)
    results.check_alike([one, record("20 drawn", draw=1)])
    for other in (record("20 drawn"), record("20 drawn", draw=0, digest="e"), record("30 drawn", draw=0)):
        with pytest.raises(ComparisonError, match="training data: 20 examples"):
            results.check_alike([one, other])
