"""The calibration error is that of the definition, from whole numbers that add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.evaluation.metrics.expected_calibration_error import BINS, Metric

LABELS = ["a", "b", "c"]
edges = st.sampled_from([0.0, 1.0, *(k / BINS for k in range(1, BINS))])
shares = edges | st.floats(0, 1, allow_subnormal=False)
vectors = st.lists(shares, min_size=3, max_size=3)
single = st.lists(st.tuples(st.sampled_from(LABELS), vectors), min_size=1, max_size=12)
several = st.lists(st.tuples(st.lists(st.sampled_from(LABELS), unique=True), vectors), min_size=1, max_size=8)


def slow(judged: list[tuple[float, bool]]) -> float:
    """Guo et al. 2017, eq. 2 and 3, as it stands there (a confidence of 0, which no bin holds, in the first)."""
    error = 0.0
    for m in range(1, BINS + 1):
        own = [(p, right) for p, right in judged if (m - 1) / BINS < p <= m / BINS or (m == 1 and p == 0)]
        if own:
            accuracy = sum(right for _, right in own) / len(own)
            confidence = sum(p for p, _ in own) / len(own)
            error += len(own) / len(judged) * abs(accuracy - confidence)
    return error


def error_of(golds: list, details: list) -> float:
    metric = Metric(LABELS)
    return float(metric.scores(metric.count_all(golds, details).sum(0))["ece"])


@settings(max_examples=100, deadline=None)
@given(single)
def test_of_one_label_the_likeliest_is_judged(drawn: list[tuple[str, list[float]]]) -> None:
    judged = [(max(shares), LABELS[shares.index(max(shares))] == gold) for gold, shares in drawn]
    found = error_of([gold for gold, _ in drawn], [np.array(shares) for _, shares in drawn])
    assert found == pytest.approx(slow(judged), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(several)
def test_of_several_labels_each_is_judged_alone(drawn: list[tuple[list[str], list[float]]]) -> None:
    judged = [(p, label in gold) for gold, shares in drawn for label, p in zip(LABELS, shares, strict=True)]
    found = error_of([gold for gold, _ in drawn], [np.array(shares) for _, shares in drawn])
    assert found == pytest.approx(slow(judged), abs=1e-6)


def test_a_sum_of_float32_a_little_above_one_is_in_the_last_bin() -> None:
    metric = Metric(LABELS)
    size = metric.counts("a", np.array([1.0000001, 0, 0], dtype=np.float32)).reshape(3, BINS)[0]
    assert size.tolist() == [0] * (BINS - 1) + [1]


def test_examples_without_probabilities_count_nothing_and_nothing_at_all_is_nan() -> None:
    sure, unsure = np.array([1.0, 0, 0]), np.array([0.5, 0.2, 0.3])
    assert error_of(["a", "b", "b"], [sure, None, unsure]) == error_of(["a", "b"], [sure, unsure]) == 0.25
    assert math.isnan(error_of(["a"], [None])) and math.isnan(error_of([], []))
    assert math.isnan(error_of(["a"], [np.array([np.nan, 0, 0])]))


def test_the_report_shows_the_bins_that_hold_something_and_says_which_way_is_better() -> None:
    metric = Metric(LABELS)
    details = [np.array([0.9, 0.1, 0]), np.array([0.92, 0, 0.08]), np.array([0.3, 0.35, 0.35])]
    (section,) = metric.sections(metric.count_all(["a", "b", "a"], details).sum(0))
    rows = dict(section.rows)
    assert list(rows) == ["0.33 to 0.40", "0.87 to 0.93"]
    assert rows["0.87 to 0.93"] == pytest.approx((0.91, 0.5, 2.0))
    assert "lower is better" in section.remark
    (empty,) = metric.sections(np.zeros(metric.width, dtype=np.int64))
    assert empty.rows == () and "No prediction came with probabilities" in empty.remark


def test_probabilities_of_another_label_list_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Metric(LABELS).counts("a", np.array([0.5, 0.5]))
