"""Draws of examples and of seeds: against scipy where one of them is missing, against simulation where both count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import scipy.stats

from adapters.core.holm import holm
from adapters.evaluation.differences import (
    Difference,
    Error,
    differences,
    lower_bounds,
    paired_spreads,
    row_error,
    swapped_means,
)
from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.evaluation.random_effects import Effects, effects, moderated, resampled_scores
from adapters.evaluation.significance import resampled_sums

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def f1() -> Metric:
    return load_metric("entity_f1", LABELS)


def entity_counts(generator: np.random.Generator, gold: np.ndarray, right: float, extra: float) -> np.ndarray:
    """int64 `[1, examples, 6]` of a run that finds a share of the gold entities `[examples, 2]` and invents some."""
    hit = generator.binomial(gold, right)
    return np.concatenate([hit, hit + generator.poisson(extra, gold.shape), gold], axis=1)[None]


def shares(right: np.ndarray) -> np.ndarray:
    """int64 `[seeds, examples, 6]` for which F1 is the mean of `right` `[seeds, examples]`, whole numbers of 1,000."""
    whole, none = np.full_like(right, 1000), np.zeros_like(right)
    return np.stack([right, none, whole, none, whole, none], axis=2)


def compare(
    metric: Metric,
    counts: Sequence[np.ndarray],
    *,
    seeded: bool = True,
    seed: int = 0,
    resamples: int = 20_000,
    borrow: bool = True,
    draws: Sequence[int] = (),
) -> tuple[list[Effects], list[Difference], np.ndarray]:
    """All pairs of methods, from their counts; the effects, the differences, the resampled scores."""
    rows = [effects(metric, own, "f1", seeded=seeded, draws=draws) for own in counts]
    rows = moderated(rows) if borrow else rows
    resampled = resampled_scores(metric, counts, "f1", seed=seed, resamples=resamples)
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    return rows, differences(rows, resampled, pairs, seed=seed, resamples=resamples), resampled


def test_without_seeds_the_p_value_of_a_mean_is_scipys(f1: Metric) -> None:
    generator = np.random.default_rng(0)
    hits = generator.binomial(1, [0.8, 0.65], (60, 2))
    _, (found,), _ = compare(f1, [shares(1000 * hits[None, :, i]) for i in (0, 1)], seeded=False)
    theirs = scipy.stats.permutation_test(
        (hits[:, 0], hits[:, 1]),
        lambda a, b: a.mean() - b.mean(),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    assert found.difference == pytest.approx(hits[:, 0].mean() - hits[:, 1].mean())
    assert found.p == pytest.approx(theirs.pvalue, abs=0.015)
    spread = np.sqrt(np.var(hits[:, 0] - hits[:, 1], ddof=0) / 60)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_of_a_few_examples_the_p_value_is_the_exact_one_over_all_swaps(f1: Metric) -> None:
    hits = np.random.default_rng(3).binomial(1, [0.9, 0.4], (10, 2))
    observed = abs((hits[:, 0] - hits[:, 1]).sum())
    sums = [abs(((hits[:, 0] - hits[:, 1]) * signs).sum()) for signs in product((1, -1), repeat=10)]
    exact = np.mean([one >= observed for one in sums])
    _, (found,), _ = compare(f1, [shares(1000 * hits[None, :, i]) for i in (0, 1)], seeded=False)
    assert found.p == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("better, worse, n", [(5, 0, 20), (7, 1, 100), (9, 2, 100), (11, 3, 300), (20, 10, 1000)])
def test_where_few_answers_differ_the_p_value_is_the_exact_one_of_their_signs(
    better: int, worse: int, n: int, f1: Metric
) -> None:
    """A swap as far as what was observed counts, so that the p-value is McNemar's exact one, and not less."""
    one, other = np.ones((2, n), np.int64)
    other[:better], one[better : better + worse] = 0, 0
    _, (found,), _ = compare(f1, [shares(1000 * hits[None]) for hits in (one, other)], seeded=False)
    exact = scipy.stats.binomtest(better, better + worse).pvalue
    assert found.p == pytest.approx(exact, rel=0.1)
    assert (found.detectable(1) >= scipy.stats.beta.ppf(0.8, 6, n - 5)) and found.detectable(1) < 1


