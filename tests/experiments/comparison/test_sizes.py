"""Trainings are long enough for few examples, unless the user says how long."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.core.settings import SHORTEST
from adapters.experiments.comparison.comparison import Comparison


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ([], SHORTEST),
        (["--max_train_steps", "9"], None),
        (["--train_sizes", "50,all"], SHORTEST),
        (["--train_sizes", "50,all", "--num_train_epochs", "3"], None),
        (["--train_sizes", "50,all", "--max_train_steps", "9"], None),
        (["--train_sizes", "50,all", "--min_train_steps", "30"], 30),
    ],
)
def test_few_examples_have_steps_enough_unless_a_length_is_given(flags: list[str], steps: Any) -> None:
    argv = ["--train_file", "none.csv", "--methods", "head", "--seeds", "1", *flags]
    comparison = Comparison(None, task="classification", defaults={"num_train_epochs": 5.0}, argv=argv)
    assert {run.settings["min_train_steps"] for run in comparison.plan()} == {steps}


@pytest.mark.parametrize(
    ("flags", "varied", "steps"),
    [
        ([], {}, SHORTEST),
        ([], {"num_train_epochs": 10.0}, 2 * SHORTEST),
        ([], {"num_train_epochs": 3.0}, round(0.6 * SHORTEST)),
        ([], {"num_train_epochs": 1.0, "min_train_steps": 7}, 7),
        (["--num_train_epochs", "5"], {"num_train_epochs": 10.0}, None),
        (["--min_train_steps", "30"], {"num_train_epochs": 10.0}, 30),
    ],
)
def test_a_search_over_epochs_is_one_over_the_least_steps_too(flags: list[str], varied: Any, steps: Any) -> None:
    argv = ["--train_file", "none.csv", "--methods", "lora", "--seeds", "1", *flags]
    comparison = Comparison(None, task="classification", defaults={"num_train_epochs": 5.0}, argv=argv)
    assert comparison._settings_of("lora", varied).min_train_steps == steps
