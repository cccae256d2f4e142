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