@pytest.mark.parametrize("n, more, less", [(50, 0.02, 0.01), (100, 0.02, 0.01), (250, 0.01, 0.0), (500, 0.02, 0.01)])
def test_a_method_that_is_worse_by_the_margin_is_seldom_called_non_inferior(
    n: int, more: float, less: float, f1: Metric
) -> None:
    """Where both are nearly always right, few answers differ, and resampling them alone would say too much."""
    generator, called = np.random.default_rng(5), 0
    for repeat in range(400):
        kind = generator.choice(3, n, p=[more, less, 1 - more - less])
        one, other = kind != 0, kind != 1
        _, (found,), _ = compare(
            f1, [shares(1000 * hits[None].astype(np.int64)) for hits in (one, other)],
            seeded=False, seed=repeat, resamples=300,
        )  # fmt: skip
        called += found.lower_bound(0.05) > -(more - less)
    assert called <= 0.06 * 400 + 2 * np.sqrt(0.06 * 0.94 * 400)


@pytest.mark.parametrize("freedom", [2.0, 4.0, 12.0])
@pytest.mark.parametrize("tests", [1, 15])
def test_the_detectable_difference_has_its_power_where_seeds_alone_make_it_vary(freedom: float, tests: int) -> None:
    error = Error(draws=np.zeros(100), seeds=0.01, freedom=freedom)
    found = Difference(difference=0.0, p=1.0, error=error, around=error, units=10**6)
    critical = scipy.stats.t.isf(0.05 / tests / 2, freedom)
    power = scipy.stats.nct.sf(critical, freedom, found.detectable(tests) / 0.01)
    assert power == pytest.approx(0.8, abs=0.005)


def test_where_examples_do_not_vary_the_p_value_and_the_interval_are_welchs(f1: Metric) -> None:
    one, other = np.array([812, 805, 821, 797]), np.array([790, 801, 779])
    counts = [shares(np.repeat(values[:, None], 5000, axis=1)) for values in (one, other)]
    rows, (found,), resampled = compare(f1, counts, borrow=False, resamples=500)
    theirs = scipy.stats.ttest_ind(one / 1000, other / 1000, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue, abs=3e-3)
    interval = theirs.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    error = row_error(rows[0], resampled[:, 0])
    low, high = scipy.stats.t.interval(0.95, 3, loc=one.mean() / 1000, scale=scipy.stats.sem(one / 1000))
    assert rows[0].value + error.quantile(0.025) == pytest.approx(low, abs=1e-6)
    assert rows[0].value + error.quantile(0.975) == pytest.approx(high, abs=1e-6)


def test_the_parts_are_those_of_an_analysis_of_variance(f1: Metric) -> None:
    right = np.random.default_rng(2).integers(0, 1001, (4, 30))
    found = effects(f1, shares(right), "f1")
    table = right / 1000
    residual = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert found.values == pytest.approx(table.mean(1))
    assert found.influence == pytest.approx(table.mean(0))
    assert found.interaction == pytest.approx((residual**2).sum() / (29 * 3) / (30 * 4))
    assert found.spread == pytest.approx(scipy.stats.tvar(table.mean(1)))


def test_the_interaction_is_counted_once(f1: Metric) -> None:
    """Answers that are drawn anew for each seed and example: the mean's variance is that of all answers together."""
    generator = np.random.default_rng(4)
    claimed, means = [], []
    for _ in range(300):
        right = 1000 * generator.binomial(1, 0.7, (5, 100))
        row = effects(f1, shares(right), "f1")
        draws = right.mean(0)[generator.integers(0, 100, (200, 100))].mean(1) / 1000
        claimed.append(row_error(row, draws).size ** 2)
        means.append(row.value)
    assert np.mean(claimed) == pytest.approx(np.var(means), rel=0.25)
    assert np.var(means) == pytest.approx(0.7 * 0.3 / 500, rel=0.25)


def test_f1_is_taken_apart_by_the_jackknife(f1: Metric) -> None:
    generator = np.random.default_rng(7)
    gold = generator.poisson(1.0, (400, 2))
    counts = entity_counts(generator, gold, 0.8, 0.2)
    found = effects(f1, counts, "f1")
    assert found.influence.mean() == pytest.approx(found.value, abs=1e-3)
    drawn = f1.scores(resampled_sums(counts[0], seed=0, resamples=4000))["f1"]
    assert found.influence.std() / np.sqrt(400) == pytest.approx(drawn.std(), rel=0.06)


