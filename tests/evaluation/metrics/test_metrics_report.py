"""A metric's sections in 80 columns and in the model card, whatever the classes are called."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.artifacts.model_card import section_tables
from adapters.evaluation.metrics.base.any_metric import Section
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.report import run_report

COLUMNS = ("precision", "recall", "F1", "support")
names = st.text(st.characters() | st.sampled_from("[]/|\n\x1b\\_ 中a"), min_size=1, max_size=300)


def table(labels: list[str], golds: list[str], predictions: list[str | None]) -> str:
    metric = load_metric("accuracy", labels)
    sections = metric.sections(metric.count_all(golds, predictions).sum(0)) + metric.details(golds, predictions)
    return "".join(run_report.plain(run_report._table(section)) for section in sections)


@settings(max_examples=60, deadline=None)
@given(st.lists(names, min_size=2, max_size=12, unique=True))
def test_no_label_name_breaks_the_table(labels: list[str]) -> None:
    from rich.cells import cell_len

    shown = table(labels, labels, [*labels[1:], None])
    lines = shown.splitlines()
    assert max(map(cell_len, lines)) <= run_report.WIDTH
    assert "\x1b" not in shown
    # Every class has its row with all four numbers, the wrong ones their supports of one.
    assert sum(line.rstrip().endswith("0.00       0.00       0.00          1") for line in lines) == len(labels)


@settings(max_examples=60, deadline=None)
@given(st.lists(names, min_size=1, max_size=4, unique=True))
def test_no_label_name_breaks_the_table_of_the_model_card(labels: list[str]) -> None:
    section = Section(title="x", columns=COLUMNS, rows=tuple((name, (0.5, 0.5, 0.5, 3.0)) for name in labels))
    head, rule, *rows, end = section_tables([section])
    assert (len(rows), end) == (len(labels), "")
    for line in (head, rule, *rows):
        assert line.replace("\\|", "").count("|") == 6 and "\n" not in line


def test_only_the_columns_that_hold_counts_are_whole_numbers() -> None:
    section = Section(title="x", columns=("support", "share"), rows=(("a", (0.25, 1234.0)),), counts=("share",))
    assert run_report.number_cells(section, (0.25, 1234.0)) == ["25.00", "1,234"]


def test_seventy_seven_classes_take_a_line_each() -> None:
    labels = [f"a_rather_long_name_of_a_class_{number}" for number in range(77)]
    lines = table(labels, labels, labels).splitlines()
    assert len(lines) == 2 + 77 + 3  # title and heads, classes, averages; all is right, so no confusions


def test_heads_that_are_too_wide_become_the_numbers_of_their_rows() -> None:
    labels = [f"a_class_called_{name}" for name in "abcdefghij"]
    shown = table(labels, labels, [*labels[1:], None])
    matrix = shown[shown.index("Confusion matrix") :].splitlines()
    assert matrix[1].split() == [*map(str, range(1, 11)), "(parse", "failure)"]
    assert matrix[2].split() == ["1", labels[0], *"0100000000", "0"]


def test_heads_that_fit_in_narrow_columns_stay() -> None:
    labels = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    shown = table(labels, labels, labels)
    assert shown[shown.index("Confusion matrix") :].splitlines()[1].split() == labels


def test_heads_that_fit_stay() -> None:
    shown = table(["neg", "pos"], ["neg", "pos"], ["neg", None])
    assert shown[shown.index("Confusion matrix") :].splitlines()[1].split() == ["neg", "pos", "(parse", "failure)"]


def test_sections_of_a_metric_without_rows_are_shown_as_such() -> None:
    metric = load_metric("expected_calibration_error", ["neg", "pos"])
    (section,) = metric.sections(np.zeros(metric.width, dtype=np.int64))
    assert run_report.plain(run_report._table(section)).startswith("Confidence, in bins\n")
