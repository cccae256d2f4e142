"""The baseline predicts as its references do, and alarms are as seldom, and surges found as often, as is said."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from scipy.stats import betabinom, binom, binomtest

from adapters.applications.news_monitor.baseline import EXPERTS, Baseline, When, beta_binomials
from adapters.applications.news_monitor.watch import CARRIED, Plan, Watch

MONTH = 720


def when(number: int) -> When:
    return When(number=number, hour=number % 24, day=number // 24 % 7)


def plan(rate: float = 1 / MONTH, learning: int = 168, **more: float) -> Plan:
    return Plan(rate=rate, memory=28 * 24, learning=learning, **more)


def share(number: int, daily: float) -> float:
    """0.2 at its middle, and higher in the afternoon by `daily` on the logit scale."""
    return float(1 / (1 + np.exp(np.log(4) - daily * np.sin(2 * np.pi * number / 24))))


def run(watch: Watch, draw: np.random.Generator, begin: int, end: int, *, volume: float = 60, daily: float = 0.0):
    """Stable windows of all series; yields what was seen in each."""
    series = len(watch.open)
    for number in range(begin, end):
        n = draw.poisson(volume, series)
        yield watch.window(np.arange(series), n, draw.binomial(n, share(number, daily)), when(number))


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
    watch, draw, rows = Watch(plan(), 20), np.random.default_rng(1), np.arange(20)
    *_, _ = run(watch, draw, 0, 21 * 24, daily=0.9)
    for hour in (6, 18):
        found = watch.baseline.expected(rows, np.full(20, 1000), when(21 * 24 + hour))
        assert found.mean() == pytest.approx(1000 * share(hour, 0.9), rel=0.06)


def test_the_account_spends_what_it_says():
    """A window's cost is the probability of its alarms under the mixture, and never more than there was."""
    watch = Watch(plan(rate=0.01, learning=0), 3)
    draw = np.random.default_rng(2)
    for number in range(60):
        n = np.array([3, 40, 90])
        before = watch.account.copy()
        mixture, _ = watch.baseline.predict(np.arange(3), np.array([3, 40, 90]), when(number))
        paid = min(before[0] + (number - watch.last) * 0.01, CARRIED * 0.01)
        ready = ~watch.open
        trial = copy.deepcopy(watch)
        trial.account = np.array([paid])
        tail = np.cumsum(mixture[:, ::-1], axis=1)[:, ::-1]
        least = trial._bought(np.arange(3), mixture, tail, ready)
        cost = sum(mixture[row, least[row] :].sum() for row in range(3))
        assert cost <= paid + 1e-12 and trial.account[0] == pytest.approx(paid - cost)
        over = [mixture[row, least[row] - 1] for row in range(3) if ready[row] and least[row] <= n[row]]
        watch.window(np.arange(3), n, draw.binomial(n, 0.2), when(number))
        assert watch.account[0] == pytest.approx(paid - cost)
        assert all(one > 0 for one in over)


@pytest.mark.parametrize(("volume", "daily", "series", "accounts"), [(60, 0.0, 40, 40), (20, 0.8, 40, 4)])
def test_stable_streams_raise_alarms_at_the_stated_rate(volume, daily, series, accounts):
    """Ten topics an account, or one; the rate is five a month, so that there are enough to count."""
    rate, months = 5.0, 2
    watch = Watch(plan(rate=rate / MONTH), series, accounts)
    draw = np.random.default_rng(3)
    raised = [seen.raised.sum() for seen in run(watch, draw, 0, 168 + months * MONTH, volume=volume, daily=daily)]
    assert not any(raised[:168]), "nothing is tested while it is learned"
    expected = rate * months * accounts
    assert 0.5 * expected < sum(raised) < 1.1 * expected + 3 * np.sqrt(expected)


