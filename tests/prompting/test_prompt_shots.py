"""Shots are drawn by the seed alone, each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import SettingsError
from adapters.prompting.shots import draw
from adapters.tasks import Example

TRAIN = [Example(id=str(number), inputs={"tokens": [str(number)]}) for number in range(40)]


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_shots_are_different_training_examples_and_the_same_for_a_seed(number: int, seed: int) -> None:
    shots = draw(TRAIN, number, seed)
    assert len({shot.id for shot in shots}) == len(shots) == number
    assert all(shot in TRAIN for shot in shots)
    assert draw(tuple(TRAIN), number, seed) == shots


def test_another_seed_draws_others_in_another_order() -> None:
    drawn = {tuple(shot.id for shot in draw(TRAIN, 5, seed)) for seed in range(50)}
    assert len(drawn) == 50
    assert len({frozenset(shots) for shots in drawn}) > 45
    assert len({tuple(shot.id for shot in draw(TRAIN[:3], 3, seed)) for seed in range(50)}) == 6
    assert len({shot for shots in drawn for shot in shots}) == len(TRAIN)


def test_a_seed_draws_the_same_in_every_process_and_version() -> None:
    assert [shot.id for shot in draw(TRAIN, 5, 0)] == ["14", "35", "19", "27", "13"]


@pytest.mark.parametrize(("number", "there"), [(41, 40), (1, 0), (10**9, 3)])
def test_more_shots_than_examples_are_refused(number: int, there: int) -> None:
    with pytest.raises(SettingsError, match=f"--shots {number}: there are {there} training examples"):
        draw(TRAIN[:there], number, 0)


def test_no_shots_need_no_examples() -> None:
    assert draw([], 0, 0) == []
