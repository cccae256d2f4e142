"""Correlations and errors of numbers are scipy's and scikit-learn's, from counts that add up."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from compared import compared
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr, zscore
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from adapters.evaluation.evaluate import evaluate
from adapters.evaluation.metrics.base import resampled
from adapters.evaluation.metrics.base.metric import task_metrics
from adapters.evaluation.metrics.base.resampled import RESAMPLES
from adapters.evaluation.metrics.pearson import Metric as Pearson
from adapters.evaluation.metrics.rmse import Metric as Rmse
from adapters.evaluation.metrics.spearman import Metric as Spearman
from adapters.evaluation.metrics.spearman import ranks
from adapters.evaluation.significance import bootstrap, resampled_sums
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.regression import Task

numbers = st.one_of(
    st.integers(-3, 3).map(float),  # ties
    st.floats(-1e6, 1e6, allow_nan=False, width=32),
)
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30)


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not cost the interval."""
    monkeypatch.setattr(resampled, "INTERVAL_SECONDS", math.inf)


def noisy(examples: int, *, noise: float, seed: int = 0) -> tuple[list[float], list[float]]:
    """Numbers from 0 to 5 in steps, and predictions of them."""
    draw = np.random.default_rng(seed)
    golds = draw.integers(0, 26, size=examples) / 5
    return golds.tolist(), (golds + noise * draw.normal(size=examples)).tolist()


def defined(golds: list[float], found: list[float]) -> bool:
    """Whether both sides vary by more than what rounding leaves of their largest number."""
    return all(np.ptp(side) > 1e-6 * np.abs(side).max() for side in (golds, found))


@settings(max_examples=200, deadline=None)
@given(pairs)
def test_pearson_is_scipys(drawn: list[tuple[float, float]]) -> None:
    golds, found = map(list, zip(*drawn, strict=True))
    score = Pearson(()).score_all(golds, found)["pearson"]
    assert -1 <= score <= 1
    if defined(golds, found):
        assert score == pytest.approx(pearsonr(golds, found)[0], abs=1e-8)
    elif min(np.ptp(golds), np.ptp(found)) == 0:
        assert score == 0


@settings(max_examples=200, deadline=None)
@given(pairs)
def test_spearman_is_scipys(drawn: list[tuple[float, float]]) -> None:
    golds, found = map(list, zip(*drawn, strict=True))
    assert ranks(golds) == rankdata(golds).tolist()
    score = Spearman(()).score_all(golds, found)["spearman"]
    if min(np.ptp(golds), np.ptp(found)) > 0:
        assert score == pytest.approx(spearmanr(golds, found)[0], abs=1e-9)
    else:
        assert score == 0


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_errors_are_scikit_learns(drawn: list[tuple[float, float]]) -> None:
    golds, found = map(list, zip(*drawn, strict=True))
    scores = Rmse(()).score_all(golds, found)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(golds, found))
    assert scores["mae"] == pytest.approx(mean_absolute_error(golds, found))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.7e9, 1.0), (-3.0, 1e-9), (2020.0, 1e80)])
def test_a_correlation_keeps_its_digits_far_from_zero_and_at_any_scale(shift: float, scale: float) -> None:
    golds, found = noisy(50, noise=1.0)
    expected = pearsonr(golds, found)[0]
    moved = [[scale * number + shift for number in side] for side in (golds, found)]
    tolerance = 1e-6 if scale < 1 or shift > 1e6 else 1e-12  # the numbers themselves lose digits
    assert Pearson(()).score_all(*moved)["pearson"] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("constant", [0.0, 0.1, -2.5, 1 / 3, 1e9 + 0.1])
def test_equal_predictions_correlate_with_nothing_and_the_report_says_so(constant: float) -> None:
    golds, _ = noisy(37, noise=0)
    for pair in ((golds, [constant] * 37), ([constant] * 37, golds)):
        metric = Pearson(())
        counts = metric.count_all(*pair)
        assert float(metric.scores(counts.sum(0))["pearson"]) == 0
        assert "All numbers of one side are equal" in metric.sections(counts.sum(0))[0].remark
        assert bootstrap(metric, counts, resamples=50)["pearson"] == (0, 0)
        assert Spearman(()).score_all(*pair)["spearman"] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(pearsonr(golds, [constant] * 37)[0])


def test_the_table_shows_mean_and_deviation_of_both_sides() -> None:
    golds, found = noisy(40, noise=2.0)
    metric = Pearson(())
    (section,) = metric.sections(metric.count_all(golds, found).sum(0))
    rows = dict(section.rows)
    assert rows["gold"] == pytest.approx((np.mean(golds), np.std(golds)))
    assert rows["predicted"] == pytest.approx((np.mean(found), np.std(found)))
    assert section.as_given and f"{pearsonr(golds, found)[0]:.4f}" in section.remark


