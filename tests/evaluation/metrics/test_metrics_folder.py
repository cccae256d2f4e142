"""What every metric of the folder has in common."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from adapters.core import discovery
from adapters.core.errors import SettingsError
from adapters.evaluation.metrics.base.metric import Metric, load_metric, macro_mean, main_metric, ratio
from adapters.evaluation.metrics.base.resampled import ResampledMetric
from adapters.tasks.base.example import Prediction

# Per metric: labels, one example's gold, and what is a perfect prediction of it.
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
ADA, OSLO = (0, 3, "PER"), (7, 11, "LOC")
PERFECT = {
    "accuracy": (("neg", "pos"), "pos", "pos"),
    "answer_f1": ((), ["in Oslo", "Oslo"], "Oslo"),
    "bleu": ((), ["Ada lived in the old town."], "Ada lived in the old town."),
    "expected_calibration_error": (("neg", "pos"), "pos", np.array([0.0, 1.0])),
    "cmrc_f1": ((), ["在上海", "上海"], "上海。"),
    "chrf": ((), ["Ada lived in the old town."], "Ada lived in the old town."),
    "entity_f1": (TAGS, ["B-PER", "O"], ["B-PER", "O"]),
    "multilabel_f1": (("joy", "fear"), ["joy", "fear"], ["fear", "joy"]),
    "pearson": ((), 3.5, 3.5),
    "relation_f1": (("lives_in", "no_relation"), "lives_in", "lives_in"),
    "rmse": ((), 3.5, 3.5),
    "rouge": ((), ["Ada lived in town.", "Emmy"], "Ada lived in town."),
    "spearman": ((), 3.5, 3.5),
    "triple_f1": ((), ({ADA, OSLO}, {(ADA, OSLO, "in")}), ({ADA, OSLO}, {(ADA, OSLO, "in")})),
    "token_f1": (TAGS, ["B-PER", "O"], ["B-PER", "O"]),
}
# Correlations have none of one example: several are perfect together.
TOGETHER = {"pearson": [-1.5, 0.0, 4.0], "spearman": [-1.5, 0.0, 4.0]}
LOWER_IS_BETTER = {"expected_calibration_error", "rmse"}
WHOLE_SPLIT = {"spearman"}
NAMES = discovery.names("metrics")
COUNTED = sorted({*NAMES} - WHOLE_SPLIT)


def test_every_metric_of_the_folder_is_looked_at() -> None:
    assert sorted(PERFECT) == NAMES
    assert {name for name in NAMES if isinstance(load_metric(name, PERFECT[name][0]), ResampledMetric)} == WHOLE_SPLIT


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_bears_its_files_name_and_has_its_main_score(name: str) -> None:
    labels, gold, prediction = PERFECT[name]
    metric = load_metric(name, labels)
    scores = metric.score_all(TOGETHER.get(name, [gold]), TOGETHER.get(name, [prediction]))
    assert metric.name == name and metric.version >= 1
    assert metric.title, "a reader sees words"
    assert metric.of in {field.name for field in dataclasses.fields(Prediction)}
    assert scores[metric.main] == (0.0 if name in LOWER_IS_BETTER else 1.0)
    assert all(0 <= value <= 1 for value in scores.values())
    assert metric.lower_is_better == (name in LOWER_IS_BETTER)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_metric_with_counts_whose_highest_score_is_best_can_be_the_first_one(name: str) -> None:
    if name in LOWER_IS_BETTER | WHOLE_SPLIT:
        with pytest.raises(SettingsError, match=f"The metric {name} cannot be the first one of a task"):
            main_metric(name, PERFECT[name][0])
    else:
        assert isinstance(main_metric(name, PERFECT[name][0]), Metric)


@pytest.mark.parametrize("name", COUNTED)
def test_sums_of_nothing_give_zeros_or_nan_and_no_warning(name: str) -> None:
    metric = load_metric(name, PERFECT[name][0])
    sums = metric.count_all([], []).sum(0)
    assert sums.tolist() == [0] * metric.width
    unjudged = {float(value) for value in metric.scores(sums).values()}
    assert unjudged == {0.0} or all(map(math.isnan, unjudged))
    # Sections are written to JSON, which has no nan.
    assert {value for section in metric.sections(sums) for _, row in section.rows for value in row} <= {0.0}
    assert {value for section in metric.details([], []) for _, row in section.rows for value in row} <= {0.0}


@pytest.mark.parametrize("name", COUNTED)
def test_a_section_has_a_value_a_column_and_its_counts_are_columns(name: str) -> None:
    labels, gold, prediction = PERFECT[name]
    metric = load_metric(name, labels)
    sections = metric.sections(metric.count_all([gold], [prediction]).sum(0)) + metric.details([gold], [prediction])
    assert sections
    for section in sections:
        assert section.as_given or section.counts
        assert set(section.counts) <= set(section.columns)
        assert {len(row) for _, row in section.rows} == {len(section.columns)}
        assert {type(value) for _, row in section.rows for value in row} == {float}


@pytest.mark.parametrize("name", COUNTED)
def test_many_sums_have_the_scores_of_each(name: str) -> None:
    labels, gold, prediction = PERFECT[name]
    metric = load_metric(name, labels)
    one = metric.counts(gold, prediction)
    together = metric.scores(np.array([[one, 2 * one, 0 * one]], dtype=np.float64))
    for score, values in together.items():
        assert values.shape == (1, 3)
        np.testing.assert_array_equal(values[0], [metric.scores(n * one)[score] for n in (1, 2, 0)])


@pytest.mark.parametrize("name", COUNTED)
def test_fewer_predictions_than_golds_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        load_metric(name, PERFECT[name][0]).count_all([PERFECT[name][1]] * 2, [PERFECT[name][2]])


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="No metric is called 'entity_f2': did you mean 'entity_f1'"):
        load_metric("entity_f2", TAGS)


def test_the_macro_mean_leaves_out_classes_that_stand_nowhere() -> None:
    values = np.array([[1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    predicted, gold = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]]), np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert macro_mean(values, predicted, gold).tolist() == [0.5, 0.5, 0.0]


def test_a_ratio_over_nothing_is_zero() -> None:
    assert ratio(np.array([1, 0]), np.array([0, 0])).tolist() == [0.0, 0.0]
    assert ratio(np.array([[1], [3]]), np.array([2, 0])).tolist() == [[0.5, 0.0], [1.5, 0.0]]
