"""Scores of texts with several labels are scikit-learn's of indicators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, f1_score

from adapters.evaluation.metrics.multilabel_f1 import Metric

LABELS = ["joy", "anger", "fear", "awe"]
sets = st.lists(st.sampled_from(LABELS), max_size=3)  # repeated labels too
pairs = st.lists(st.tuples(sets, sets), min_size=1, max_size=6)
Pairs = list[tuple[list[str], list[str]]]


def sums_of(drawn: Pairs) -> tuple[Metric, np.ndarray, np.ndarray, np.ndarray]:
    """The metric, its sums, and gold and predictions as indicators `[examples, labels]`."""
    metric = Metric(LABELS)
    sums = metric.count_all([gold for gold, _ in drawn], [found for _, found in drawn]).sum(0)
    gold, found = (np.array([[label in pair[i] for label in LABELS] for pair in drawn], dtype=int) for i in (0, 1))
    return metric, sums, gold, found


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_scores_are_scikit_learns(drawn: Pairs) -> None:
    metric, sums, gold, found = sums_of(drawn)
    assert {name: float(value) for name, value in metric.scores(sums).items()} == pytest.approx(
        {
            "micro_f1": f1_score(gold, found, average="micro", zero_division=0),
            "macro_f1": f1_score(gold, found, average="macro", zero_division=0),
            "subset_accuracy": accuracy_score(gold, found),
        },
        abs=1e-12,
    )


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_every_number_of_the_report_is_scikit_learns(drawn: Pairs) -> None:
    metric, sums, gold, found = sums_of(drawn)
    expected = classification_report(gold, found, target_names=LABELS, output_dict=True, zero_division=0)
    del expected["samples avg"]
    (section,) = metric.sections(sums)
    assert [name for name, _ in section.rows] == list(expected)
    for name, values in section.rows:
        np.testing.assert_allclose(values, list(expected[name].values()), rtol=0, atol=1e-12, err_msg=name)


def test_a_parse_failure_has_no_label_and_is_never_the_exact_set() -> None:
    metric = Metric(LABELS)
    scores = metric.scores(metric.count_all([[], ["joy"], []], [None, None, []]).sum(0))
    assert (float(scores["micro_f1"]), float(scores["subset_accuracy"])) == (0.0, pytest.approx(1 / 3))


def test_a_lone_label_in_place_of_a_list_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Metric(["j", "o", "y"]).counts("joy", ["j", "o", "y"])
