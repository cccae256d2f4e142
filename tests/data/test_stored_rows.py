"""Rows as a task stores them: checked, with ids and places, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adapters.core.errors import DataError, Faults
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.shards import joined
from adapters.data.stored_rows import CheckedRows, stored_rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))


class Storing:
    """Stores the column `a` of the rows in which it is no number, and counts how often rows are checked."""

    def __init__(self, folder: Path, *rows: dict[str, Any]) -> None:
        self.path = folder / "a.jsonl"
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.source = open_file(self.path)
        self.checks = 0

    def check(self, faults: Faults) -> CheckedRows:
        self.checks += 1
        for row in self.source.rows(faults):
            if row.values["a"] is None:
                faults.note("rows without a left out")
            elif isinstance(row.values["a"], str):
                yield row, {"a": row.values["a"]}
            else:
                faults.add(row.where(), "a is a number")

    def stored(self, key: Any = "k") -> tuple[list[dict[str, Any]], dict[str, Any]]:
        dataset, notes = stored_rows(ColumnRoles(self.source), self.check, {"a": pa.string()}, key=key, needs="texts")
        return list(dataset), notes


def test_a_row_has_its_own_id_or_its_number_and_its_place(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": "x", "id": 7}, {"a": "y"}, {"a": "z", "id": None})
    rows, notes = made.stored()
    assert rows == [
        {"id": "7", "a": "x", "document": "", "where": f"{made.path}:1"},
        {"id": "1", "a": "y", "document": "", "where": f"{made.path}:2"},
        {"id": "2", "a": "z", "document": "", "where": f"{made.path}:3"},
    ]
    reading = {"format": "jsonl", "columns": {"id": ["id"]}, "unused": ["a"], "notes": []}
    assert notes == {"source": str(made.path), "digest": made.source.digest(), "reading": reading}


def test_what_was_left_out_is_counted_also_where_rows_come_from_the_cache(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": None}, {"a": "x"}, {"a": None})
    for _ in range(2):
        rows, notes = made.stored()
        assert len(rows) == 1 and notes["reading"]["notes"] == ["2 rows without a left out"]
    assert made.checks == 1
    for counted in (tmp_path / "cache").rglob("*.json"):
        counted.unlink()
    assert made.stored()[1]["reading"]["notes"] == ["2 rows without a left out"] and made.checks == 2


def test_rows_are_checked_once_for_each_key_and_each_content(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": "x"})
    assert made.stored() == made.stored() and made.checks == 1
    made.stored("another")
    assert made.checks == 2
    made.path.write_text('{"a": "y"}\n')
    assert made.stored()[0][0]["a"] == "y" and made.checks == 3


def test_faults_are_raised_together_and_nothing_is_stored(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": 1}, {"a": "x"}, {"a": 2})
    for checks in (1, 2):
        with pytest.raises(DataError, match=r"2 faults:\n.*a\.jsonl:1: a is a number \(2 times: also at 3\)"):
            made.stored()
        assert made.checks == checks


def test_a_source_without_an_example_is_refused(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": "x"})
    with pytest.raises(DataError, match=r"a\.jsonl: the file contains no example\. Give one with texts\.$"):
        stored_rows(ColumnRoles(made.source), lambda faults: iter(()), {"a": pa.string()}, key="none", needs="texts")


def test_a_row_knows_its_document_by_the_column_named_or_by_a_usual_name(tmp_path: Path) -> None:
    made = Storing(tmp_path, {"a": "x", "Doc ID": 7}, {"a": "y", "Doc ID": None}, {"a": "z", "Doc ID": "long " * 20})
    rows, notes = made.stored()
    assert [row["document"] for row in rows[:2]] == ["7", ""] and len(rows[2]["document"]) == 16
    assert notes["reading"]["columns"] == {"document": ["Doc ID"]}
    roles = ColumnRoles(made.source, {"document": "a", "text": "a"})
    dataset, _ = stored_rows(roles, made.check, {"a": pa.string()}, key="k", needs="texts")
    assert dataset["document"][:] == ["x", "y", "z"], "it may be an input as well"


def test_documents_that_are_numbered_in_their_files_differ_from_those_of_another_part(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"train-{number:05}-of-00002.conll").write_text("-DOCSTART- O\n\nAda B-PER\n\nsmiled O\n")
    source = joined("train", [open_file(path) for path in sorted(tmp_path.glob("*.conll"))])
    roles = ColumnRoles(source)

    def check(faults: Faults) -> CheckedRows:
        return ((row, {}) for row in source.rows(faults))

    documents = stored_rows(roles, check, {}, key="k", needs="words")[0]["document"][:]
    assert documents[0] == documents[1] != documents[2] == documents[3]
