"""The mean over tasks: equal to the effects of one task where there is one, and right as often as it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from adapters.evaluation import mean_over_tasks, random_effects
from adapters.evaluation.differences import differences, row_error
from adapters.evaluation.mean_over_tasks import TaskCounts
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.random_effects import moderated

METRIC = load_metric("accuracy", ("a", "b"))
SIZES = (100, 150, 400)
RATES = (0.6, 0.75, 0.9)


def accuracy_counts(right: np.ndarray) -> np.ndarray:
    """int64 `[runs, examples, 6]` of answers that are right or wrong `[runs, examples]`."""
    none, one = np.zeros_like(right), np.ones_like(right)
    return np.stack([right, none, one, none, one, none], axis=2).astype(np.int64)


def task(right: np.ndarray) -> TaskCounts:
    return TaskCounts(metric=METRIC, score="accuracy", counts=accuracy_counts(right))


def drawn(
    generator: np.random.Generator, *, rows: int, runs: int, spread: float, shared: float = 0.0
) -> list[list[TaskCounts]]:
    """Tasks of rows whose true accuracies are `RATES`: examples of their own difficulty, runs of their own luck.

    A run's luck moves all of its tasks alike, and `shared` is the correlation of the luck of two rows' runs.
    """
    out: list[list[TaskCounts]] = [[] for _ in range(rows)]
    together = generator.standard_normal((runs, 1))
    luck = [np.sqrt(shared) * together + np.sqrt(1 - shared) * generator.standard_normal((runs, 1)) for _ in out]
    for n, rate in zip(SIZES, RATES, strict=True):
        at = scipy.stats.norm.ppf(rate)
        moved = spread * np.sqrt(2) / scipy.stats.norm.pdf(at)
        difficulty = generator.standard_normal(n)
        for own, of_run in zip(out, luck, strict=True):
            latent = at * np.sqrt(2 + moved**2) + difficulty + moved * of_run + generator.standard_normal((runs, n))
            own.append(task(latent > 0))
    return out


def test_of_one_task_the_mean_is_that_tasks_score_to_the_last_number() -> None:
    right = np.random.default_rng(0).binomial(1, 0.7, (3, 60))
    counts = accuracy_counts(right)
    one = mean_over_tasks.effects([task(right)], draws=(0, 1, 2))
    other = random_effects.effects(METRIC, counts, "accuracy", draws=(0, 1, 2))
    for name in ("values", "influence", "interaction", "spread", "freedom", "seeded", "pseudo", "draws"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-12), name
    found = mean_over_tasks.resampled_scores([[task(right)], [task(1 - right)]], seed=5, resamples=40)
    both = [counts, accuracy_counts(1 - right)]
    assert np.allclose(found, random_effects.resampled_scores(METRIC, both, "accuracy", seed=5, resamples=40))


def test_the_variance_of_the_pseudo_values_is_that_of_a_mean_over_strata() -> None:
    generator = np.random.default_rng(1)
    answers = [generator.binomial(1, rate, (1, n)) for n, rate in zip(SIZES, RATES, strict=True)]
    found = mean_over_tasks.effects([task(right) for right in answers])
    assert found.value == pytest.approx(np.mean([right.mean() for right in answers]))
    expected = sum(right.var() / right.size for right in answers) / len(SIZES) ** 2
    assert found.influence.var() / len(found.influence) == pytest.approx(expected)
    resampled = mean_over_tasks.resampled_scores([[task(right) for right in answers]], seed=0, resamples=4000)
    assert resampled.var() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("score", ["accuracy", "macro_f1"])
def test_a_score_is_resampled_as_its_metric_scores_it_whether_it_is_a_mean_of_examples_or_not(score: str) -> None:
    right = np.random.default_rng(6).binomial(1, 0.7, (2, 90))
    counts = accuracy_counts(right)
    counts[:, ::3] = np.roll(counts[:, ::3], 1, axis=2)  # some examples of the other class
    one = TaskCounts(metric=METRIC, score=score, counts=counts)
    found = mean_over_tasks.resampled_scores([[one]], seed=2, resamples=500)
    expected = random_effects.resampled_scores(METRIC, [counts], score, seed=2, resamples=500)
    assert np.allclose(found, expected, rtol=0, atol=1e-9)


def test_all_rows_are_resampled_alike_and_the_tasks_independently() -> None:
    (row,) = drawn(np.random.default_rng(2), rows=1, runs=1, spread=0.0)
    same = mean_over_tasks.resampled_scores([row, row], seed=3, resamples=50)
    assert (same[:, 0] == same[:, 1]).all()
    still = task(np.ones((1, len(row[1].counts[0])), int))
    one, other = (
        mean_over_tasks.resampled_scores([tasks], seed=3, resamples=2000)
        for tasks in ([row[1], still], [still, row[1]])
    )
    assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.08


@pytest.mark.parametrize(("spread", "runs", "shared"), [(0.0, 1, 0.0), (0.02, 3, 0.0), (0.02, 4, 0.7)])
def test_equal_strategies_differ_as_often_as_the_level_says_and_intervals_hold_the_truth(
    spread: float, runs: int, shared: float
) -> None:
    """At 5 %, 150 comparisons of unequal tasks; 7.5 alarms are expected, with a standard deviation of 2.7."""
    generator = np.random.default_rng(3)
    truth, alarms, covered, held = float(np.mean(RATES)), 0, 0, 0
    draws: Sequence[int] = range(runs) if shared else ()
    for repeat in range(150):
        tables = drawn(generator, rows=2, runs=runs, spread=spread, shared=shared)
        rows = moderated([mean_over_tasks.effects(own, draws=draws) for own in tables])
        resampled = mean_over_tasks.resampled_scores(tables, seed=3 * repeat, resamples=250)
        (found,) = differences(rows, resampled, [(0, 1)], seed=repeat, resamples=250)
        alarms += found.p < 0.05
        covered += found.low <= 0 <= found.high
        error = row_error(rows[0], resampled[:, 0])
        held += rows[0].value + error.quantile(0.025) <= truth <= rows[0].value + error.quantile(0.975)
    assert 1 <= alarms <= 15
    assert covered >= 134 and held >= 134


def test_a_small_task_counts_as_much_as_a_large_one() -> None:
    generator = np.random.default_rng(4)
    large, small = generator.binomial(1, 0.5, (1, 900)), np.ones((1, 10), int)
    rows = [mean_over_tasks.effects([task(large), task(answers)]) for answers in (small, np.zeros((1, 10), int))]
    assert rows[0].value - rows[1].value == pytest.approx(0.5)
    assert mean_over_tasks.bounds([task(large), task(small)]) == (0.0, 1.0)
