"""Lists and dicts in cells, as Python, NumPy and pandas write them: held against what these libraries show."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.data.cell_values import parse_cell

texts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=1, max_size=8)
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(nested, max_size=5))
def test_what_python_and_json_show_is_read_back(value: list[Any]) -> None:
    assert parse_cell(repr(value)) == value
    assert parse_cell(json.dumps(value)) == value
    assert parse_cell(repr(tuple(value))) == value


@given(texts)
def test_what_numpy_shows_is_read_back_item_by_item(items: list[str]) -> None:
    with np.printoptions(threshold=10_000, linewidth=40):
        for array in (np.array(items, object), np.array(items)):
            if [str(item) for item in array] == items:  # NumPy's own texts lose NULs at their ends
                assert parse_cell(str(array)) == items
                assert parse_cell(repr(array)) == items


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8))
def test_numbers_without_commas_are_numbers(items: list[int]) -> None:
    assert parse_cell(str(np.array(items))) == items
    assert parse_cell(repr(np.array(items, np.int64))) == items


def test_a_frame_of_lists_survives_a_csv_of_pandas(tmp_path: Any) -> None:
    frame = pd.DataFrame(
        {"a": [["it's", 'a "b"'], ["c,d"]], "b": [{"text": np.array(["x"], object), "n": np.array([0])}] * 2}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    back = pd.read_csv(tmp_path / "a.csv")
    assert [parse_cell(cell) for cell in back["a"]] == [["it's", 'a "b"'], ["c,d"]]
    assert parse_cell(back["b"][0]) == {"text": ["x"], "n": [0]}
    assert parse_cell("[np.str_('a'), np.int64(3), nan]") == ["a", 3, None]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("a b", "is no list"),
        ("['a\nb']", "is no text as Python writes it"),
        (r"['\x1']", "is no text as Python writes it"),
        (r"{'a': '\N{no such name}'}", "is no text as Python writes it"),
        ("3", "is no list"),
        ("['a' 'b' ... 'z']", "NumPy shortened"),
        ("['a'", "not closed"),
        ("['a'] b", "goes on after its list"),
        ("[a]", "contains 'a'"),
        ("{'a' 1}", "without a colon"),
        ("[__import__('os')]", "contains '__import__'"),
        ("[" * 100_000, "not closed|thousands of lists"),
        ("['a' @]", "from character"),
    ],
)
def test_what_is_no_list_is_refused(cell: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cell(cell)