def test_a_method_that_no_seed_moves_adds_nothing_and_one_trained_model_says_so(f1: Metric) -> None:
    right = 1000 * np.random.default_rng(1).binomial(1, 0.6, (1, 80))
    one = effects(f1, shares(np.repeat(right, 3, axis=0)), "f1")
    assert (one.seeded, one.seed_error, one.of_one_model) == (False, 0, False)
    assert effects(f1, shares(right), "f1").of_one_model
    assert not effects(f1, shares(right), "f1", seeded=False).of_one_model


def made(spread: float, freedom: float = 2.0) -> Effects:
    return Effects(
        values=np.zeros(3), influence=np.zeros(5), interaction=0.0, spread=spread, freedom=freedom, seeded=True
    )


def test_alike_spreads_are_pooled_upwards_and_a_restless_method_keeps_its_own() -> None:
    alike = moderated([made(1.0), made(1.4), made(0.8), made(1.2)])
    assert [row.spread for row in alike] == pytest.approx([1.1, 1.4, 1.1, 1.2])
    assert [row.freedom for row in alike] == [8, 2, 8, 2]
    restless = moderated([made(1e-3), made(1.1e-3), made(0.9e-3), made(1.0)])
    assert (restless[3].spread, restless[3].freedom) == (1.0, 2)
    still = Effects(
        values=np.zeros(1), influence=np.zeros(5), interaction=0.0, spread=0.0, freedom=np.inf, seeded=False
    )
    other = made(1.0)
    assert all(one is same for one, same in zip(moderated([still, other]), (still, other), strict=True))


def test_the_prior_of_many_spreads_is_found_again() -> None:
    """Spreads drawn with a prior of 8 degrees of freedom around 2 (Smyth 2004, eq. 2): those raised have about 10."""
    generator = np.random.default_rng(0)
    true = 8 * 2.0 / generator.chisquare(8, 4000)
    rows = moderated([made(value) for value in true * generator.chisquare(2, 4000) / 2])
    raised = [row.freedom for row in rows if row.freedom > 2]
    assert raised[0] == pytest.approx(10, abs=1) and len(set(raised)) == 1


def table(
    generator: np.random.Generator,
    examples: int,
    spreads: Sequence[float],
    seeds: int,
    rate: float = 0.8,
    shared: float = 0.0,
) -> list[np.ndarray]:
    """Counts of methods of equal expected accuracy: examples of their own difficulty, seeds of their own luck.

    `shared` is the correlation of the luck of two methods' runs of one number.
    """
    at = scipy.stats.norm.ppf(rate)
    difficulty = generator.standard_normal(examples)
    together = generator.standard_normal((seeds, 1))
    out = []
    for spread in spreads:
        luck = spread * np.sqrt(2) / scipy.stats.norm.pdf(at)
        middle = at * np.sqrt(2 + luck**2)
        moved = np.sqrt(shared) * together + np.sqrt(1 - shared) * generator.standard_normal((seeds, 1))
        latent = middle + difficulty + luck * moved
        out.append(shares(1000 * (latent + generator.standard_normal((seeds, examples)) > 0)))
    return out


@pytest.mark.parametrize(
    ("examples", "spreads", "seeds"),
    [(1000, (0.01, 0.01), 3), (1000, (0.005, 0.03), 3), (300, (0.02, 0.02), 5)],
)
def test_equal_methods_differ_about_as_often_as_the_level_says(
    f1: Metric, examples: int, spreads: tuple[float, float], seeds: int
) -> None:
    """At 5 %, 300 comparisons; resampling examples alone is wrong in 13 to 40 % of them."""
    generator = np.random.default_rng(5)
    alarms = covered = examples_alone = 0
    for repeat in range(300):
        counts = table(generator, examples, spreads, seeds)
        rows, (found,), _ = compare(f1, counts, seed=repeat, resamples=300)
        alarms += found.p < 0.05
        covered += found.low <= 0 <= found.high
        spread = (rows[0].influence - rows[1].influence).std() / np.sqrt(examples)
        examples_alone += abs(found.difference) > 1.96 * spread
    assert 3 <= alarms <= 26  # 5 % of 300 is 15, with a standard deviation of 3.8; few seeds are careful
    assert covered >= 273
    assert examples_alone > 30


