"""From cells to answers and where they start, in the forms that people write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.core.errors import DataError
from adapters.data.answer_cells import placed, read_answers

ONE: dict[str, Any] = {"text": ["Oslo"], "answer_start": [13]}


@pytest.mark.parametrize(
    "cell",
    [
        ONE,
        {"text": "Oslo", "answer_start": 13},
        [{"text": "Oslo", "answer_start": 13}],
        [{"text": "Oslo", "start": 13, "end": 17}],
        {"text": "Oslo", "answer_start": "13"},
        {"text": ["Oslo"], "answer_start": [13.0]},
    ],
)
def test_answers_and_starts_are_read_from_every_form_and_its_writing(cell: Any) -> None:
    for written in (cell, json.dumps(cell), repr(cell)):
        texts, starts = read_answers(written)
        assert (texts if isinstance(texts, list) else [texts], starts) == (["Oslo"], [13])


def test_a_cell_of_numpy_is_read() -> None:
    cell = {key: np.array(value, dtype=object if key == "text" else np.int32) for key, value in ONE.items()}
    assert read_answers(str(cell)) == (["Oslo"], [13])


@pytest.mark.parametrize("start", [13, "13", "13.0", 13.0, [13], "[13]"])
def test_a_start_of_a_column_of_its_own_is_read(start: Any) -> None:
    assert read_answers("Oslo", start) == ("Oslo", [13])
    assert read_answers("['Oslo']", start) == (["Oslo"], [13])


@pytest.mark.parametrize(
    "cell", ["Oslo", "[1]", "[sic] Oslo", "{x} is a set", "[", '{"a": 1}', "", None, ["a", "b"], []]
)
def test_other_cells_are_themselves(cell: Any) -> None:
    assert read_answers(cell) == (cell, [])


def test_a_damaged_dict_of_answers_is_refused_and_not_learnt_as_the_answer() -> None:
    with pytest.raises(DataError, match=r"the cell .*shortened by '\.\.\.'"):
        read_answers("{'text': array(['a', ..., 'b'], dtype=object), 'answer_start': array([1, ..., 2])}")


CONTEXT = "Ada lived in  Oslo. "


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("Oslo", 14, ("Oslo", 14, False)),
        ("Oslo", 12, ("Oslo", 14, True)),  # the blanks before it
        (" Oslo", 14, ("Oslo", 14, True)),
        ("Oslo ", 14, ("Oslo", 14, True)),
        ("lived", 3, ("lived", 4, True)),
    ],
)
def test_a_start_that_misses_by_blanks_is_put_right(text: str, start: int, expected: Any) -> None:
    assert placed(CONTEXT, text, start) == expected


@pytest.mark.parametrize(
    ("text", "start"), [("Oslo", 15), ("Oslo", 11), ("Oslo", -1), ("Oslo", None), ("Bergen", 14), ("  ", 4)]
)
def test_a_start_that_misses_by_more_is_refused(text: str, start: Any) -> None:
    with pytest.raises(DataError, match=f"answer_start {start}: the context reads"):
        placed(CONTEXT, text, start)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_any_answers_are_read_back_from_json_and_python(texts: list[str]) -> None:
    cell = {"text": texts, "answer_start": list(range(len(texts)))}
    for written in (json.dumps(cell), repr(cell)):
        assert read_answers(written) == (texts, cell["answer_start"])


@given(st.text(alphabet="[]{}'\"text:answer_start, 1\\\n", max_size=40), st.none() | st.text("[]0123.-", max_size=5))
def test_any_cell_is_read_or_a_fault(cell: str, start: Any) -> None:
    try:
        texts, starts = read_answers(cell, start)
    except DataError:
        return
    assert isinstance(texts, str | list) and isinstance(starts, list)
