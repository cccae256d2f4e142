"""Folders with `seq.in`, `seq.out` and `label`."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file


def folder(path: Path, words: str, tags: str, label: str | None = None) -> Path:
    for name, content in (("seq.in", words), ("seq.out", tags), ("label", label)):
        if content is not None:
            (path / name).write_text(content, encoding="utf-8")
    return path


def test_lines_of_one_number_are_a_row(tmp_path: Path) -> None:
    source = open_file(folder(tmp_path, "Ada met Bob\n\nOslo \n", "B-P O B-P\n\nB-L\n", "meet\n\ngo\n"))
    rows = list(source.rows(Faults("x")))
    assert [row.values["tokens"] for row in rows] == [["Ada", "met", "Bob"], ["Oslo"]]
    assert [row.values["tags"] for row in rows] == [["B-P", "O", "B-P"], ["B-L"]]
    assert [row.values["text"] for row in rows] == ["Ada met Bob", "Oslo"]
    assert [row.values["label"] for row in rows] == ["meet", "go"]
    assert rows[1].where() == f"{tmp_path}/seq.in:3"


def test_the_intent_may_be_missing_and_a_file_may_stand_for_its_folder(tmp_path: Path) -> None:
    source = open_file(folder(tmp_path, "a b\n", "O B-X\n") / "seq.in")
    assert source.columns == ["tokens", "text", "tags", "seq.in", "seq.out"]
    assert len(list(source.rows(Faults("x")))) == 1


def test_files_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"seq\.in has 2 lines, .*seq\.out has 1 line"):
        open_file(folder(tmp_path, "a\nb\n", "O\n"))


def test_blank_lines_at_the_end_do_not_count(tmp_path: Path) -> None:
    assert open_file(folder(tmp_path, "a\nb\n\n\n", "O\nO")).columns


def test_files_without_a_sentence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contain no sentence"):
        open_file(folder(tmp_path, "\n", "\n"))


def test_its_files_belong_together(tmp_path: Path) -> None:
    reader = discovery.load("readers", "seq_in")
    folder(tmp_path, "a\n", "O\n", "x\n")
    assert [path.name for path in reader.companions(tmp_path / "seq.in")] == ["seq.out", "label"]
    assert reader.companions(tmp_path / "other") == []
    assert not reader.recognises(tmp_path / "label", "x\n") and not reader.recognises(tmp_path.parent, "")