def test_intervals_are_those_of_scoring_each_resample_anew() -> None:
    golds, found = noisy(30, noise=1.5)
    counts = {metric: metric.count_all(golds, found) for metric in (Pearson(()), Rmse(()))}
    bounds = {name: pair for metric, own in counts.items() for name, pair in bootstrap(metric, own, seed=3).items()}
    drawn = resampled_sums(np.eye(30), seed=3, resamples=10_000).astype(int)
    scores: dict[str, list[float]] = {"pearson": [], "rmse": [], "mae": []}
    for times in drawn:
        gold, predicted = np.repeat(golds, times), np.repeat(found, times)
        scores["pearson"].append(np.corrcoef(gold, predicted)[0, 1])
        scores["rmse"].append(np.sqrt(np.mean((gold - predicted) ** 2)))
        scores["mae"].append(np.abs(gold - predicted).mean())
    for name, values in scores.items():
        assert bounds[name] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-9), name


def test_the_interval_of_ranks_is_near_that_of_scipy_on_other_draws() -> None:
    golds, found = noisy(60, noise=1.5)
    quality, remark = Spearman(()).quality(golds, found, 0)
    draw = np.random.default_rng(7)
    slow = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, 60, size=60)
        slow.append(spearmanr(np.take(golds, chosen), np.take(found, chosen))[0])
    assert quality["spearman"]["value"] == pytest.approx(spearmanr(golds, found)[0])
    expected = np.percentile(slow, [2.5, 97.5])
    np.testing.assert_allclose([quality["spearman"]["low"], quality["spearman"]["high"]], expected, atol=0.03)
    assert "no significance test uses it" in remark and "bootstrap of 1,000 resamples" in remark


def test_a_paired_test_is_that_of_swapping_standard_scores_one_by_one() -> None:
    golds, one = noisy(120, noise=1.0)
    _, other = noisy(120, noise=1.35, seed=0)
    metric = Pearson(())
    counts = [metric.count_all(golds, numbers)[None] for numbers in (one, other)]
    found = compared(metric, *counts, seeded=False, resamples=4000)
    observed = pearsonr(golds, one)[0] - pearsonr(golds, other)[0]
    assert found.difference == pytest.approx(observed) and observed > 0
    first, second, draw = zscore(one), zscore(other), np.random.default_rng(1)
    as_large = 0
    for _ in range(4000):
        swap = draw.random(120) < 0.5
        a, b = np.where(swap, second, first), np.where(swap, first, second)
        as_large += abs(pearsonr(golds, a)[0] - pearsonr(golds, b)[0]) >= abs(observed) - 1e-12
    assert found.p == pytest.approx(as_large / 4000, abs=0.03)


def test_predictions_on_another_scale_do_not_differ() -> None:
    golds, one = noisy(50, noise=1.0)
    metric = Pearson(())
    counts = metric.count_all(golds, one)
    for scale, shift in ((1.0, 0.0), (7.0, -3.0), (1e-3, 2020.0)):
        other = metric.count_all(golds, [scale * number + shift for number in one])
        found = compared(metric, counts[None], other[None], seeded=False, resamples=500)
        assert found.difference == pytest.approx(0, abs=1e-9) and found.p > 0.5, (scale, shift)


def test_the_mean_counts_of_several_seeds_have_the_mean_of_their_correlations() -> None:
    golds, _ = noisy(50, noise=0)
    draw = np.random.default_rng(5)
    seeds = [(scale * (np.array(golds) * sign + draw.normal(size=50))).tolist() for scale, sign in ((1, 1), (9, 0.3))]
    metric = Pearson(())
    mean = np.mean([metric.count_all(golds, seed) for seed in seeds], axis=0)
    expected = np.mean([pearsonr(golds, seed)[0] for seed in seeds])
    assert float(metric.scores(mean.sum(0))["pearson"]) == pytest.approx(expected)


def test_a_report_shows_every_score_with_its_interval_and_which_way_is_better() -> None:
    class Noisy:
        """Predicts what it was given."""

        def predict(self, examples: list[Example]) -> list[Prediction]:
            return [Prediction(value=found) for found in predictions]

    golds, predictions = noisy(40, noise=1.0)
    examples = [Example(id=str(i), inputs={"text": "x"}, gold=gold) for i, gold in enumerate(golds)]
    done = evaluate(Noisy(), examples, task_metrics(Task(None), ()), split="test")
    assert [metric.name for metric in done.metrics] == ["pearson", "spearman", "rmse"]
    assert done.main["value"] == pytest.approx(pearsonr(golds, predictions)[0])
    assert done.main["low"] < done.main["value"] < done.main["high"]
    assert set(done.counts) == {"pearson", "rmse"}
    errors = done.sections(done.metrics[2])[0]
    assert errors.columns == ("value", "low", "high") and "lower is better" in errors.remark
    for name, (value, low, high) in errors.rows:
        assert low < value < high and done.quality["rmse"][name] == {"value": value, "low": low, "high": high}
