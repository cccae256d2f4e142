"""Ranks over data sets: held against scipy, and against the worked example of Demšar (2006), table 6."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adapters.evaluation import ranks

TABLE_6 = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets. The paper prints 0.975 twice and ranks one
above the other."""


def test_the_worked_example_has_its_published_mean_ranks_and_critical_difference() -> None:
    mean = ranks.ranks(TABLE_6).mean(0)
    assert mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    # He has chi2 9.28 and F 3.69 without a correction for ties; with it they are larger.
    sets, methods = TABLE_6.shape
    chi2 = 12 * sets / (methods * (methods + 1)) * ((mean**2).sum() - methods * (methods + 1) ** 2 / 4)
    assert chi2 == pytest.approx(9.28, abs=5e-3)
    found = ranks.friedman(TABLE_6)
    expected = stats.friedmanchisquare(*TABLE_6.T)
    assert (found.chi2, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.chi2 > chi2 and found.f == pytest.approx(13 * found.chi2 / (14 * 3 - found.chi2))
    assert found.p_f < found.p < 0.05


def test_without_ties_the_f_of_iman_and_davenport_is_that_of_an_analysis_of_the_ranks() -> None:
    scores = np.random.default_rng(0).normal([0, 0, 0.5, 1, 1], size=(9, 5))
    of = ranks.ranks(scores)
    rows, columns = (((of.mean(axis, keepdims=True) - of.mean()) ** 2).sum() for axis in (1, 0))
    between, total = columns * 9, ((of - of.mean()) ** 2).sum()
    error = total - between - rows * 5
    found = ranks.friedman(scores)
    assert found.f == pytest.approx((between / 4) / (error / 32))
    assert found.p_f == pytest.approx(stats.f.sf((between / 4) / (error / 32), 4, 32))


def test_the_critical_values_are_those_of_the_published_table() -> None:
    published = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    for methods, q in published.items():
        unit = (methods * (methods + 1) / (6 * 20)) ** 0.5
        assert ranks.critical_difference(methods, 20) / unit == pytest.approx(q, abs=1.1e-3)


def test_the_signed_rank_test_is_exact_as_scipys_is() -> None:
    draw = np.random.default_rng(1)
    for n in (6, 9, 14, 30):
        differences = draw.normal(0.4, 1, n)
        assert ranks.signed_rank(differences).p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_the_signed_rank_test_is_exact_with_ties_and_zeros() -> None:
    draw = np.random.default_rng(2)
    for n in (6, 7, 10):
        differences = draw.integers(-1, 4, n) / 10
        every_sign = stats.PermutationMethod(n_resamples=2**n)
        expected = stats.wilcoxon(differences, zero_method="pratt", method=every_sign).pvalue
        assert ranks.signed_rank(differences).p == pytest.approx(expected), differences
    found = ranks.signed_rank(np.array([0.0, 0.3, -0.1, 0.2]))
    assert (found.positive, found.negative) == (4 + 3, 2)
    assert ranks.signed_rank(np.zeros(8)).p == 1.0


def test_equal_methods_are_called_different_as_seldom_as_the_level_says() -> None:
    draw = np.random.default_rng(3)
    wrong = np.mean([ranks.signed_rank(draw.normal(size=10)).p < 0.05 for _ in range(2000)])
    assert 0.03 < wrong <= 0.06
    wrong = np.mean([ranks.friedman(draw.normal(size=(10, 4))).p_f < 0.05 for _ in range(500)])
    assert 0.02 < wrong < 0.08


def test_ranks_share_ties_also_of_sums_in_another_order() -> None:
    assert ranks.ranks(np.array([[0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.1]])).tolist() == [[1.5, 1.5, 3]]
    assert ranks.ranks(np.array([[0.5, 0.7, 0.5, 0.5]])).tolist() == [[3, 1, 3, 3]]


def test_methods_that_are_equal_or_ranked_alike_everywhere_have_a_test_too() -> None:
    assert ranks.friedman(np.ones((6, 3))) == ranks.Friedman(chi2=0.0, p=1.0, f=0.0, p_f=1.0)
    found = ranks.friedman(np.tile([0.1, 0.2, 0.3], (6, 1)))
    assert (found.chi2, found.f, found.p_f) == (pytest.approx(12), None, 0.0)


def test_groups_are_the_largest_ones_and_none_holds_another() -> None:
    assert ranks.groups([1.0, 1.5, 2.4, 4.0], 1.5) == [(0, 2)]
    assert ranks.groups([1.0, 1.5, 2.4, 2.9], 1.5) == [(0, 2), (1, 3)]
    assert ranks.groups([1.0, 3.0], 1.5) == [] and ranks.groups([1.0, 2.5], 1.5) == []


def test_so_many_data_sets_are_needed_as_let_the_smallest_adjusted_p_be_significant() -> None:
    assert ranks.needed(1) == 6 and ranks.needed(3) == 7
    for pairs in (1, 3, 6, 28):
        sets = ranks.needed(pairs)
        assert pairs * ranks.signed_rank(np.arange(1, sets + 1.0)).p < 0.05
        assert sets == 6 or pairs * ranks.signed_rank(np.arange(1, float(sets))).p >= 0.05