@pytest.mark.parametrize(("spread", "seeds", "shared"), [(0.02, 3, 0.5), (0.03, 5, 0.9)])
def test_methods_that_share_their_draws_are_compared_by_draw(
    f1: Metric, spread: float, seeds: int, shared: float
) -> None:
    """As often wrong as the level says, and more precise than as two samples, which counts the shared luck twice."""
    generator = np.random.default_rng(11)
    alarms = covered = 0
    apart, paired = [], []
    for repeat in range(300):
        counts = table(generator, 400, (spread, spread), seeds, shared=shared)
        _, (found,), _ = compare(f1, counts, seed=repeat, resamples=300, draws=range(seeds))
        _, (other,), _ = compare(f1, counts, seed=repeat, resamples=300)
        alarms += found.p < 0.05
        covered += found.low <= 0 <= found.high
        paired.append(found.standard_errors[1] ** 2)
        apart.append(other.standard_errors[1] ** 2)
    assert 3 <= alarms <= 26 and covered >= 273
    saved = 2 * shared * spread**2 / seeds  # what the two have in common; the interaction they do not share
    assert np.mean(apart) - np.mean(paired) == pytest.approx(saved, rel=0.35)


def test_pairs_that_share_their_draws_borrow_of_each_others_spread(f1: Metric) -> None:
    """A family of five by three draws: as careful as said, and able to find what three differences alone cannot."""
    generator = np.random.default_rng(12)
    alarms = found = alone = 0
    for repeat in range(100):
        counts = table(generator, 400, (0.02,) * 5, 3, shared=0.7)
        _, equal, _ = compare(f1, counts, seed=repeat, resamples=300, draws=range(3))
        alarms += min(holm([one.p for one in equal])) < 0.05
        counts[4] = counts[4].copy()
        counts[4][:, generator.random(400) < 0.08, 0] = 0
        rows, tests, _ = compare(f1, counts, seed=repeat, resamples=300, draws=range(3))
        found += holm([one.p for one in tests])[3] < 0.05
        pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
        spreads = paired_spreads(rows, pairs)
        for (i, j), one in spreads.items():
            own = float((rows[i].values - rows[j].values).var(ddof=1))
            assert one.spread >= own * (1 - 1e-9) and 2 <= one.freedom <= 2 * 4
        alone += all(one.freedom == 2 for one in spreads.values())
    assert alarms <= 11  # 5 % of 100, and three standard deviations
    assert found >= 10  # by the spread of three differences alone, hardly any
    assert alone < 50


def test_draws_that_are_not_the_same_are_no_pairs(f1: Metric) -> None:
    counts = table(np.random.default_rng(3), 100, (0.05, 0.05), 3)
    one, other = (effects(f1, own, "f1", draws=d) for own, d in zip(counts, ((0, 1, 2), (0, 1, 3)), strict=True))
    alone = [effects(f1, own, "f1") for own in counts]
    resampled = resampled_scores(f1, counts, "f1", seed=0, resamples=200)
    found, expected = (differences(rows, resampled, [(0, 1)], seed=0, resamples=200) for rows in ([one, other], alone))
    assert found[0].p == expected[0].p


def test_a_family_of_equal_methods_seldom_raises_an_alarm(f1: Metric) -> None:
    generator = np.random.default_rng(9)
    alarms = 0
    for repeat in range(150):
        _, found, _ = compare(f1, table(generator, 400, (0.0, 0.01, 0.01, 0.03), 3), seed=repeat, resamples=300)
        alarms += min(holm([one.p for one in found])) < 0.05
    assert alarms <= 16


def test_a_difference_as_large_as_the_detectable_one_is_found_about_four_times_in_five(f1: Metric) -> None:
    generator = np.random.default_rng(6)
    found, claimed = 0, []
    for repeat in range(300):
        rows = [shares(1000 * generator.binomial(1, rate, (1, 400))) for rate in (0.8, 0.7175)]
        _, (result,), _ = compare(f1, rows, seeded=False, seed=repeat, resamples=400)
        found += result.p < 0.05
        claimed.append(result.detectable(1))
    assert np.mean(claimed) == pytest.approx(0.0825, abs=0.004)  # so the true difference is the detectable one
    assert 0.7 <= found / 300 <= 0.88
    assert result.detectable(10) > 1.2 * result.detectable(1)  # a family asks for more


