"""Scores of texts with one label are scikit-learn's, from counts that add up."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
)

from adapters.evaluation.metrics.accuracy import SHOWN_CONFUSIONS, Metric

LABELS = ["d", "a", "c", "b", "e"]  # in no order, so that an index taken for another shows
# Few examples of five classes: most draws lack classes in gold, in predictions, or in both.
read = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=12)
unparsed = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=12)
Pairs = list[tuple[str, str | None]]


def sums_of(drawn: Pairs) -> tuple[Metric, np.ndarray, list[str], list[str]]:
    """The metric, its sums, gold, and predictions with a class of its own in the place of None."""
    metric = Metric(LABELS)
    golds, found = [gold for gold, _ in drawn], [prediction for _, prediction in drawn]
    return metric, metric.count_all(golds, found).sum(0), golds, ["none" if label is None else label for label in found]


@settings(max_examples=100, deadline=None)
@given(read)
def test_scores_are_scikit_learns(drawn: Pairs) -> None:
    metric, sums, golds, found = sums_of(drawn)
    scores = {name: float(value) for name, value in metric.scores(sums).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where there is one class only
        assert scores == pytest.approx(
            {
                "accuracy": accuracy_score(golds, found),
                "macro_f1": f1_score(golds, found, average="macro", zero_division=0),
                "micro_f1": f1_score(golds, found, average="micro", zero_division=0),
                "matthews": matthews_corrcoef(golds, found),
            },
            abs=1e-12,
        )


@settings(max_examples=100, deadline=None)
@given(unparsed)
def test_a_parse_failure_is_a_class_that_scikit_learn_leaves_out_of_averages(drawn: Pairs) -> None:
    metric, sums, golds, found = sums_of(drawn)
    scores = {name: float(value) for name, value in metric.scores(sums).items()}
    there = sorted({*golds, *found} - {"none"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores == pytest.approx(
            {
                "accuracy": accuracy_score(golds, found),
                "macro_f1": f1_score(golds, found, labels=there, average="macro", zero_division=0),
                "micro_f1": f1_score(golds, found, labels=there, average="micro", zero_division=0),
                "matthews": matthews_corrcoef(golds, found),
            },
            abs=1e-12,
        )


@settings(max_examples=100, deadline=None)
@given(unparsed)
def test_every_number_of_the_report_is_scikit_learns(drawn: Pairs) -> None:
    metric, sums, golds, found = sums_of(drawn)
    there = [label for label in LABELS if label in golds or label in found]
    expected = classification_report(golds, found, labels=there, output_dict=True, zero_division=0)
    if "accuracy" in expected:  # its name for the micro average where all classes are asked for
        share = expected.pop("accuracy")
        expected["micro avg"] = {"p": share, "r": share, "f1": share, "support": len(golds)}
    (section,) = metric.sections(sums)
    rows = dict(section.rows)
    assert list(rows) == [*LABELS, "micro avg", "macro avg", "weighted avg"]
    for name, row in expected.items():
        np.testing.assert_allclose(rows[name], list(row.values()), rtol=0, atol=1e-12, err_msg=name)
    assert all(rows[name] == (0.0,) * 4 for name in set(rows) - set(expected))


@settings(max_examples=50, deadline=None)
@given(read)
def test_the_confusion_matrix_is_scikit_learns(drawn: Pairs) -> None:
    metric, _, golds, found = sums_of(drawn)
    (section,) = metric.details(golds, found)
    assert section.columns == section.counts == tuple(name for name, _ in section.rows) == tuple(LABELS)
    expected = confusion_matrix(golds, found, labels=LABELS)
    np.testing.assert_array_equal([values for _, values in section.rows], expected)


def test_parse_failures_have_a_column_of_their_own_even_where_a_label_is_called_so() -> None:
    failure = "(parse failure)"
    (section,) = Metric(["a", failure]).details(["a", "a", failure], [failure, None, None])
    assert section.columns == ("a", "(parse failure)", "((parse failure))")
    assert dict(section.rows) == {"a": (0.0, 1.0, 1.0), "(parse failure)": (0.0, 0.0, 1.0)}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 11)), max_size=60))
def test_of_many_classes_the_most_frequent_confusions_are_shown(drawn: list[tuple[int, int]]) -> None:
    labels = [f"c{number}" for number in range(11)]
    golds = [labels[gold] for gold, _ in drawn]
    found = [labels[number] if number < 11 else None for _, number in drawn]
    slow = Counter(f"{a} → {b or '(parse failure)'}" for a, b in zip(golds, found, strict=True) if a != b)
    sections = Metric(labels).details(golds, found)
    assert len(sections) == bool(slow)
    for section in sections:
        shown = {name: int(count) for name, (count,) in section.rows}
        assert len(shown) == len(section.rows) == min(len(slow), SHOWN_CONFUSIONS)
        assert shown.items() <= slow.items()
        assert list(shown.values()) == sorted(slow.values(), reverse=True)[: len(shown)]


def test_the_correlation_of_large_counts_does_not_overflow() -> None:
    metric = Metric(["a", "b"])
    one = metric.count_all(["a", "a", "b", "b"], ["a", "a", "b", "a"]).sum(0)
    many = metric.scores(one * 10**8)["matthews"]
    assert many.dtype == np.float64 and float(many) == pytest.approx(float(metric.scores(one)["matthews"]))


def test_labels_that_the_task_does_not_have_are_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        Metric(LABELS).counts("a", "A")
