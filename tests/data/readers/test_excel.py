"""Excel's tables: as pandas reads them, every value a text, faults at their rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults, SettingsError
from adapters.data.dataset_files import open_file
from adapters.data.rows import notes_of
from adapters.tasks.base.examples import read_named

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed (pip install 'taskswap[excel]')")
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=8).filter(
    lambda text: text.strip() and not text.startswith("=") and "_x" not in text
)
CELLS = TEXT | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6) | st.booleans() | st.dates()


def book(path: Path, **sheets: list[list[Any]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


def read(path: Path, **options: Any) -> list[dict[str, str]]:
    return [row.values for row in open_file(path, **options).rows(Faults("x"))]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(TEXT, CELLS), min_size=1, max_size=5))
def test_a_sheet_is_read_as_pandas_reads_it(tmp_path_factory: pytest.TempPathFactory, table: list) -> None:
    path = book(tmp_path_factory.mktemp("excel") / "train.xlsx", one=[["text", "label"], *map(list, table)])
    theirs = pandas.read_excel(path, dtype=str, na_filter=False, engine="openpyxl")
    assert read(path) == theirs.to_dict("records")
    assert all(isinstance(cell, str) for row in read(path) for cell in row.values())


def test_what_pandas_writes_is_read_without_its_index(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"text": ["a", "b"], "label": [1, 2]})
    frame.to_excel(tmp_path / "train.xlsx")
    assert read(tmp_path / "train.xlsx") == frame.astype(str).to_dict("records")
    assert notes_of(open_file(tmp_path / "train.xlsx")) == [
        "the first column (without a name) numbers the rows, and is left out"
    ]


def test_rows_are_numbered_as_in_the_sheet_and_empty_ones_are_no_rows(tmp_path: Path) -> None:
    path = book(tmp_path / "train.xlsx", one=[[], ["text", "label"], ["a", "x"], [], ["b", "y"]])
    assert [(row.line, row.values["text"]) for row in open_file(path).rows(Faults("x"))] == [(3, "a"), (5, "b")]


def test_a_row_without_a_text_is_a_fault_at_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    path = book(tmp_path / "train.xlsx", one=[["text", "label"], ["a", "x"], [None, "y"]])
    with pytest.raises(DataError, match=rf"{path}:3: column 'text' is empty"):
        read_named("classification", [], train_file=str(path))


def test_of_several_sheets_the_first_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = book(tmp_path / "train.xlsx", one=[["text", "label"], ["a", "x"]], two=[["other"]])
    assert read(path) == [{"text": "a", "label": "x"}]
    assert notes_of(open_file(path)) == ["sheet 'one' is read; not read: 'two'"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "sheet 'one' is empty; not read: 'two'"),
        ([["text", "label"]], "contains no row after its header"),
        ([["good", "a film"], ["bad", "a"], ["good", "b"]], "train.xlsx:1: the first line looks like data"),
        ([["text", "text"], ["bad", "a"]], "two columns have the name 'text'"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(tmp_path: Path, rows: list, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_file(book(tmp_path / "train.xlsx", one=rows, two=[["more"]]))


def test_a_sheet_without_a_header_is_read_with_names(tmp_path: Path) -> None:
    path = book(tmp_path / "train.xlsx", one=[["good", "a film"], ["bad", "a"], ["good", "b"]])
    assert [row["text"] for row in read(path, column_names=["label", "text"])] == ["a film", "a", "b"]


@pytest.mark.parametrize("name", ["train.xls", "train.ods", "train.xlsb"])
def test_other_spreadsheets_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match="Save the sheet as CSV"):
        open_file(tmp_path / name)


def test_a_protected_or_damaged_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.xlsx").write_bytes(b"\xd0\xcf\x11\xe0 what Excel writes with a password")
    with pytest.raises(DataError, match="protected by a password"):
        open_file(tmp_path / "train.xlsx")


def test_without_openpyxl_the_advice_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "train.xlsx", one=[["text", "label"], ["a", "x"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.setattr("adapters.data.readers.excel.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install .*\[excel\]'.*save the sheet as CSV"):
        open_file(path)