def test_equal_answers_differ_by_nothing(f1: Metric) -> None:
    gold = np.random.default_rng(1).poisson(1.0, (50, 2))
    rows = entity_counts(np.random.default_rng(0), gold, 0.8, 0.1)
    _, (found,), _ = compare(f1, [rows, rows], resamples=500)
    assert (found.difference, found.p) == (0, 1)
    unseen = scipy.stats.binomtest(0, 50).proportion_ci(0.95, method="exact").high  # nothing is known of other examples
    assert found.high == pytest.approx(unseen) and found.low == -found.high


def all_alike(value: int, examples: int) -> np.ndarray:
    """Counts of one run whose every example has the same score, 0 or 1."""
    return shares(np.full((1, examples), 1000 * value))


def test_few_equal_answers_do_not_make_two_methods_non_inferior(f1: Metric) -> None:
    """Seven answers that are right by both say little; 299 are enough for a margin of a point."""
    for n, within in ((7, 0.348), (298, 0.01001), (299, 0.00997)):
        _, (found,), _ = compare(f1, [all_alike(1, n)] * 2, resamples=200)
        assert lower_bounds(range(2), {(0, 1): found}) == pytest.approx({0: -within, 1: -within}, rel=2e-3)
        exact = scipy.stats.binomtest(0, n, alternative="less").proportion_ci(0.95, method="exact").high
        assert found.lower_bound(0.05) == pytest.approx(-exact)
    _, (found,), _ = compare(f1, [all_alike(1, 7), all_alike(0, 7)], resamples=200)
    assert found.difference == found.high == 1 and found.low == pytest.approx(1 - 2 * 0.41, abs=0.01)


def test_the_detectable_difference_of_equal_answers_is_that_of_an_exact_test(f1: Metric) -> None:
    for n, tests in ((40, 1), (300, 6)):
        _, (found,), _ = compare(f1, [all_alike(1, n)] * 2, resamples=200)
        needed = next(k for k in range(1, n) if scipy.stats.binomtest(k, k).pvalue <= 0.05 / tests)
        assert scipy.stats.binom.sf(needed - 1, n, found.detectable(tests)) == pytest.approx(0.8)
    _, (found,), _ = compare(f1, [all_alike(1, 5)] * 2, resamples=200)
    assert found.detectable(1) == 1, "no result of five answers is significant"


def test_no_interval_goes_beyond_what_scores_can_differ_by(f1: Metric) -> None:
    draw = np.random.default_rng(0)
    rows = [
        np.concatenate([shares(1000 * (draw.random((1, 7)) < share)) for share in each])
        for each in ((0.1, 0.9), (1.0, 0.2))
    ]
    _, (found,), _ = compare(f1, rows, resamples=500)
    assert -1 <= found.low < found.high <= 1 and found.detectable(3) <= 1


def test_the_order_of_the_two_changes_signs_alone(f1: Metric) -> None:
    counts = table(np.random.default_rng(8), 200, (0.02, 0.02), 3)
    _, (there,), _ = compare(f1, counts)
    _, (back,), _ = compare(f1, counts[::-1])
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=2e-3)
    assert back.p == pytest.approx(there.p, abs=0.01)


def test_swaps_are_those_of_a_slow_obvious_version() -> None:
    """Each example is swapped in half of the draws, alone and together with each other one in a quarter."""
    moved = 10 * swapped_means(np.eye(10), seed=0, resamples=8000)
    assert set(np.unique(np.round(moved, 9))) == {-1.0, 1.0}
    assert moved.mean(0) == pytest.approx(np.zeros(10), abs=0.06)
    together = moved.T @ moved / len(moved)
    assert together == pytest.approx(np.eye(10), abs=0.06)
    again = 10 * swapped_means(np.eye(10), seed=0, resamples=8000)
    assert (moved == again).all()
    assert not swapped_means(np.zeros((4, 3)), seed=0, resamples=7).any()
