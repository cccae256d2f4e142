"""What every metric of the folder has in common."""

from __future__ import annotations

import numpy as np
import pytest

from adapters import discovery, metrics
from adapters.errors import SettingsError
from adapters.labels import tag_labels

LABELS = tag_labels(["LOC", "PER"]).names
NAMES = discovery.names("metrics")


def test_there_are_two_metrics() -> None:
    assert NAMES == ["entity_f1", "token_f1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_bears_its_files_name_and_has_its_main_score(name: str) -> None:
    metric = metrics.load(name, LABELS)
    sums = metric.count_all([["B-PER", "O"]], [["B-PER", "O"]]).sum(0)
    scores = metric.scores(sums)
    assert metric.name == name and metric.version >= 1
    assert float(scores[metric.main]) == 1.0
    assert all(0 <= float(value) <= 1 for value in scores.values())


@pytest.mark.parametrize("name", NAMES)
def test_sums_of_nothing_give_zeros_and_no_warning(name: str) -> None:
    metric = metrics.load(name, LABELS)
    sums = metric.count_all([], []).sum(0)
    assert sums.tolist() == [0] * metric.width
    assert {float(value) for value in metric.scores(sums).values()} == {0.0}
    assert {value for section in metric.sections(sums) for _, row in section.rows for value in row} == {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_fewer_predictions_than_golds_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        metrics.load(name, LABELS).count_all([["O"], ["O"]], [["O"]])


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="No metric is called 'entity_f2': did you mean 'entity_f1'"):
        metrics.load("entity_f2", LABELS)


def test_the_macro_mean_leaves_out_classes_that_stand_nowhere() -> None:
    values = np.array([[1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    predicted, gold = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]]), np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert metrics.macro_mean(values, predicted, gold).tolist() == [0.5, 0.5, 0.0]


def test_a_ratio_over_nothing_is_zero() -> None:
    assert metrics.ratio(np.array([1, 0]), np.array([0, 0])).tolist() == [0.0, 0.0]
    assert metrics.ratio(np.array([[1], [3]]), np.array([2, 0])).tolist() == [[0.5, 0.0], [1.5, 0.0]]
