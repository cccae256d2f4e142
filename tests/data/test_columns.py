"""Which column of a source holds what: named by the user, or found by its usual name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.core.errors import DataError
from adapters.data.columns import find_column, given_column, usual_column
from adapters.data.dataset_files import open_file
from adapters.data.rows import RowSource


def source(folder: Path, *columns: str) -> RowSource:
    path = folder / "a.jsonl"
    path.write_text(json.dumps(dict.fromkeys(columns, "x")))
    return open_file(path)


@pytest.mark.parametrize(
    ("columns", "taken", "expected"),
    [
        (("body", "text"), (), "text"),
        (("content", "text"), (), "text"),  # the likelier name, not the first column
        (("Content",), (), "Content"),
        (("TEXT", "text"), (), "TEXT"),
        (("text", "content"), ("text",), "content"),
        (("body",), (), None),
    ],
)
def test_a_column_is_found_by_the_likeliest_usual_name_in_any_case(
    tmp_path: Path, columns: tuple[str, ...], taken: tuple[str, ...], expected: str | None
) -> None:
    assert usual_column(source(tmp_path, *columns), ("text", "content"), taken=taken) == expected


def test_case_can_matter(tmp_path: Path) -> None:
    assert usual_column(source(tmp_path, "Tokens", "words"), ("tokens", "words"), any_case=False) == "words"


def test_the_users_column_wins_and_must_exist(tmp_path: Path) -> None:
    rows = source(tmp_path, "text", "body")
    assert find_column(rows, "texts", "text_column_name", "body", ("text",)) == "body"
    assert given_column(rows, "text_column_name", None) is None
    with pytest.raises(
        DataError, match=r"a\.jsonl: no column 'Body' \(--text_column_name\)\. Columns found: text, body\.$"
    ):
        given_column(rows, "text_column_name", "Body")


def test_a_column_that_is_not_found_is_an_error_with_the_columns_and_the_flag(tmp_path: Path) -> None:
    message = (
        r"a\.jsonl: no column of texts with a usual name \(text, t\)\. Columns found: b, c\. Name it with --flag\.$"
    )
    with pytest.raises(DataError, match=message):
        find_column(source(tmp_path, "b", "c"), "texts", "flag", None, ("text", "t"))
