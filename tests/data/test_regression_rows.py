"""Numbers of texts: which columns and cells they are read from, and which are refused."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_splits
from adapters.data.regression_rows import (
    LabelRange,
    find_regression_columns,
    numbers_of,
    read_number,
    stored_numbers,
)


def stored(path: Path, **named: str) -> tuple[Any, dict[str, Any]]:
    (source,) = open_splits(files={"train": str(path)}).values()
    roles = ColumnRoles(source, named)
    return stored_numbers(roles, find_regression_columns(roles))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        (3, 3.0), (-0.5, -0.5), ("3.8", 3.8), (" 4 ", 4.0), ("-1e-3", -0.001), (".5", 0.5), ("5.", 5.0), ("+2", 2.0),
        (Decimal("0.1"), 0.1), (np.float32(0.5), 0.5), (np.int64(7), 7.0), ("1E5", 1e5),
    ],
)  # fmt: skip
def test_a_number_is_read_however_it_is_written(cell: Any, number: float) -> None:
    assert read_number(cell) == (number, "")


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (None, "nothing"), ("", "nothing"), ("  ", "nothing"), ("good", "'good'"), (True, "True"), (math.nan, "nan"),
        ("nan", "'nan'"), ("inf", "'inf'"), (-math.inf, "-inf, beyond 1e+100"), ("1_000", "'1_000'"),
        ("3,8", "'3,8', a decimal comma"), ("4 stars", "'4 stars'"), ("٤", "'٤'"), ([3], "[3]"), ("1e400", "'1e400', "
        "beyond 1e+100"), (10**400, f"{'1' + '0' * 59}, beyond 1e+100"), ("0x10", "'0x10'"), ("1.2.3", "'1.2.3'"),
        (1j, "1j"), ("--1", "'--1'"), ("-", "'-'"), (".", "'.'"), ("1e", "'1e'"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_none_and_said(cell: Any, what: str) -> None:
    assert read_number(cell) == (None, what)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=12), st.text("0123456789.,eE+- ", max_size=12), st.floats(), st.integers()))
def test_no_cell_is_read_as_another_number_than_python_reads(cell: Any) -> None:
    number, what = read_number(cell)
    assert (number is None) == bool(what)
    if number is not None:
        assert math.isfinite(number) and number == float(cell)


def test_every_faulty_row_is_named_with_its_line_and_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text('text,stars\ngood,4.5\nbad,"2,5"\nso,\n,3\nfine,nan\nwell,good\n', encoding="utf-8")
    with pytest.raises(DataError) as error:
        stored(path)
    said = str(error.value)
    for line, what in (
        (3, "must be a number, found '2,5', a decimal comma"),
        (4, "must be a number, found nothing"),
        (5, "column 'text' is empty"),
        (6, "found 'nan'"),
        (7, "found 'good'"),
    ):
        assert f"films.csv:{line}" in said and what in said
    assert "5 faults" in said and "write a point, as in 3.8" in said and "--task classification" in said


STS = "genre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (STS, ("sentence1", "sentence2", "score")),
        ("sentence1\tsentence2\tlabel\tidx", ("sentence1", "sentence2", "label")),
        ("pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment",
         ("sentence_A", "sentence_B", "relatedness_score")),
        ("review\tstars\tuser", ("review", None, "stars")),
        ("text\tvalue\ttarget", ("text", None, "target")),
        ("text\tlabel\tscore", ("text", None, "score")),
    ],
)  # fmt: skip
def test_the_columns_of_usual_files_are_found(tmp_path: Path, header: str, columns: tuple[str | None, ...]) -> None:
    names = header.split("\t")
    rows = [["1.5" if name == columns[2] else f"{name} {n}" for name in names] for n in range(3)]
    path = tmp_path / "train.tsv"
    path.write_text("\n".join(["\t".join(row) for row in [names, *rows]]) + "\n", encoding="utf-8")
    dataset, notes = stored(path)
    wanted = {"text": columns[0], "text_pair": columns[1], "label": columns[2]}
    assert notes["reading"]["columns"] == {role: [name] for role, name in wanted.items() if name}
    assert set(notes["reading"]["unused"]) == {*names} - {*columns}
    assert dataset["text"][:] == [f"{columns[0]} {n}" for n in range(3)]
    assert dataset["text_pair"][:] == [columns[1] and f"{columns[1]} {n}" for n in range(3)]
    assert numbers_of(dataset).tolist() == [1.5] * 3


def test_numbers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    wanted = [*draw.normal(size=500).tolist(), 1e100, -1e100, 5e-324, 2**53 + 1, 0]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": "x", "score": one}) + "\n" for one in wanted))
    dataset, _ = stored(path)
    found = numbers_of(dataset)
    assert found.dtype == np.float64 and found.tolist() == [float(one) for one in wanted]


def test_a_file_without_a_column_of_numbers_names_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text("text,marks\na,1\n")
    with pytest.raises(DataError, match=r"no column of numbers .*Columns found: text, marks.*--label_column_name"):
        stored(path)
    assert numbers_of(stored(path, label="marks")[0]).tolist() == [1.0]


def test_a_range_is_numpys_and_equal_numbers_have_none() -> None:
    numbers = np.array([1.0, 2.0, 4.5, 5.0])
    found = LabelRange.of(numbers)
    assert found == LabelRange(minimum=1.0, maximum=5.0, mean=float(numbers.mean()), sd=float(numbers.std()))
    assert str(found) == "from 1 to 5, mean 3.125, sd 1.672"
    assert LabelRange.of(np.full(7, 0.1)) is None
    assert LabelRange.of_card(vars(found)) == found and LabelRange.of_card(None) is None


@pytest.mark.parametrize(
    "change",
    [{"sd": 0.0}, {"sd": -1.0}, {"sd": "1"}, {"mean": 9.0}, {"mean": math.nan}, {"maximum": math.inf},
     {"minimum": True}, {"more": 1.0}],
)  # fmt: skip
def test_a_card_whose_range_is_none_is_refused(change: dict[str, Any]) -> None:
    sound = {"minimum": 1.0, "maximum": 5.0, "mean": 3.0, "sd": 1.0}
    with pytest.raises(DataError, match="label_range: expected"):
        LabelRange.of_card({**sound, **change})
    with pytest.raises(DataError, match="label_range: expected"):
        LabelRange.of_card([*sound.values()])
