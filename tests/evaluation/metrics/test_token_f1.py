"""Word scores are scikit-learn's, with `O` and without."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score

from adapters.data.tag_schemes import tag_labels
from adapters.evaluation.metrics.token_f1 import Metric

LABELS = tag_labels(["LOC", "PER"])
tags = st.sampled_from(LABELS.names)
pairs = st.lists(st.lists(st.tuples(tags, tags), max_size=8), min_size=1, max_size=5).filter(any)


def sums_of(drawn: list[list[tuple[str, str]]]) -> tuple[Metric, np.ndarray, list[str], list[str]]:
    """The metric, its sums, and all words' gold and predicted tags."""
    metric = Metric(LABELS.names)
    golds = [[gold for gold, _ in sentence] for sentence in drawn]
    found = [[prediction for _, prediction in sentence] for sentence in drawn]
    return metric, metric.count_all(golds, found).sum(0), [*chain(*golds)], [*chain(*found)]


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_scores_are_scikit_learns(drawn: list[list[tuple[str, str]]]) -> None:
    metric, sums, golds, found = sums_of(drawn)
    scores = metric.scores(sums)
    options = {"labels": [label for label in LABELS.names if label != "O"], "average": "micro", "zero_division": 0}
    assert scores["f1_without_o"] == pytest.approx(f1_score(golds, found, **options), abs=1e-12)
    assert scores["precision_without_o"] == pytest.approx(precision_score(golds, found, **options), abs=1e-12)
    assert scores["recall_without_o"] == pytest.approx(recall_score(golds, found, **options), abs=1e-12)
    assert scores["accuracy_with_o"] == pytest.approx(accuracy_score(golds, found), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_every_number_of_the_report_is_scikit_learns(drawn: list[list[tuple[str, str]]]) -> None:
    metric, sums, golds, found = sums_of(drawn)
    there = set(golds) | set(found)
    for section, labels in zip(
        metric.sections(sums), [[n for n in LABELS.names if n != "O"], list(LABELS.names)], strict=True
    ):
        shown = [label for label in labels if label in there]
        if not shown:
            continue
        expected = classification_report(golds, found, labels=shown, output_dict=True, zero_division=0)
        if "accuracy" in expected:  # scikit-learn's name for the micro average over all labels
            share = expected.pop("accuracy")
            expected["micro avg"] = {"p": share, "r": share, "f1": share, "support": len(golds)}
        rows = dict(section.rows)
        assert {"micro avg", "macro avg", "weighted avg"} <= set(rows)
        for name in set(rows) & set(expected):
            np.testing.assert_allclose(rows[name], list(expected[name].values()), rtol=0, atol=1e-12, err_msg=name)


def test_the_second_table_has_the_row_of_o_and_says_that_it_flatters() -> None:
    metric, sums, _, _ = sums_of([[("O", "O"), ("B-PER", "O")]])
    without, with_o = metric.sections(sums)
    assert [name for name, _ in without.rows][:4] == ["B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert [name for name, _ in with_o.rows] == ["O", "micro avg", "macro avg", "weighted avg"]
    assert "Flattering" in with_o.remark


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_counts_of_examples_add_up(drawn: list[list[tuple[str, str]]]) -> None:
    metric, sums, golds, found = sums_of(drawn)
    assert sums.tolist() == metric.counts(golds, found).tolist()
    assert sums.shape == (metric.width,) == (15,)


def test_a_prediction_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        Metric(LABELS.names).counts(["O", "O"], ["O"])
