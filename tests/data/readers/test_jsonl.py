"""JSON lines and JSON documents."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row

SHARED = Path(__file__).parents[4] / "shared" / "data"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), min_size=1, max_size=5)


def write(folder: Path, content: str | bytes, name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **options: str) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path, **options).rows(faults)), faults


@settings(deadline=None)
@given(OBJECTS, st.sampled_from(["\n", "\r\n"]), st.integers(0, 2), st.booleans(), st.booleans())
def test_json_lines_read_back_as_written_with_their_line_numbers(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], end: str, blanks: int, mark: bool, ascii_only: bool
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only) for value in objects]
    content = "\ufeff" * mark + (end * (blanks + 1)).join(texts)
    rows, faults = read(write(tmp_path_factory.mktemp("jsonl"), content))
    assert faults.count == 0
    assert [row.values for row in rows] == objects
    assert [row.line for row in rows] == [1 + index * (blanks + 1) for index in range(len(objects))]


@settings(deadline=None)
@given(OBJECTS, st.sampled_from([None, 0, 1]), st.booleans())
def test_json_documents_read_back_as_written_with_their_line_numbers(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], indent: int | None, wrapped: bool
) -> None:
    document = {"version": {"data": [1]}, "data": objects, "more": []} if wrapped else objects
    text = json.dumps(document, indent=indent)
    rows, faults = read(write(tmp_path_factory.mktemp("json"), text, "train.json"))
    assert faults.count == 0
    assert [row.values for row in rows] == objects
    if indent is None:
        assert [row.line for row in rows] == list(range(1, len(objects) + 1)), "numbers, as all are on one line"
    else:
        lines = text.split("\n")
        depth = indent * (2 if wrapped else 1)
        opening = [number for number, line in enumerate(lines, 1) if line == " " * depth + "{"]
        assert {row.line for row in rows} <= set(opening)
        assert len({row.line for row in rows}) == len(objects)


def test_columns_are_the_keys_in_the_order_they_come(tmp_path: Path) -> None:
    source = open_file(write(tmp_path, '{"b": 1}\n{"a": 2, "b": 1}\n'))
    assert source.columns == ["b", "a"]
    assert [row.line_step for row in source.rows(Faults("x"))] == [0, 0]


def test_a_json_file_may_hold_an_object_a_line(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, '\n{"a": 1}\n{"a": 2}\n', "train.json"))
    assert [row.line for row in rows] == [2, 3]


def test_a_line_with_a_list_called_data_is_a_row_if_more_lines_follow(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, '{"data": [1]}\n{"data": [2]}\n', "train.json"))
    assert [row.values for row in rows] == [{"data": [1]}, {"data": [2]}]


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, gzip.compress(b'{"a": 1}\n'), "train.jsonl.gz"))
    assert [row.values for row in rows] == [{"a": 1}]


def test_a_compressed_file_cut_short_is_a_fault_where_reading_ends(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f'{{"a": "{hash(str(n))}"}}\n' for n in range(20000)).encode())
    rows, faults = read(write(tmp_path, whole[: len(whole) // 2], "train.jsonl.gz"))
    assert faults.count == 1
    assert f"{rows[-1].line + 1}: cannot be read further" in faults.shown[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a": 1,}', "not JSON at column 9"),
        ('{"a": 1} {"a": 2}', "not JSON at column 10: Extra data"),
        ("[1]", "a JSON object is needed, found a list"),
        ("null", "a JSON object is needed, found null"),
        ("true", "a JSON object is needed, found a truth value"),
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' occurs twice in one object"),
        ('{"b": {"a": 1, "a": 1}}', "the key 'a' occurs twice in one object"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": [-Infinity]}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        (f'{{"a": {"9" * 5000}}}', "cannot be read as JSON"),
        ('{"a": "\\ud83d"}', "a string contains half of a character"),
        ('{"a": ' * 100_000, "cannot be read as JSON"),
        ('{"a": "\0"}', "the line contains a NUL character"),
    ],
    ids=range(14),
)
def test_a_line_with_a_fault_is_named_and_reading_goes_on(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path, '{"a": 0}\n' + line + '\n{"a": 3}\n')
    rows, faults = read(path)
    assert [row.values for row in rows] == [{"a": 0}, {"a": 3}]
    assert faults.count == 1
    assert faults.shown[0].startswith(f"{path}:2: {said}")


def test_an_escaped_pair_is_one_character(tmp_path: Path) -> None:
    rows, faults = read(write(tmp_path, r'{"a": "\ud83d\ude00"}'))
    assert (rows[0].values, faults.count) == ({"a": "\U0001f600"}, 0)


def test_faults_inside_a_document_stand_at_the_line_of_their_element(tmp_path: Path) -> None:
    path = write(tmp_path, '[\n{"a": 1},\n\n{"a": 1,\n "a": 2},\n7,\n{"a": 3}]', "train.json")
    rows, faults = read(path)
    assert [(row.line, row.values["a"]) for row in rows] == [(2, 1), (7, 3)]
    assert faults.shown == [
        f"{path}:4: the key 'a' occurs twice in one object",
        f"{path}:6: a JSON object is needed, found a number",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"a": 1},\n{"a" 2}]', "train.json:2: not JSON at column 6"),
        ('{\n"rows": [1]}', "train.json:1: a list of objects is needed"),
        ("[]", "contains no object with a key"),
        ('[{"a": "é"}]'.encode("latin-1"), "train.json:1: byte 0xe9 is not utf-8"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_when_opened(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_file(write(tmp_path, content, "train.json"))


def test_a_fault_of_many_lines_is_shown_once_with_its_number(tmp_path: Path) -> None:
    _, faults = read(write(tmp_path, '{"a": 1}\n' + "x\n" * 25))
    with pytest.raises(DataError, match=r"25 faults:\n.*25 times: also at"):
        faults.raise_if_any()
    assert len(faults.shown) == 1


@pytest.mark.parametrize("content", ['{"a": 1}\n', '[\n  {"a": 1}\n]', '\n {\n "data": [{"a": 1}]}'])
def test_json_of_unknown_extension_is_recognised(tmp_path: Path, content: str) -> None:
    assert read(write(tmp_path, content, "train.txt"))[0][0].values == {"a": 1}


def test_real_json_files_have_the_published_number_of_rows() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    found = {split: len(read(SHARED / "scitldr" / f"{split}.jsonl")[0]) for split in ("train", "dev", "test")}
    assert found == {"train": 1992, "dev": 619, "test": 618}
    articles = read(SHARED / "xquad" / "xquad.zh.json", reader="jsonl")[0]
    assert sum(len(p["qas"]) for row in articles for p in row.values["paragraphs"]) == 1190


@pytest.mark.parametrize("as_list", [False, True])
def test_a_column_that_comes_after_the_first_rows_is_said_not_to_be_read(tmp_path: Path, as_list: bool) -> None:
    rows = [{"text": str(i), **({"text_pair": "x", "id": i} if i > 120 else {})} for i in range(125)]
    text = json.dumps(rows) if as_list else "".join(json.dumps(row) + "\n" for row in rows)
    source = open_file(write(tmp_path, text, "a.json" if as_list else "a.jsonl"))
    assert source.columns == ["text"]
    faults = Faults("x")
    assert len([*source.rows(faults)]) == 125
    assert dict(faults.notes) == {"rows with a column 'text_pair' that none of the first 100 has; it is not read": 4}
