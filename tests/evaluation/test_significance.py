"""Intervals by resampling examples, against the obvious slow way and against their promise."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Mapping

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from adapters.core.holm import holm
from adapters.data.tag_schemes import tag_labels
from adapters.evaluation import significance as statistics
from adapters.evaluation.metrics.base.metric import Metric, Section, ratio
from adapters.evaluation.metrics.entity_f1 import Metric as EntityF1
from adapters.evaluation.significance import bootstrap, holm_levels, resampled_sums

LABELS = tag_labels(["LOC", "PER"]).names


class Share(Metric):
    """Successes among trials."""

    name = "share"
    main = "share"

    @property
    def width(self) -> int:
        return 2

    def counts(self, gold: bool, prediction: bool) -> np.ndarray:
        return np.array([gold == prediction, 1])

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"share": ratio(sums[..., 0], sums[..., 1])}

    def sections(self, sums: np.ndarray) -> list[Section]:
        return []


def tagged(examples: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted tags of sentences of one to eight words."""
    draw = np.random.default_rng(seed)
    golds = [list(draw.choice(LABELS, size=draw.integers(1, 9))) for _ in range(examples)]
    found = [[tag if draw.random() < 0.7 else str(draw.choice(LABELS)) for tag in gold] for gold in golds]
    return golds, found


def drawn_examples(examples: int, *, seed: int, resamples: int) -> np.ndarray:
    """How often each example is drawn, `[resamples, examples]`: counts that are each example's own."""
    return resampled_sums(np.eye(examples, dtype=np.int64), seed=seed, resamples=resamples)


def test_intervals_are_those_of_scoring_each_resample_anew() -> None:
    from seqeval.metrics import f1_score

    golds, found = tagged(25)
    metric = EntityF1(LABELS)
    low, high = bootstrap(metric, metric.count_all(golds, found), seed=3, resamples=300)["f1"]
    scores = []
    for times in drawn_examples(25, seed=3, resamples=300).astype(int):
        chosen = [number for number, count in enumerate(times) for _ in range(count)]
        scores.append(f1_score([golds[i] for i in chosen], [found[i] for i in chosen]))
    assert (low, high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])), abs=1e-12)
    assert 0 < low < np.median(scores) < high < 1


def test_intervals_are_near_those_of_other_draws() -> None:
    golds, found = tagged(40)
    metric = EntityF1(LABELS)
    counts = metric.count_all(golds, found)
    draw = np.random.default_rng(99)
    slow = [metric.scores(counts[draw.integers(0, 40, size=40)].sum(0)) for _ in range(3000)]
    for name, bounds in bootstrap(metric, counts, resamples=3000).items():
        expected = np.percentile([scores[name] for scores in slow], [2.5, 97.5])
        np.testing.assert_allclose(bounds, expected, atol=0.012, err_msg=name)


def test_each_resample_draws_as_many_examples_as_there_are_evenly() -> None:
    times = drawn_examples(12, seed=0, resamples=4000)
    assert times.shape == (4000, 12)
    assert (times.sum(1) == 12).all() and (times == times.astype(int)).all() and times.min() >= 0
    assert scipy.stats.chisquare(times.sum(0)).pvalue > 0.01
    observed = np.bincount(times[:, 0].astype(int), minlength=13)
    expected = scipy.stats.binom.pmf(range(13), 12, 1 / 12) * 4000
    few = expected < 5
    assert (
        scipy.stats.chisquare([*observed[~few], observed[few].sum()], [*expected[~few], expected[few].sum()]).pvalue
        > 0.01
    )


def test_resamples_differ_from_each_other() -> None:
    times = drawn_examples(30, seed=1, resamples=1300)
    assert len(np.unique(times, axis=0)) == 1300


def test_the_same_seed_draws_the_same_examples_whatever_is_counted() -> None:
    counts = np.random.default_rng(0).integers(0, 9, size=(17, 5))
    times = drawn_examples(17, seed=5, resamples=700)
    assert (resampled_sums(counts, seed=5, resamples=700) == times @ counts).all()
    assert (resampled_sums(counts, seed=6, resamples=700) != times @ counts).any()


def test_how_many_are_drawn_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.arange(14).reshape(7, 2)
    whole = resampled_sums(counts, seed=2, resamples=101)
    for draws in (1, 7, 100):
        monkeypatch.setattr(statistics, "_DRAWS", draws)
        assert (resampled_sums(counts, seed=2, resamples=101) == whole).all()


def test_memory_does_not_grow_with_the_resamples_of_a_large_split() -> None:
    counts = np.ones((400_000, 2), dtype=np.int64)
    tracemalloc.start()
    try:
        resampled_sums(counts, seed=0, resamples=30)
        assert tracemalloc.get_traced_memory()[1] < 150e6  # all at once would be 240 MB and more
    finally:
        tracemalloc.stop()


def test_a_wider_level_gives_a_wider_interval() -> None:
    golds, found = tagged(40)
    metric = EntityF1(LABELS)
    counts = metric.count_all(golds, found)
    bounds = [bootstrap(metric, counts, resamples=500, level=level)["f1"] for level in (0.5, 0.9, 0.95, 0.99)]
    for (low, high), (lower, higher) in itertools.pairwise(bounds):
        assert lower < low < high < higher


@pytest.mark.parametrize("chance", [0.5, 0.85])
def test_intervals_hold_the_truth_about_as_often_as_they_promise(chance: float) -> None:
    draw = np.random.default_rng(7)
    held = 0
    for repeat in range(400):
        right = draw.random(150) < chance
        low, high = bootstrap(Share([]), np.stack([right, np.ones(150)], axis=1), seed=repeat, resamples=400)["share"]
        held += low <= chance <= high
    assert 0.92 <= held / 400 <= 0.97


@pytest.mark.parametrize("right", [0, 1])
def test_answers_that_are_all_alike_do_not_make_an_interval_of_one_point(right: int) -> None:
    counts = np.array([[right, 1]] * 13)
    (interval,) = bootstrap(Share([]), counts, resamples=100).values()
    wanted = scipy.stats.binomtest(13 * right, 13).proportion_ci(0.95, "exact")
    assert interval == pytest.approx((wanted.low, wanted.high))


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=8))
def test_the_levels_of_holm_decide_as_the_adjusted_p_values_do(p_values: list[float]) -> None:
    levels = holm_levels(p_values, 0.05)
    assert all(0.05 / len(p_values) <= level <= 0.05 for level in levels)
    found = [p < level for p, level in zip(p_values, levels, strict=True)]
    assert found == [adjusted < 0.05 for adjusted in holm(p_values)]
