"""A folder for each class with a file for each text: what is recognised, read, left out, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.rows import format_of, notes_of

READER = discovery.load("readers", "class_folders")


def fill(folder: Path, *names: str, text: str = "a stirring film\n") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def test_a_folder_of_class_folders_is_one_split(tmp_path: Path) -> None:
    fill(tmp_path, "pos/0_9.txt", "pos/10_7.txt", "neg/1.txt", text="One.\r\nTwo.\n\n")
    source = open_file(tmp_path)
    rows = list(source.rows(Faults("x")))
    assert [(row.values["id"], row.values["label"]) for row in rows] == [
        ("neg/1.txt", "neg"),
        ("pos/0_9.txt", "pos"),
        ("pos/10_7.txt", "pos"),
    ]
    assert rows[0].values["text"] == "One.\nTwo."
    assert rows[0].where() == f"{tmp_path}/neg/1.txt:1"
    assert (source.columns, format_of(source)) == (["id", "text", "label"], "folders of 2 classes")


def test_texts_without_labels_and_other_files_are_left_out_and_said(tmp_path: Path) -> None:
    fill(tmp_path, "pos/1.txt", "neg/1.txt", "unsup/1.txt", "unsup/2.txt", "labeledBow.feat", ".DS_Store")
    source = open_file(tmp_path)
    assert {row.values["label"] for row in source.rows(Faults("x"))} == {"pos", "neg"}
    assert notes_of(source) == [
        "unsup is left out: 2 texts without a label",
        "files beside the folders are not read: labeledBow.feat",
    ]


def test_a_train_and_a_test_folder_are_two_splits(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{split}/{label}/1.txt" for split in ("train", "test") for label in ("pos", "neg")))
    found = open_splits(files={split: str(tmp_path / split) for split in ("train", "test")})
    assert {split: len(list(source.rows(Faults("x")))) for split, source in found.items()} == {"train": 2, "test": 2}
    assert not READER.recognises(tmp_path, "")


def test_files_without_an_ending_are_texts(tmp_path: Path) -> None:
    assert READER.recognises(fill(tmp_path, "sci.med/59226", "rec.autos/101551.2"), "")


@pytest.mark.parametrize(
    "names",
    [
        ("pos/1.txt",),
        ("pos/1.txt", "neg/1.json"),
        ("pos/1.txt", "neg/deep/1.txt"),
        ("train/1.txt", "test/1.txt"),
        ("a/1.txt", "a/1.ann", "b/1.txt"),
        ("train.txt", "test.txt"),
        ("pos/1.txt", "unsup/1.txt"),
    ],
)
def test_other_folders_are_not_taken_for_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert not READER.recognises(fill(tmp_path, *names), "")


def test_what_is_no_text_is_a_fault_of_its_file(tmp_path: Path) -> None:
    fill(tmp_path, "pos/1.txt", "neg/1.txt")
    (tmp_path / "neg" / "2.txt").write_bytes(b"caf\xe9\n")
    faults = Faults("x")
    assert len(list(open_file(tmp_path).rows(faults))) == 2
    with pytest.raises(DataError, match=r"neg/2\.txt:1: byte 0xe9 is not utf-8"):
        faults.raise_if_any()


def test_the_digest_changes_with_a_text_and_with_its_class(tmp_path: Path) -> None:
    one = open_file(fill(tmp_path / "one", "a/1.txt", "b/1.txt")).digest()
    assert one == open_file(fill(tmp_path / "two", "a/1.txt", "b/1.txt")).digest()
    assert one != open_file(fill(tmp_path / "three", "a/1.txt", "c/1.txt")).digest()


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no folder of a class with texts"):
        READER.open(tmp_path, "utf-8")
    with pytest.raises(DataError, match="is not a folder"):
        open_file(fill(tmp_path, "a.txt") / "a.txt", reader="class_folders")
