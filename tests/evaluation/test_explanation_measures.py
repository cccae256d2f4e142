"""Measures of explanations against scikit-learn, SciPy and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, f1_score, precision_recall_curve

from adapters.evaluation import explanations as measures

WORDS = st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=30)


@given(WORDS, st.floats(0.01, 1))
@settings(deadline=None)
def test_agreement_with_marks_is_that_of_scikit_learn(words: list[tuple[bool, int]], share: float) -> None:
    marked, values = np.array([one for one, _ in words]), np.array([float(value) for _, value in words])
    found = measures.auprc(marked, values)
    if marked.all() or not marked.any():
        assert math.isnan(found)
    else:
        precision, recall, _ = precision_recall_curve(marked, values)
        assert found == pytest.approx(-np.sum(np.diff(recall) * precision[:-1]))
        assert abs(found - auc(recall, precision)) < 0.5
    top = measures.top(values, max(round(share * len(values)), 1))
    assert top.sum() == max(round(share * len(values)), 1)
    assert values[top].min() >= values[~top].max() if not top.all() else True
    if marked.any():
        assert measures.token_f1(marked, values, share) == pytest.approx(f1_score(marked, top))
    else:
        assert math.isnan(measures.token_f1(marked, values, share))


def test_a_perfect_explanation_has_an_area_of_one_and_random_ones_the_share_of_marks() -> None:
    marked = np.arange(200) % 5 == 0
    assert measures.auprc(marked, marked.astype(float)) == 1
    draw = np.random.default_rng(0)
    mean = np.mean([measures.auprc(marked, draw.random(200)) for _ in range(300)])
    assert mean == pytest.approx(0.2, abs=0.03)


def test_aopc_of_a_linear_model_by_hand() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0])  # what each word adds to a probability
    whole = values.sum()
    highest = measures.top_shares(values)
    assert highest.sum(1).tolist() == [1, 1, 1, 2, 5]
    without = [whole - values[row].sum() for row in highest]
    alone = [values[row].sum() for row in highest]
    assert measures.aopc(whole, without) == pytest.approx((3 * 0.4 + 0.6 + 0.75) / 5)
    assert measures.aopc(whole, alone) == pytest.approx((3 * 0.35 + 0.15 + 0.0) / 5)


def test_correlation_of_ranks_ignores_signs_and_knows_constants() -> None:
    assert measures.rank_correlation(np.array([1.0, -2, 3]), np.array([-1.0, 2, -3])) == pytest.approx(1)
    assert measures.rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert measures.rank_correlation(np.array([1.0, -1, 1]), np.array([3.0, 2, 1])) == 0
    assert math.isnan(measures.rank_correlation(np.array([1.0]), np.array([3.0])))


def test_an_interval_covers_the_mean_and_leaves_out_what_is_not_known() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for number in range(200):
        sample = [*draw.normal(0.3, 0.2, 40), math.nan]
        found = measures.mean_with_interval(sample, seed=number)
        assert found is not None and found["n"] == 40
        covered += found["low"] <= 0.3 <= found["high"]
    assert 180 <= covered <= 200
    assert measures.mean_with_interval([math.nan]) is None
