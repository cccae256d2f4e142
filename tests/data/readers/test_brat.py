"""brat's folders: which documents and annotations are read, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row, notes_of

TEXT = "Ada met Bob in Oslo."


def folder(path: Path, **documents: tuple[str | None, str | None]) -> Path:
    for name, contents in documents.items():
        for suffix, content in zip((".txt", ".ann"), contents, strict=True):
            if content is not None:
                (path / f"{name}{suffix}").write_text(content, encoding="utf-8")
    return path


def read(path: Path) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path).rows(faults)), faults


def test_documents_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    ann = "T1\tPER 0 3\tAda\nT2\tLOC 15 19\tOslo\n"
    rows, faults = read(folder(tmp_path, b=("Nobody.\n", ""), a=(TEXT, ann)))
    assert faults.count == 0
    assert [row.values for row in rows] == [
        {
            "id": "a",
            "text": TEXT,
            "entities": [
                {"start": 0, "end": 3, "label": "PER", "text": "Ada"},
                {"start": 15, "end": 19, "label": "LOC", "text": "Oslo"},
            ],
        },
        {"id": "b", "text": "Nobody.\n", "entities": []},
    ]
    assert [rows[0].where(k) for k in (0, 1)] == [f"{tmp_path}/a.ann:1", f"{tmp_path}/a.ann:2"]


def test_what_is_no_entity_is_left_out_and_counted(tmp_path: Path) -> None:
    ann = (
        "T1\tPER 0 3;8 11\tAda Bob\nT2\tPER 0 3\tAda\nR1\tMet Arg1:T1 Arg2:T2\t\nE1\tMeet:T2\nA1\tSure T2\n"
        "M1\tNegation T2\n*\tEquiv T1 T2\nN1\tReference T2 Wiki:1\tAda\n#1\tAnnotatorNotes T2\tsic\n\n"
    )
    rows, faults = read(folder(tmp_path, a=(TEXT, ann)))
    assert [entity["text"] for entity in rows[0].values["entities"]] == ["Ada"]
    assert dict(faults.notes) == {
        "entities in several parts left out": 1,
        "relations left out": 2,
        "events left out": 1,
        "attributes left out": 2,
        "references left out": 1,
        "notes left out": 1,
    }


def test_files_without_their_other_half_are_said(tmp_path: Path) -> None:
    source = open_file(folder(tmp_path, a=(TEXT, ""), b=(TEXT, None), c=(None, "")))
    assert notes_of(source) == [
        "1 .txt without .ann left out: b.txt",
        "1 .ann without .txt left out: c.ann",
    ]
    assert len(list(source.rows(Faults("x")))) == 1


@pytest.mark.parametrize("line", ["T1 PER 0 3 Ada", "T1\tPER\tAda", "T1\tPER 0\tAda", "hello"])
def test_a_line_that_is_no_annotation_is_a_fault(tmp_path: Path, line: str) -> None:
    rows, faults = read(folder(tmp_path, a=(TEXT, f"T1\tPER 0 3\tAda\n{line}\n"), b=(TEXT, "")))
    assert [row.values["id"] for row in rows] == ["b"]
    assert faults.shown == [f"{tmp_path}/a.ann:2: no annotation of brat: {line!r}"]


def test_one_document_may_be_given_by_its_annotations(tmp_path: Path) -> None:
    path = folder(tmp_path, **{"a.v1": (TEXT, "T1\tPER 0 3\tAda\n"), "b": (TEXT, "")})
    assert [row.values["id"] for row in read(path / "a.v1.ann")[0]] == ["a.v1"]


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    reader = discovery.load("readers", "brat")
    assert not reader.recognises(folder(tmp_path, a=(TEXT, None), b=(None, "")), "")
    with pytest.raises(DataError, match=r"no \.txt has an \.ann next to it"):
        reader.open(tmp_path, "utf-8")


def test_the_digest_follows_text_annotations_and_names(tmp_path: Path) -> None:
    digests = {open_file(folder(tmp_path, a=(TEXT, ""))).digest()}
    digests.add(open_file(folder(tmp_path, a=(TEXT, "T1\tPER 0 3\tAda\n"))).digest())
    digests.add(open_file(folder(tmp_path, a=(TEXT + "!", None))).digest())
    digests.add(open_file(folder(tmp_path, b=(TEXT, ""))).digest())
    assert len(digests) == 4


def test_line_ends_of_windows_count_as_brat_counts_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"One.\r\nAda.\r\n")
    (tmp_path / "a.ann").write_bytes(b"T1\tPER 6 9\tAda\r\n")
    rows, faults = read(tmp_path)
    (entity,) = rows[0].values["entities"]
    assert faults.count == 0 and rows[0].values["text"][entity["start"] : entity["end"]] == entity["text"] == "Ada"
