"""Entity scores are seqeval's, from counts that add up."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.data.tag_schemes import tag_labels
from adapters.evaluation.metrics.entity_f1 import Metric

TYPES = ["LOC", "ORG", "PER", "z-type"]
LABELS = tag_labels(TYPES)
tags = st.sampled_from(LABELS.names)
pairs = st.lists(st.lists(st.tuples(tags, tags), max_size=8), min_size=1, max_size=6)


def sums_of(drawn: list[list[tuple[str, str]]]) -> tuple[Metric, np.ndarray, list[list[str]], list[list[str]]]:
    metric = Metric(LABELS.names)
    golds = [[gold for gold, _ in sentence] for sentence in drawn]
    found = [[prediction for _, prediction in sentence] for sentence in drawn]
    return metric, metric.count_all(golds, found).sum(0), golds, found


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_every_number_of_the_report_is_seqevals(drawn: list[list[tuple[str, str]]]) -> None:
    from seqeval.metrics import classification_report

    metric, sums, golds, found = sums_of(drawn)
    assume(any(tag != "O" for sentence in golds for tag in sentence))
    expected = classification_report(golds, found, output_dict=True, zero_division=0)
    (section,) = metric.sections(sums)
    assert section.columns == ("precision", "recall", "F1", "support")
    rows = dict(section.rows)
    assert list(rows) == [*TYPES, "micro avg", "macro avg", "weighted avg"]
    assert set(expected) <= set(rows)
    for name, row in expected.items():
        np.testing.assert_allclose(rows[name], list(row.values()), rtol=0, atol=1e-12, err_msg=name)
    assert all(rows[name] == (0.0, 0.0, 0.0, 0.0) for name in set(rows) - set(expected))
    scores = metric.scores(sums)
    micro, macro = expected["micro avg"], expected["macro avg"]
    assert scores["precision"] == pytest.approx(micro["precision"], abs=1e-12)
    assert scores["recall"] == pytest.approx(micro["recall"], abs=1e-12)
    assert scores["f1"] == pytest.approx(micro["f1-score"], abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(macro["f1-score"], abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_the_f1_is_what_seqevals_functions_give(drawn: list[list[tuple[str, str]]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    metric, sums, golds, found = sums_of(drawn)
    scores = metric.scores(sums)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where there is no entity on one side
        assert scores["f1"] == pytest.approx(f1_score(golds, found), abs=1e-12)
        assert scores["precision"] == pytest.approx(precision_score(golds, found), abs=1e-12)
        assert scores["recall"] == pytest.approx(recall_score(golds, found), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_counts_of_examples_add_up_to_those_of_a_split(drawn: list[list[tuple[str, str]]]) -> None:
    metric, sums, golds, found = sums_of(drawn)
    apart = [gold for sentence in golds for gold in ["O", *sentence]]  # an O parts the sentences
    joined = metric.counts(apart, [tag for sentence in found for tag in ["O", *sentence]])
    # A stray I- that begins a sentence begins an entity there as behind an O.
    assert sums.tolist() == joined.tolist()
    assert sums.dtype == np.int64 and sums.shape == (metric.width,) == (3 * len(TYPES),)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_scores_of_many_sums_are_the_scores_of_each(drawn: list[list[tuple[str, str]]]) -> None:
    metric, _, golds, found = sums_of(drawn)
    rows = metric.count_all(golds, found)
    together = metric.scores(rows.astype(np.float64))
    for name, values in together.items():
        assert values.shape == (len(rows),)
        assert values.tolist() == [float(metric.scores(row)[name]) for row in rows]


@pytest.mark.parametrize(
    "gold, prediction, expected",
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", (1.0, 1.0, 1.0)),
        ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", (0.5, 0.5, 0.5)),  # one end wrong
        ("B-PER I-PER O O", "B-PER B-PER O B-LOC", (0.0, 0.0, 0.0)),
        ("B-PER O B-LOC O", "B-PER O O O", (1.0, 0.5, 2 / 3)),
        ("O O", "O O", (0.0, 0.0, 0.0)),
        ("O O", "B-PER O", (0.0, 0.0, 0.0)),
    ],
)
def test_hand_made_cases(gold: str, prediction: str, expected: tuple[float, float, float]) -> None:
    metric = Metric(LABELS.names)
    scores = metric.scores(metric.counts(gold.split(), prediction.split()))
    assert tuple(float(scores[name]) for name in ("precision", "recall", "f1")) == pytest.approx(expected)


def test_a_prediction_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Metric(LABELS.names).counts(["O", "O"], ["O"])
