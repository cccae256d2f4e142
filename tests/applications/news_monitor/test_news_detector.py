"""The baseline predicts as its references do, and the rates of false alarms and of found surges are the stated ones."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from scipy.stats import betabinom, binom, binomtest

from adapters.applications.news_monitor.baseline import EXPERTS, Baseline, When, beta_binomials
from adapters.applications.news_monitor.detector import MAX_BUDGET_WINDOWS, AlarmDetector, Plan

MONTH = 720


def when(number: int) -> When:
    return When(number=number, hour=number % 24, day=number // 24 % 7)


def plan(rate: float = 1 / MONTH, learning: int = 168, **more: float) -> Plan:
    return Plan(rate=rate, memory=28 * 24, learning=learning, **more)


def share(number: int, daily: float) -> float:
    """0.2 at its middle, and higher in the afternoon by `daily` on the logit scale."""
    return float(1 / (1 + np.exp(np.log(4) - daily * np.sin(2 * np.pi * number / 24))))


def run(
    detector: AlarmDetector, draw: np.random.Generator, begin: int, end: int, *, volume: float = 60, daily: float = 0.0
):
    """Stable windows of all series; yields the result of each."""
    series = len(detector.open)
    for number in range(begin, end):
        n = draw.poisson(volume, series)
        yield detector.window(np.arange(series), n, draw.binomial(n, share(number, daily)), when(number))


def expected(detector: AlarmDetector, rows: np.ndarray, n: np.ndarray, at: When) -> np.ndarray:
    """The mean of the mixture."""
    mixture, _ = detector.baseline.predict(rows, n, at)
    return mixture @ np.arange(mixture.shape[1])


def test_the_experts_are_scipys_beta_binomials():
    n, a, b = np.array([0, 1, 7, 400]), np.array([[0.5], [1.0], [20.0], [3e4]]), np.array([[0.5], [9.0], [3.3], [9e4]])
    found = beta_binomials(n, a, b)
    for row in range(4):
        theirs = betabinom.pmf(np.arange(401), n[row], a[row, 0], b[row, 0])
        assert np.allclose(found[row, 0], theirs, atol=1e-12)
        assert np.allclose(found[row, 0, : n[row] + 1], theirs[: n[row] + 1], rtol=1e-6)


def test_a_long_steady_past_predicts_the_binomial():
    baseline, rows = Baseline(1, memory=1e9), np.array([0])
    draw = np.random.default_rng(0)
    for number in range(2000):
        n = np.array([100])
        _, each = baseline.predict(rows, n, when(number))
        baseline.learn(rows, n, draw.binomial(n, 0.2), when(number), each)
    found, _ = baseline.predict(rows, np.array([60]), when(2000))
    theirs = binom.pmf(np.arange(61), 60, 0.2)
    assert np.abs(found[0] - theirs).sum() < 0.04
    assert found[0, 24:].sum() == pytest.approx(binom.sf(23, 60, 0.2), rel=0.35)


def test_hours_that_differ_are_learned():
    detector, draw, rows = AlarmDetector(plan(), 20), np.random.default_rng(1), np.arange(20)
    *_, _ = run(detector, draw, 0, 21 * 24, daily=0.9)
    for hour in (6, 18):
        found = expected(detector, rows, np.full(20, 1000), when(21 * 24 + hour))
        assert found.mean() == pytest.approx(1000 * share(hour, 0.9), rel=0.06)


def test_the_budget_is_charged_the_probability_of_the_rejection_region():
    """A window costs the probability of its alarms under the mixture, and never more than the budget."""
    detector = AlarmDetector(plan(rate=0.01, learning=0), 3)
    draw = np.random.default_rng(2)
    for number in range(60):
        n = np.array([3, 40, 90])
        before = detector.budget.copy()
        mixture, _ = detector.baseline.predict(np.arange(3), np.array([3, 40, 90]), when(number))
        budget = min(before[0] + (number - detector.last) * 0.01, MAX_BUDGET_WINDOWS * 0.01)
        ready = ~detector.open
        trial = copy.deepcopy(detector)
        trial.budget = np.array([budget])
        tail = np.cumsum(mixture[:, ::-1], axis=1)[:, ::-1]
        least = trial._rejection_region(np.arange(3), mixture, tail, ready)
        cost = sum(mixture[row, least[row] :].sum() for row in range(3))
        assert cost <= budget + 1e-12 and trial.budget[0] == pytest.approx(budget - cost)
        over = [mixture[row, least[row] - 1] for row in range(3) if ready[row] and least[row] <= n[row]]
        detector.window(np.arange(3), n, draw.binomial(n, 0.2), when(number))
        assert detector.budget[0] == pytest.approx(budget - cost)
        assert all(one > 0 for one in over)


@pytest.mark.parametrize(("volume", "daily", "series", "streams"), [(60, 0.0, 40, 40), (20, 0.8, 40, 4)])
def test_stable_streams_raise_alarms_at_the_stated_rate(volume, daily, series, streams):
    """Ten topics in a stream, or one; the rate is five a month, so that there are enough to count."""
    rate, months = 5.0, 2
    detector = AlarmDetector(plan(rate=rate / MONTH), series, streams)
    draw = np.random.default_rng(3)
    raised = [
        result.raised.sum() for result in run(detector, draw, 0, 168 + months * MONTH, volume=volume, daily=daily)
    ]
    assert not any(raised[:168]), "nothing is tested while it is learned"
    expected = rate * months * streams
    assert 0.5 * expected < sum(raised) < 1.1 * expected + 3 * np.sqrt(expected)


def test_a_tripled_share_is_found_within_one_window():
    detector, draw = AlarmDetector(plan(), 100, 100), np.random.default_rng(4)
    *_, _ = run(detector, draw, 0, 14 * 24)
    n = np.full(100, 60)
    found = sum(
        int(copy.deepcopy(detector).window(np.arange(100), n, draw.binomial(n, 0.6), when(14 * 24)).raised.sum())
        for _ in range(4)
    )
    assert binomtest(found, 400, 0.9, alternative="less").pvalue > 0.01 and found > 360


def test_a_surge_is_raised_goes_on_and_ends_and_does_not_become_the_baseline():
    detector, draw = AlarmDetector(plan(quiet=2), 1), np.random.default_rng(5)
    *_, _ = run(detector, draw, 0, 14 * 24)
    states, rows, n = [], np.array([0]), np.array([60])
    before = detector.baseline.items.sum()
    for number, k in enumerate((36, 34, 30, 12, 11, 12)):
        result = detector.window(rows, n, np.array([k]), when(14 * 24 + number))
        states.append(
            "raised" if result.raised[0] else "ended" if result.ended[0] else "on" if detector.open[0] else ""
        )
    assert states == ["raised", "on", "on", "on", "ended", ""]
    assert detector.baseline.items.sum() < before + 60 + 1e-6, "only the last window was learned"


def test_a_new_level_ends_the_alarm_and_is_learned_from_scratch():
    detector, draw = AlarmDetector(plan(longest=48, learning=24), 1), np.random.default_rng(6)
    *_, _ = run(detector, draw, 0, 14 * 24)
    rows, n, raised, settled = np.array([0]), np.array([60]), [], []
    for number in range(14 * 24, 24 * 24):
        result = detector.window(rows, n, draw.binomial(n, 0.6), when(number))
        raised += [number] if result.raised[0] else []
        settled += [number] if result.settled[0] else []
    assert len(raised) == 1 and settled == [raised[0] + 48]
    assert expected(detector, rows, n, when(24 * 24))[0] == pytest.approx(36, rel=0.1)


def test_windows_that_are_more_spread_than_chance_raise_no_more_alarms():
    """The share differs from window to window: a binomial test would raise several times as many alarms."""
    rate, months, series = 5.0, 2, 20
    detector, draw = AlarmDetector(plan(rate=rate / MONTH), series, series), np.random.default_rng(7)
    raised = naive = 0
    for number in range(168 + months * MONTH):
        n = draw.poisson(60, series)
        k = draw.binomial(n, draw.beta(0.2 * 60, 0.8 * 60, series))
        raised += int(detector.window(np.arange(series), n, k, when(number)).raised.sum())
        naive += int((binom.sf(k - 1, n, 0.2) < rate / MONTH).sum()) if number >= 168 else 0
    expected = rate * months * series
    assert naive > 3 * expected
    assert 0.5 * expected < raised < 1.2 * expected + 3 * np.sqrt(expected)


def test_a_watch_goes_on_from_its_record_and_grows():
    whole, draw = AlarmDetector(plan(learning=24), 2), np.random.default_rng(8)
    *_, _ = run(whole, draw, 0, 100)
    part = AlarmDetector(plan(learning=24))
    part.grow(2)
    part.restore(json.loads(json.dumps(whole.record())))
    for detector in (whole, part):
        detector.grow(3)
    n = np.array([60, 60, 5])
    one, other = (detector.window(np.arange(3), n, np.array([40, 10, 1]), when(100)) for detector in (whole, part))
    for name in ("p", "expected", "raised", "tested", "band"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(whole.open, part.open)
    assert one.raised.tolist() == [True, False, False] and not one.tested[2]
    assert part.baseline.scores.shape == (3, EXPERTS)


def test_many_series_are_predicted_in_parts_as_together(monkeypatch):
    from adapters.applications.news_monitor import detector as module

    detector, draw = AlarmDetector(plan(learning=0), 30), np.random.default_rng(9)
    *_, _ = run(detector, draw, 0, 50)
    n = draw.integers(0, 200, 30)
    whole, _ = detector._predict(np.arange(30), n, when(50))
    monkeypatch.setattr(module, "MOST_CELLS", 3000)
    parts, pieces = detector._predict(np.arange(30), n, when(50))
    assert len(pieces) > 5 and np.allclose(whole, parts, atol=1e-12)
