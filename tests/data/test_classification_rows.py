"""Labelled texts: which columns are meant, which labels a text has, and what is said of a row that has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from adapters.core.errors import DataError, Faults, SettingsError
from adapters.data.classification_columns import find_classification_columns
from adapters.data.classification_rows import (
    balanced_weights,
    count_labels,
    in_order,
    read_labelled_texts,
    stored_texts,
)
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.label_cells import LabelForm
from adapters.tasks.base.verbalizer import check_words, label_words


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def found(path: Path, separator: str | None = None) -> tuple[list[Any], str]:
    source = open_file(path)
    faults = Faults(source.name)
    rows = [
        *read_labelled_texts(
            source,
            find_classification_columns(ColumnRoles(source)),
            form=LabelForm(separator=separator),
            faults=faults,
        )
    ]
    try:
        faults.raise_if_any()
    except DataError as error:
        return rows, str(error)
    return rows, ""


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("text", "label"), ("text", None, "label")),
        (("Type", "Content"), ("Content", None, "Type")),
        (("utterance", "intent", "category"), ("utterance", None, "category")),
        (("sentence1", "sentence2", "label"), ("sentence1", "sentence2", "label")),
        (("hypothesis", "premise", "label"), ("premise", "hypothesis", "label")),
        (("label", "text_a"), ("text_a", None, "label")),
        (("text", "text_pair", "labels"), ("text", "text_pair", "labels")),
        (("text", "sentence2", "label"), ("text", None, "label")),
    ],
)
def test_the_usual_columns_are_found(tmp_path, columns, expected):
    source = open_file(save(tmp_path / "a.jsonl", [dict.fromkeys(columns, "x")]))
    chosen = find_classification_columns(ColumnRoles(source))
    assert (chosen.text, chosen.pair, *chosen.labels) == expected


def test_a_named_column_is_taken_and_no_pair_is_made_of_it(tmp_path):
    source = open_file(save(tmp_path / "a.jsonl", [{"sentence1": "x", "sentence2": "y", "label": "z"}]))
    assert find_classification_columns(ColumnRoles(source, {"text": "sentence2"})).pair is None
    assert (
        find_classification_columns(ColumnRoles(source, {"text": "sentence2", "text_pair": "sentence1"})).pair
        == "sentence1"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None, "lable"), r"no column 'lable' \(--label_column_name\). Columns found: memo, mark"),
        (("txt", None, None), r"no column 'txt' \(--text_column_name\). Columns found: memo, mark"),
        ((None, "b", None), r"no column 'b' \(--text_pair_column_name\)"),
        (
            (None, None, None),
            r"no column of texts with a usual name .* and no column of labels with .* memo, mark. Name them with "
            "--text_column_name and --label_column_name",
        ),
        (("a", None, "b"), r"no column 'a' \(--text_column_name\) and no column 'b' \(--label_column_name\)\. Columns"),
        (
            ("memo", None, None),
            r"no column of labels with a usual name .* found: memo, mark. Name it with --label_column_name",
        ),
    ],
)
def test_a_missing_column_is_an_error_that_lists_those_there_are(tmp_path, given, message):
    source = open_file(save(tmp_path / "a.jsonl", [{"memo": "x", "mark": "y"}]))
    with pytest.raises(DataError, match=message):
        find_classification_columns(ColumnRoles(source, dict(zip(("text", "text_pair", "label"), given, strict=True))))


@pytest.mark.parametrize(
    ("label", "name"),
    [("x", "x"), (" x ", "x"), (3, "3"), (0, "0"), (2.0, "2"), ("1.0", "1"), (True, "true"), (-1, "-1")],
)
def test_texts_and_whole_numbers_are_labels(tmp_path, label, name):
    rows, said = found(save(tmp_path / "a.jsonl", [{"text": "t", "label": label}]))
    assert (said, rows[0].labels) == ("", [name])


@pytest.mark.parametrize("label", [None, "", "  ", 1.5, [], [None], {"a": 0.5}])
def test_a_row_without_one_label_is_a_fault_at_its_line(tmp_path, label):
    rows, said = found(save(tmp_path / "a.jsonl", [{"text": "t", "label": "x"}, {"text": "u", "label": label}]))
    assert [row.text for row in rows] == ["t"]
    assert "a.jsonl:2" in said and "column 'label' must be a text or a whole number, found" in said


@pytest.mark.parametrize("text", ["", " \n", None, 7, ["a"]])
@pytest.mark.parametrize("column", ["text", "text_pair"])
def test_an_empty_text_or_side_of_a_pair_is_a_fault_at_its_line(tmp_path, text, column):
    whole = {"text": "t", "text_pair": "p", "label": "x"}
    rows, said = found(save(tmp_path / "a.jsonl", [whole, {**whole, column: text}]))
    assert len(rows) == 1 and "a.jsonl:2" in said and f"column '{column}'" in said


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (["b", "a", "b"], ["b", "a"]),
        ("a,b", ["a", "b"]),
        ('["a", "b, c"]', ["a", "b, c"]),
        ("", []),
        ([], []),
        (None, []),
        ("a, ,b", ["a", "b"]),
        ([1, 2], ["1", "2"]),
        (4, ["4"]),
    ],
)
def test_several_labels_are_a_list_or_stand_between_separators(tmp_path, cell, names):
    rows, said = found(save(tmp_path / "a.jsonl", [{"text": "t", "labels": cell}]), ",")
    assert (said, rows[0].labels) == ("", names)


@pytest.mark.parametrize("cell", [[None], ["a", ""], "[1", [["a"]], {"a": 0.5}])
def test_several_labels_that_cannot_be_read_are_a_fault(tmp_path, cell):
    rows, said = found(save(tmp_path / "a.jsonl", [{"text": "t", "labels": cell}]), ",")
    assert rows == [] and "a.jsonl:1" in said and "labels with ',' between them, or a list" in said


def test_numbers_are_sorted_as_numbers_and_texts_as_texts():
    assert in_order(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert in_order(["10", "9", "a"]) == ("10", "9", "a")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_balanced_weights_are_those_of_scikit_learn(labels):
    names = sorted(set(labels))
    weights = balanced_weights([labels.count(name) for name in names], len(labels), several=False)
    assert weights == pytest.approx(list(compute_class_weight("balanced", classes=np.array(names), y=labels)))


def test_stored_rows_are_counted_and_read_once(tmp_path):
    source = open_file(save(tmp_path / "a.jsonl", [{"text": "t", "label": name} for name in "abab"] * 2))
    columns = find_classification_columns(ColumnRoles(source))
    assert count_labels(stored_texts(ColumnRoles(source), columns, LabelForm())[0]) == {"a": 4, "b": 4}
    several = open_file(save(tmp_path / "b.jsonl", [{"text": "t", "label": ["a", "b"]}, {"text": "u", "label": []}]))
    assert count_labels(stored_texts(ColumnRoles(several), columns, LabelForm(separator=","))[0]) == {"a": 1, "b": 1}
    assert stored_texts(ColumnRoles(source), columns, LabelForm())[0]["label"] == [*"abab", *"abab"]


def test_a_label_goes_by_its_own_name_unless_a_prompt_has_words_for_it():
    assert [*label_words("card_arrival", {})] == ["card arrival"]
    assert [*label_words("pos", {"pos": ["good", "great"]})] == ["good", "great"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a": ["x"], "b": ["X"]}, "the word 'X' belongs to 'a' and to 'b'"),
        ({"a": ["b"]}, "the word 'b' belongs to 'a' and to 'b'"),
        ({"a": [" x"]}, "the word ' x' for the label 'a' must not be empty, have white space"),
        ({"a": [""]}, "the word '' for the label 'a'"),
        ({"a": ["x\n\ny"]}, r"the word 'x\\n\\ny' for the label 'a'"),
    ],
)
def test_words_that_could_not_be_told_apart_are_refused(names, message):
    with pytest.raises(SettingsError, match=f"here: {message}"):
        check_words(["a", "b"], names, "\n\n", "here")


def test_a_word_may_be_named_twice_for_one_label():
    check_words(["a", "b"], {"a": ["x", "x"]}, "\n", "here")
