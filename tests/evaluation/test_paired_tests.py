"""Paired tests against exact ones, brute force and simulation: intervals cover, false alarms are as rare as said."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.stats

from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.evaluation.significance import bootstrap, holm, paired, swapped_sums

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def f1() -> Metric:
    return load_metric("entity_f1", LABELS)


def counts(generator: np.random.Generator, gold: np.ndarray, right: float, extra: float) -> np.ndarray:
    """int64 `[examples, 6]` of a predictor that finds a share of the gold entities `[examples, 2]` and invents some."""
    hit = generator.binomial(gold, right)
    return np.concatenate([hit, hit + generator.poisson(extra, gold.shape), gold], axis=1)


def value(metric: Metric, rows: np.ndarray) -> float:
    return float(metric.scores(rows.sum(0))["f1"])


def test_a_random_swap_test_of_few_examples_is_the_exact_one_over_all_swaps(f1: Metric) -> None:
    generator = np.random.default_rng(3)
    gold = generator.poisson(1.5, (9, 2))
    one, other = counts(generator, gold, 0.9, 0.2), counts(generator, gold, 0.5, 0.5)
    observed = abs(value(f1, one) - value(f1, other))
    larger = 0
    for swaps in product([False, True], repeat=len(gold)):
        chosen = np.array(swaps)[:, None]
        a, b = np.where(chosen, other, one), np.where(chosen, one, other)
        larger += abs(value(f1, a) - value(f1, b)) >= observed - 1e-12
    exact = larger / 2 ** len(gold)
    found = paired(f1, one, other, resamples=20_000)
    assert found.difference == pytest.approx(value(f1, one) - value(f1, other))
    assert found.p == pytest.approx(exact, abs=0.01)


def test_the_p_value_of_a_mean_is_scipys(f1: Metric) -> None:
    """With one gold and one predicted entity an example, F1 is the share of hits: a mean, which scipy can test."""
    generator = np.random.default_rng(0)
    hits = generator.binomial(1, [0.8, 0.65], (60, 2))
    ones, zeros = np.ones(60, dtype=np.int64), np.zeros(60, dtype=np.int64)
    one, other = (np.stack([hits[:, i], zeros, ones, zeros, ones, zeros], axis=1) for i in (0, 1))
    found = paired(f1, one, other, resamples=20_000)
    theirs = scipy.stats.permutation_test(
        (hits[:, 0], hits[:, 1]),
        lambda a, b: a.mean() - b.mean(),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    assert found.p == pytest.approx(theirs.pvalue, abs=0.015)
    spread = np.sqrt(np.var(hits[:, 0] - hits[:, 1], ddof=0) / 60)
    assert found.detectable == pytest.approx(
        (scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)) * spread, rel=0.05
    )
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


@pytest.mark.slow
def test_intervals_cover_the_true_score_93_to_97_times_in_100(f1: Metric) -> None:
    generator = np.random.default_rng(11)
    many = generator.poisson(0.7, (2_000_000, 2))
    truth = value(f1, counts(generator, many, 0.8, 0.15))
    covered = 0
    for repeat in range(1000):
        rows = counts(generator, generator.poisson(0.7, (300, 2)), 0.8, 0.15)
        low, high = bootstrap(f1, rows, seed=repeat, resamples=1000)["f1"]
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_two_equal_predictors_differ_by_chance_as_often_as_the_level_says(f1: Metric) -> None:
    """Predictors of equal quality that err on different examples: at 5 % they differ 3.5 to 6.5 times in 100."""
    generator = np.random.default_rng(5)
    alarms = 0
    for repeat in range(1000):
        gold = generator.poisson(0.7, (200, 2))
        one, other = counts(generator, gold, 0.75, 0.2), counts(generator, gold, 0.75, 0.2)
        alarms += paired(f1, one, other, seed=repeat, resamples=500).p < 0.05
    assert 35 <= alarms <= 65


def test_a_difference_as_large_as_the_detectable_one_is_found_about_four_times_in_five(f1: Metric) -> None:
    generator = np.random.default_rng(6)
    ones, found, claimed = np.ones(400, dtype=np.int64), 0, []
    for repeat in range(400):
        rows = []
        for right in (0.8, 0.7175):
            hit = generator.binomial(1, right, 400)
            rows.append(np.stack([hit, 0 * hit, ones, 0 * hit, ones, 0 * hit], axis=1))
        result = paired(f1, rows[0], rows[1], seed=repeat, resamples=400)
        found += result.p < 0.05
        claimed.append(result.detectable)
    assert np.mean(claimed) == pytest.approx(0.0825, abs=0.004)  # so the true difference is the detectable one
    assert 0.68 <= found / 400 <= 0.86  # the exact test is a little more careful than the formula


def test_equal_answers_differ_by_nothing(f1: Metric) -> None:
    rows = counts(np.random.default_rng(0), np.random.default_rng(1).poisson(1.0, (50, 2)), 0.8, 0.1)
    found = paired(f1, rows, rows)
    assert (found.difference, found.low, found.high, found.p, found.detectable) == (0, 0, 0, 1, 0)


def test_the_order_of_the_two_changes_signs_alone(f1: Metric) -> None:
    generator = np.random.default_rng(8)
    gold = generator.poisson(1.0, (80, 2))
    one, other = counts(generator, gold, 0.9, 0.1), counts(generator, gold, 0.7, 0.1)
    there, back = paired(f1, one, other), paired(f1, other, one)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert back.p == pytest.approx(there.p, abs=0.01)


def test_swaps_are_those_of_a_slow_obvious_version(f1: Metric) -> None:
    """Each example is swapped in half of the draws, alone and together with each other one in a quarter."""
    changes = np.eye(10, dtype=np.int64)
    moved = swapped_sums(changes, seed=0, resamples=8000)
    assert set(np.unique(moved)) == {0.0, 1.0}
    assert moved.mean(0) == pytest.approx(np.full(10, 0.5), abs=0.03)
    together = moved.T @ moved / len(moved)
    assert together[~np.eye(10, dtype=bool)] == pytest.approx(np.full(90, 0.25), abs=0.03)
    again = swapped_sums(changes, seed=0, resamples=8000)
    assert (moved == again).all() and (moved != swapped_sums(changes, seed=1, resamples=8000)).any()
    assert not swapped_sums(np.zeros((4, 3), dtype=np.int64), seed=0, resamples=7).any()


def test_holm_is_what_the_paper_says() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_alarms_falsely_in_one_family_of_twenty() -> None:
    generator = np.random.default_rng(2)
    alarms = sum(min(holm(list(generator.uniform(size=7)))) < 0.05 for _ in range(4000))
    assert 0.038 <= alarms / 4000 <= 0.062
