"""From cells to labels: names, numbers, lists in every form, vectors, one-hot columns, and rows that are left out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.data.label_cells import LabelFault, LabelForm, Labels, are_vectors, label_reader


def read(cell: Any, *, vectors: bool = False, **form: Any) -> list[str]:
    return label_reader(["y"], LabelForm(**form), vectors=vectors)({"y": cell}).names


def refused(cell: Any, *, vectors: bool = False, **form: Any) -> str:
    with pytest.raises(LabelFault) as caught:
        label_reader(["y"], LabelForm(**form), vectors=vectors)({"y": cell})
    return f"{caught.value.what} {caught.value.advice}"


@pytest.mark.parametrize(
    "cell",
    [
        "bad",
        " bad ",
        ["bad"],
        ("bad",),
        '["bad"]',
        "['bad']",
        "array(['bad'], dtype=object)",
        {"choices": ["bad"]},
        {"choices": "bad"},
        '{"choices": ["bad"]}',
        {"bad": 1.0, "good": 0.0},
        "{'bad': True, 'good': False}",
    ],
)
def test_one_label_is_read_from_every_form(cell: Any) -> None:
    assert read(cell) == ["bad"]


@pytest.mark.parametrize("cell", ["[sic]", "{x", "[", "a,b", "1.0b", "v2.0"])
def test_a_name_with_brackets_or_commas_is_a_name(cell: str) -> None:
    assert read(cell) == [cell]


@pytest.mark.parametrize(("cell", "name"), [("1.0", "1"), ("-1.0", "-1"), ("3.00", "3"), (2.0, "2"), ("10", "10")])
def test_a_whole_number_is_the_same_label_with_a_decimal_point(cell: Any, name: str) -> None:
    assert read(cell) == [name]


def test_true_and_1_are_different_labels_whatever_was_read_before() -> None:
    one = label_reader(["y"], LabelForm())
    assert [one({"y": cell}).names for cell in (1, True, "1", "True", 1.0)] == [["1"], ["true"], ["1"], ["True"], ["1"]]


def test_several_labels_without_the_flag_are_refused_and_the_flag_is_named() -> None:
    assert "2 labels" in refused(["a", "b"]) and "--multi_label" in refused("['a', 'b']")
    assert "--task regression" in refused(0.5) and "0.5" not in refused(0.5)
    assert "--drop_label null" in refused(None)


@pytest.mark.parametrize(
    ("cell", "separator", "names"),
    [
        ("a|b", "|", ["a", "b"]),
        ("a; b", ";", ["a", "b"]),
        ("['a' 'b']", ",", ["a", "b"]),
        ("['a', 'b']", ",", ["a", "b"]),
        ('["a", "b"]', "|", ["a", "b"]),
        ({"choices": ["a", "b"]}, ",", ["a", "b"]),
        ({"a": 1, "b": 1, "c": 0}, ",", ["a", "b"]),
        ("a", ",", ["a"]),
        (None, ",", []),
        ("[]", ",", []),
    ],
)
def test_several_labels_are_read_from_every_form(cell: Any, separator: str, names: list[str]) -> None:
    assert read(cell, separator=separator) == names


@given(st.lists(st.text("abc ,'\"é", min_size=1).filter(lambda name: name.strip() == name), min_size=1, unique=True))
def test_lists_in_cells_are_read_back_whatever_wrote_them(names: list[str]) -> None:
    for cell in (json.dumps(names), repr(names)):
        assert read(cell, separator="|") == names
    if all("'" not in name and '"' not in name for name in names):
        assert read(str(np.array(names, dtype=object)), separator="|") == names


NAMES = ("bad", "good", "ok")


def test_class_numbers_have_the_given_names() -> None:
    assert [read(cell, names=NAMES) for cell in (0, "1", 2.0, "1.0", "ok")] == [
        ["bad"],
        ["good"],
        ["ok"],
        ["good"],
        ["ok"],
    ]
    assert "'3' is none of the 3 classes" in refused(3, names=NAMES)
    assert "'goood' is none of the 3 classes of --label_names: did you mean 'good'?" in refused("goood", names=NAMES)
    assert "counted from 0" in refused(3, names=NAMES) and "counted from 0" not in refused("x", names=NAMES)
    assert "'-1' is none of" in refused(-1, names=NAMES)


@pytest.mark.parametrize("cell", [[0, 1, 0], [0.0, 1.0, 0.0], "[0, 1, 0]", "[0. 1. 0.]", "0,1,0", [False, True, False]])
def test_a_vector_has_the_given_names(cell: Any) -> None:
    assert read(cell, vectors=True, names=NAMES, separator=",") == ["good"]


def test_a_vector_that_does_not_fit_is_refused() -> None:
    many = {"vectors": True, "names": NAMES, "separator": ","}
    assert "2 numbers, but --label_names has 3" in refused([0, 1], **many)
    assert "must be 0 or 1" in refused([0, 2, 0], **many)
    assert read([1, 0, 1], **many) == ["bad", "ok"]
    assert "2 are 1 (bad, ok)" in refused([1, 0, 1], vectors=True, names=NAMES)
    assert read([0, 0, 1], vectors=True, names=NAMES) == ["ok"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([[0, 1], [1, 0]], True),
        (["0 1", "1 0"], False),
        (["0,1", "1,1"], True),
        ([[0], [1]], False),  # class numbers
        ([[0], [0, 1]], False),
        ([[0, 2], [1, 0]], False),
        ([["a", "b"]], False),
        ([None, ""], False),
        ([[0, 1], {"a": "x"}, "[0, 1"], False),  # faults of their rows
    ],
)
def test_vectors_are_lists_of_one_length_of_0_and_1(cells: list[Any], expected: bool) -> None:
    assert are_vectors(cells, ",") == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(("[", "{'a': 1}", "[1, 'b']")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("a", "choices")), inner, max_size=2),
    max_leaves=5,
)


@given(cell=JSON, separator=st.sampled_from((None, ",")), names=st.sampled_from(((), NAMES)), vectors=st.booleans())
@example(cell="[" * 9999, separator=",", names=(), vectors=False)
@example(cell="9" * 9999, separator=None, names=NAMES, vectors=False)
@example(cell="²", separator=None, names=NAMES, vectors=False)
def test_any_cell_is_read_or_a_fault(cell: Any, separator: str | None, names: tuple[str, ...], vectors: bool) -> None:
    form = LabelForm(separator=separator, names=names, dropped=("-", "null"))
    try:
        labels = label_reader(["y"], form, vectors=vectors and bool(names))({"y": cell})
    except LabelFault:
        return
    assert separator is not None or labels.dropped or len(labels.names) == 1
    assert not names or set(labels.names) <= set(names)
    assert all(name and name == name.strip() for name in labels.names)


def one_hot(*cells: Any, **form: Any) -> Labels:
    return label_reader(["a", "b", "c"], LabelForm(**form))(dict(zip("abc", cells, strict=True)))


def test_one_hot_columns_are_labels() -> None:
    assert one_hot("1", "0", "1", separator=",").names == ["a", "c"]
    assert one_hot(0, 0, 0, separator=",").names == []
    assert one_hot("true", False, "0.0").names == ["a"]
    with pytest.raises(LabelFault, match=r"of the columns a, b, c 2 are 1 \(a, b\), but a text has one label"):
        one_hot(1, 1, 0)
    with pytest.raises(LabelFault, match="none is 1"):
        one_hot(0, 0, 0)
    for cell in ("2", "", None, "x", -1, [1], 0.5):
        with pytest.raises(LabelFault, match="column 'b' must be 0 or 1"):
            one_hot(0, cell, 1, separator=",")


def test_rows_with_a_dropped_label_are_left_out() -> None:
    form = LabelForm(dropped=("-", "-1", "null"))
    one = label_reader(["y"], form)
    cells = {"-": "-", -1: "-1", "-1": "-1", None: "null", "": "null", "a": "", "--": ""}
    assert {cell: one({"y": cell}).dropped for cell in cells} == cells
    assert one({"y": -1.0}).dropped == "-1"
    several = label_reader(["y"], LabelForm(separator=",", dropped=("?",)))
    assert several({"y": "a,?"}).dropped == "?" and several({"y": ""}).dropped == ""
    assert one_hot(-1, -1, -1, separator=",", dropped=("-1",)).dropped == "-1"
