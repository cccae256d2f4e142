"""Which column of a source has which role: named by the user, or found by its usual name; and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.core.errors import DataError
from adapters.data.columns import ColumnRoles, roles_of_splits
from adapters.data.dataset_files import open_file
from adapters.data.rows import RowSource


def source(folder: Path, *columns: str) -> RowSource:
    path = folder / "a.jsonl"
    path.write_text(json.dumps(dict.fromkeys(columns, "x")))
    return open_file(path)


@pytest.mark.parametrize(
    ("columns", "taken", "expected"),
    [
        (("body", "text"), None, "text"),
        (("content", "text"), None, "text"),  # the likelier name, not the first column
        (("Content",), None, "Content"),
        (("TEXT", "text"), None, "TEXT"),
        (("text", "content"), "text", "content"),
        (("body",), None, None),
    ],
)
def test_a_column_is_found_by_the_likeliest_usual_name_in_any_case(
    tmp_path: Path, columns: tuple[str, ...], taken: str | None, expected: str | None
) -> None:
    roles = ColumnRoles(source(tmp_path, *columns), {"other": taken})
    assert roles.look("text", ("text", "content")) == expected


def test_case_can_matter(tmp_path: Path) -> None:
    roles = ColumnRoles(source(tmp_path, "Tokens", "words"))
    assert roles.look("text", ("tokens", "words"), any_case=False) == "words"


def test_the_users_column_wins_and_must_exist(tmp_path: Path) -> None:
    rows = source(tmp_path, "text", "body")
    assert ColumnRoles(rows, {"text": "body"}).find("text", ("text",), what="texts") == "body"
    message = r"a\.jsonl: no column 'Body' \(--text_column_name\)\. Columns found: text, body\. Did you mean 'body'\?$"
    with pytest.raises(DataError, match=message):
        ColumnRoles(rows, {"text": "Body"})
    with pytest.raises(DataError, match=r"Columns found: text, body\.$"):
        ColumnRoles(rows, {"text": "xyz"})


def test_a_column_that_one_split_lacks_is_said_to_be_that_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    splits = {"train": source(tmp_path, "words", "mark"), "test": source(tmp_path / "b", "words", "stars")}
    with pytest.raises(DataError, match=r"b/a\.jsonl: no column 'mark' .*words, stars.* all files"):
        roles_of_splits(splits, {"label": "mark"})
    roles = roles_of_splits(splits, {})
    assert roles["train"].find("label", ("mark",), what="labels") == "mark"
    message = (
        r"b/a\.jsonl: no column 'mark' \(that of labels in .*a\.jsonl\) and no column of labels with a usual name "
        r"\(mark\)\. Columns found: words, stars\. Name it with --label_column_name\. A flag names the column in all "
        r"files: where they differ, rename it in one of them\.$"
    )
    with pytest.raises(DataError, match=message):
        roles["test"].find("label", ("mark",), what="labels")


def test_one_column_cannot_be_named_for_two_roles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--text_column_name and --label_column_name both name 'body'"):
        ColumnRoles(source(tmp_path, "body", "y"), {"text": "body", "label": ["y", "body"]})


def test_a_column_that_is_not_found_is_an_error_with_the_columns_and_the_flag(tmp_path: Path) -> None:
    message = (
        r"a\.jsonl: no column of texts with a usual name \(text, t\)\. Columns found: b, c\. "
        r"Name it with --text_column_name\.$"
    )
    with pytest.raises(DataError, match=message):
        ColumnRoles(source(tmp_path, "b", "c")).find("text", ("text", "t"), what="texts")


def test_of_thousands_of_columns_the_first_are_listed(tmp_path: Path) -> None:
    roles = ColumnRoles(source(tmp_path, *(f"c{number}" for number in range(1000))))
    with pytest.raises(DataError, match=r"Columns found: c0, .*c39, … \(1,000 in all\)\. Name it"):
        roles.find("text", ("text",), what="texts")


def test_what_was_read_what_was_left_and_what_else_was_likely_are_recorded(tmp_path: Path) -> None:
    roles = ColumnRoles(source(tmp_path, "id", "title", "content", "summary", "seen"))
    roles.find("text", ("text", "content", "title"), what="texts")
    roles.find("summary", ("summary", "title"), what="summaries")
    assert roles.record() == {
        "format": "jsonl",
        "columns": {"text": ["content"], "summary": ["summary"], "id": ["id"]},
        "unused": ["title", "seen"],
        "notes": [
            "text is read from content, the likeliest name; it could also be title (--text_column_name)",
            "summary is read from summary, the likeliest name; it could also be title (--summary_column_name)",
        ],
    }


def test_nothing_else_is_likely_where_the_user_named_the_column(tmp_path: Path) -> None:
    roles = ColumnRoles(source(tmp_path, "title", "content"), {"text": "title"})
    roles.find("text", ("text", "content", "title"), what="texts")
    assert roles.record()["notes"] == [] and roles.record()["unused"] == ["content"]