def test_a_tripled_share_is_found_within_one_window():
    watch, draw = Watch(plan(), 100, 100), np.random.default_rng(4)
    *_, _ = run(watch, draw, 0, 14 * 24)
    n = np.full(100, 60)
    found = sum(
        int(copy.deepcopy(watch).window(np.arange(100), n, draw.binomial(n, 0.6), when(14 * 24)).raised.sum())
        for _ in range(4)
    )
    assert binomtest(found, 400, 0.9, alternative="less").pvalue > 0.01 and found > 360


def test_a_surge_is_raised_goes_on_and_ends_and_does_not_become_the_baseline():
    watch, draw = Watch(plan(quiet=2), 1), np.random.default_rng(5)
    *_, _ = run(watch, draw, 0, 14 * 24)
    states, rows, n = [], np.array([0]), np.array([60])
    before = watch.baseline.items.sum()
    for number, k in enumerate((36, 34, 30, 12, 11, 12)):
        seen = watch.window(rows, n, np.array([k]), when(14 * 24 + number))
        states.append("raised" if seen.raised[0] else "ended" if seen.ended[0] else "on" if seen.open[0] else "")
    assert states == ["raised", "on", "on", "on", "ended", ""]
    assert watch.baseline.items.sum() < before + 60 + 1e-6, "only the last window was learned"


def test_a_new_level_ends_the_alarm_and_is_learned_anew():
    watch, draw = Watch(plan(longest=48, learning=24), 1), np.random.default_rng(6)
    *_, _ = run(watch, draw, 0, 14 * 24)
    rows, n, raised, settled = np.array([0]), np.array([60]), [], []
    for number in range(14 * 24, 24 * 24):
        seen = watch.window(rows, n, draw.binomial(n, 0.6), when(number))
        raised += [number] if seen.raised[0] else []
        settled += [number] if seen.settled[0] else []
    assert len(raised) == 1 and settled == [raised[0] + 48]
    assert watch.baseline.expected(rows, n, when(24 * 24))[0] == pytest.approx(36, rel=0.1)


def test_windows_that_are_more_spread_than_chance_raise_no_more_alarms():
    """The share differs from window to window: a binomial test would raise several times as many alarms."""
    rate, months, series = 5.0, 2, 20
    watch, draw = Watch(plan(rate=rate / MONTH), series, series), np.random.default_rng(7)
    raised = naive = 0
    for number in range(168 + months * MONTH):
        n = draw.poisson(60, series)
        k = draw.binomial(n, draw.beta(0.2 * 60, 0.8 * 60, series))
        raised += int(watch.window(np.arange(series), n, k, when(number)).raised.sum())
        naive += int((binom.sf(k - 1, n, 0.2) < rate / MONTH).sum()) if number >= 168 else 0
    expected = rate * months * series
    assert naive > 3 * expected
    assert 0.5 * expected < raised < 1.2 * expected + 3 * np.sqrt(expected)


def test_a_watch_goes_on_from_its_record_and_grows():
    whole, draw = Watch(plan(learning=24), 2), np.random.default_rng(8)
    *_, _ = run(whole, draw, 0, 100)
    part = Watch(plan(learning=24))
    part.grow(2)
    part.restore(json.loads(json.dumps(whole.record())))
    for watch in (whole, part):
        watch.grow(3)
    n = np.array([60, 60, 5])
    one, other = (watch.window(np.arange(3), n, np.array([40, 10, 1]), when(100)) for watch in (whole, part))
    for name in ("p", "expected", "raised", "open", "band"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.raised.tolist() == [True, False, False] and not one.tested[2]
    assert part.baseline.scores.shape == (3, EXPERTS)


def test_many_series_are_predicted_in_parts_as_together(monkeypatch):
    from adapters.applications.news_monitor import watch as module

    watch, draw = Watch(plan(learning=0), 30), np.random.default_rng(9)
    *_, _ = run(watch, draw, 0, 50)
    n = draw.integers(0, 200, 30)
    whole, _ = watch._predict(np.arange(30), n, when(50))
    monkeypatch.setattr(module, "MOST_CELLS", 3000)
    parts, pieces = watch._predict(np.arange(30), n, when(50))
    assert len(pieces) > 5 and np.allclose(whole, parts, atol=1e-12)
