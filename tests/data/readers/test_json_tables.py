"""JSON as pandas writes it, and objects of lists: read as the same table, or refused by what is needed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import notes_of

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.integers(-(2**50), 2**50)


def write(folder: Path, content: Any, name: str = "train.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    faults = Faults(str(path))
    rows = [row.values for row in open_file(path).rows(faults)]
    faults.raise_if_any()
    return rows


@settings(deadline=None)
@given(
    st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=5),
    st.sampled_from(["records", "columns", "index", "split", "table", "lines"]),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_each_form_that_pandas_writes_is_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, table: list, orient: str, indent: int | None, shuffled: bool
) -> None:
    frame = pandas.DataFrame({"text": [str(a) for a, _ in table], "label": [str(b) for _, b in table]})
    frame = frame.iloc[::-1] if shuffled else frame
    path = tmp_path_factory.mktemp("json") / "train.json"
    if orient == "lines":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_json(path, orient=orient, indent=indent)  # type: ignore[call-overload]
    assert read(path) == frame.to_dict("records")
    left_out = {"table": "the index (index) is left out"}.get(orient, "the index is left out")
    assert notes_of(open_file(path)) == ([] if orient in ("records", "lines") else [left_out])


def test_the_values_alone_are_refused_with_what_to_write(tmp_path: Path) -> None:
    pandas.DataFrame({"text": ["a"], "label": ["b"]}).to_json(tmp_path / "train.json", orient="values")
    with pytest.raises(DataError, match=r"no names of columns.*orient=\"records\", lines=True"):
        open_file(tmp_path / "train.json")


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_of_lists_is_a_table(tmp_path: Path, indent: int | None) -> None:
    content = {"text": ["a", "b"], "label": ["x", "y"], "data": ["1", "2"]}
    path = write(tmp_path, json.dumps(content, indent=indent))
    assert read(path) == pandas.read_json(io.StringIO(json.dumps(content)), dtype=False).to_dict("records")
    assert [row.where() for row in open_file(path).rows(Faults("x"))] == [f"{path}: row 1", f"{path}: row 2"]


def test_sentences_in_an_object_of_lists_are_rows_and_one_sentence_is_one_row(tmp_path: Path) -> None:
    many = {"tokens": [["a", "b"], ["c"]], "ner_tags": [["O", "O"], ["O"]]}
    assert read(write(tmp_path, many)) == [{key: value[n] for key, value in many.items()} for n in (0, 1)]
    one = {"tokens": ["a", "b"], "ner_tags": ["O", "O"]}
    assert read(write(tmp_path, one)) == [one]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a", "label": "x"},
        {"text": "a", "label": {"name": {"a": [[0, 0]]}}},
        {"text": "a", "entities": [{"start": 0, "end": 1, "label": "X"}]},
        {"translation": {"en": "a", "de": "b"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_one_row_is_one_row(tmp_path: Path, row: dict[str, Any], indent: int | None) -> None:
    assert read(write(tmp_path, json.dumps(row, indent=indent))) == [row]


def test_rows_under_their_ids_keep_them(tmp_path: Path) -> None:
    path = write(tmp_path, {"doc-1": {"text": "a", "label": "x"}, "doc-2": {"text": "b", "label": "y"}})
    assert read(path) == [{"id": "doc-1", "text": "a", "label": "x"}, {"id": "doc-2", "text": "b", "label": "y"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": ["a", "b"], "label": ["x"]}, "of one length, but text has 2, label has 1"),
        (
            {"train": [{"text": "a"}], "test": [{"text": "b"}]},
            "lists under train, test: save each as a file",
        ),
        ({"rows": [{"text": "a"}]}, "a list of objects is needed.*lists under rows"),
        ({"version": 1, "rows": [{"text": "a"}]}, "a list of objects is needed.*this object has version, rows"),
        ({"0": {"0": "a"}, "1": {"0": "b"}}, "may be columns or rows"),
        ({"text": {"0": "a", "1": "b"}, "label": {"0": "x"}}, "all have the same keys"),
        ([["a", "x"], ["b", "y"]], "a list of lists has no names of columns"),
        ([], "contains no object with a key"),
        ({}, "a list of objects is needed"),
        ("3", "a list of objects is needed"),
        ({"columns": ["a", "b"], "data": [["1", "2"], ["3"]]}, "row 2: found 1 cells, there are 2 columns"),
        ('{"text": {"0": "a", "0": "b"}, "label": {"0": "x"}}', "the key '0' occurs twice"),
        ('{"text": ["a", NaN], "label": ["x", "y"]}', "NaN is not JSON"),
    ],
)
def test_a_document_that_is_no_table_is_refused_by_what_is_needed(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, content))
