"""The grid of conditions, and ensembles of them."""

from __future__ import annotations

from adapters.experiments.prompt_lab.predictors import ensembles, grid


def test_an_ensemble_of_the_same_members_is_one_however_it_is_asked_for() -> None:
    found = ensembles(grid(["a", "b"], [0, 4], 3), ["prompts", "seeds", "prompts+seeds"])
    members = [one.members for one in found]
    assert len(set(members)) == len(members)
    without = [one for one in found if one.shots == 0]
    assert [one.prompt for one in without] == ["a + b"]
