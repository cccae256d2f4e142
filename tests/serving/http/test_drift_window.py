"""A window of answers against dev: false alarms are as rare as stated, and a shift is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency

from adapters.artifacts.reference import LabelCounts, Reference, ValueCounts
from adapters.serving.http.drift_window import Window, WindowTest, _with_neighbours, homogeneity
from adapters.tasks.base.observation import Observation

Draw = Callable[[np.random.Generator, int], list[Observation]]
LABELS = np.array([0.4, 0.3, 0.15, 0.1, 0.045, 0.005])
ENTITIES = np.array([0.5, 0.3, 0.2, 0.02])


def one_label(
    rng: np.random.Generator, size: int, *, shares: np.ndarray = LABELS, sure: float = 9.0, unknown: float = 0.1
) -> list[Observation]:
    """Texts of one label each; confidence, which is higher for the first label; a tenth with unknown tokens."""
    labels = rng.choice(len(shares), size, p=shares / shares.sum())
    confidences = rng.beta(sure + 3 * (labels == 0), 1.5)
    tokens = rng.integers(5, 40, size)
    strange = rng.binomial(tokens, 0.15) * (rng.random(size) < unknown)
    return [
        Observation(labels=(f"label {label}",), confidence=confidence, tokens=int(all_), unknown=int(some))
        for label, confidence, all_, some in zip(labels, confidences.tolist(), tokens, strange, strict=True)
    ]


def several_labels(rng: np.random.Generator, size: int) -> list[Observation]:
    """Texts with any types of entities, which occur together; confidences of which most are 1."""
    busy = rng.random((size, 1)) < 0.5
    types = rng.random((size, len(ENTITIES))) < ENTITIES * (0.5 + busy)
    confidences = np.where(rng.random(size) < 0.6, 1.0, rng.random(size))
    return [
        Observation(labels=tuple(f"type {n}" for n in np.flatnonzero(row)), confidence=confidence, tokens=20, unknown=0)
        for row, confidence in zip(types, confidences.tolist(), strict=True)
    ]


def labels(counts: list[int]) -> LabelCounts:
    """Counts of labels, of which the last is of all others."""
    sets = tuple((f"label {n}",) for n in range(len(counts) - 1))
    return LabelCounts(shares={}, none=0.0, sets=sets, counts=tuple(counts))


def values(counts: list[int]) -> ValueCounts:
    """Counts of values between cuts."""
    cuts = tuple(float(n) for n in range(len(counts) - 1))
    return ValueCounts(mean=0.0, deciles=(), cuts=cuts, counts=tuple(counts))


def compared(reference: list[Observation], answers: list[Observation]) -> dict[str, WindowTest]:
    window = Window(Reference.of(reference, ["label 0", "label 5"]))
    for one in answers:
        window.add(one)
    return {test.name: test for test in window.tests()}


def least(tests: dict[str, WindowTest]) -> float:
    """The rate from which on a window raises an alarm."""
    return min((test.adjusted for test in tests.values() if test.adjusted is not None), default=1.0)


@pytest.mark.parametrize(
    ("draw", "dev", "size", "independent"),
    [(one_label, 100, 400, 3), (several_labels, 300, 300, 2), (one_label, 400, 100, 3)],
)
def test_without_drift_alarms_are_as_rare_as_stated(draw: Draw, dev: int, size: int, independent: int) -> None:
    rng = np.random.default_rng(7)
    p_values = np.array([least(compared(draw(rng, dev), draw(rng, size))) for _ in range(400)])
    for rate in (0.01, 0.05, 0.2):
        alarms = int((p_values < rate).sum())
        interval = binomtest(alarms, len(p_values)).proportion_ci(0.995)
        # Of independent tests Holm's rate is a little below the stated one; of dependent ones it is lower.
        assert interval.low <= rate, (rate, alarms)
        assert interval.high >= 0.6 * (1 - (1 - rate / independent) ** independent), (rate, alarms)


@pytest.mark.parametrize(
    ("moved", "shift"),
    [
        ("labels", {"shares": LABELS + np.array([-0.1, 0, 0, 0.1, 0, 0])}),
        ("labels", {"shares": LABELS + np.array([-0.04, 0, 0, 0, 0, 0.04])}),
        ("confidence", {"sure": 6.0}),
        ("unknown", {"unknown": 0.2}),
    ],
)
def test_a_shift_is_found_and_named(moved: str, shift: dict[str, object]) -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(20):
        test = compared(one_label(rng, 1000), one_label(rng, 1000, **shift))[moved]  # type: ignore[arg-type]
        found.append(test.adjusted is not None and test.adjusted < 0.01)
    assert sum(found) >= 19
    assert test.dev != test.window


def test_what_moved_is_told_with_its_shares() -> None:
    dev = [Observation(labels=("a",))] * 500 + [Observation(labels=("b",))] * 480 + [Observation(labels=())] * 20
    answers = [Observation(labels=("a",))] * 450 + [Observation(labels=("b",))] * 450 + [Observation(labels=())] * 100
    test = compared(dev, answers)["labels"]
    assert (test.what, test.dev, test.window) == ("share of texts without a label", 0.02, 0.1)
    never = [one for one in dev if one.labels]
    test = compared(never, answers)["labels"]
    assert (test.what, test.dev, test.window) == ("share of texts without a label", 0.0, 0.1)
    answers = [Observation(labels=("b",))] * 1000
    test = compared(dev, answers)["labels"]
    assert test.what in ("share of texts with a", "share of texts with b")
    assert {test.dev, test.window} in ({0.5, 0.0}, {0.48, 1.0})


def test_a_label_that_dev_never_had_is_found_among_the_others() -> None:
    dev = [Observation(labels=("a",))] * 600 + [Observation(labels=("b",))] * 400
    test = compared(dev, [*dev[::2], *[Observation(labels=("new",))] * 100])["labels"]
    assert test.p is not None and test.p < 1e-6


def test_the_test_is_scipys_where_no_category_is_rare() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = rng.integers(60, 90, (2, rng.integers(2, 5)))
        expected = chi2_contingency(table, correction=False).pvalue
        assert homogeneity(labels(table[0].tolist()), table[1]) == pytest.approx(expected)
        assert homogeneity(values(table[0].tolist()), table[1]) == pytest.approx(expected)


def test_rare_sets_of_labels_are_counted_together() -> None:
    assert homogeneity(labels([500, 495, 2, 3, 0]), [500, 490, 4, 3, 3]) == pytest.approx(
        chi2_contingency([[500, 495, 5], [500, 490, 10]], correction=False).pvalue
    )


def test_rare_values_are_counted_with_their_neighbours_in_about_ten_groups() -> None:
    assert homogeneity(values([500, 1, 2, 3, 490, 2]), [500, 4, 4, 4, 480, 2]) == pytest.approx(
        chi2_contingency([[500, 498], [500, 494]], correction=False).pvalue
    )
    assert homogeneity(values([900, 40, 60]), [900, 60, 40]) == pytest.approx(
        chi2_contingency([[900, 100], [900, 100]], correction=False).pvalue
    )
    rng = np.random.default_rng(0)
    many = rng.integers(5, 40, (2, 60))
    assert _with_neighbours(many.astype(float), 20.0).shape[1] in (9, 10, 11)
    assert (_with_neighbours(many.astype(float), 20.0).sum(1) == many.sum(1)).all()


@pytest.mark.parametrize("part", [labels, values])
def test_too_few_texts_tell_nothing(part: Callable[[list[int]], LabelCounts | ValueCounts]) -> None:
    for dev, window in ([1000, 0], [997, 3]), ([100, 0], [0, 0]), ([0, 0], [100, 0]), ([100, 0], [100, 0]):
        assert homogeneity(part(dev), window) is None
    found = homogeneity(part([1000, 0]), [980, 20])
    assert found is not None and found < 1e-4


def test_the_p_values_of_a_window_are_adjusted_together_and_one_that_cannot_be_told_is_left_out() -> None:
    rng = np.random.default_rng(1)
    tests = compared(one_label(rng, 1000, unknown=0), one_label(rng, 1000, sure=8, unknown=0))
    labels, confidence, unknown = (tests[name] for name in ("labels", "confidence", "unknown"))
    assert labels.p is not None and confidence.p is not None and confidence.p < labels.p
    assert [confidence.adjusted, labels.adjusted] == pytest.approx([2 * confidence.p, labels.p])
    assert unknown.p is None and unknown.adjusted is None


def test_a_part_that_the_answers_or_the_card_lack_is_not_tested() -> None:
    dev = [Observation(labels=("a",), confidence=0.5, tokens=3, unknown=0)] * 100
    assert compared(dev, [Observation(labels=("a",), tokens=3)] * 100).keys() == {"labels"}
    assert compared([Observation(tokens=3)] * 100, dev) == {}
