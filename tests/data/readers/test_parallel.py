"""Parallel lines: two files are one source, nothing is shifted, and files of unequal length are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.rows import Row

READER = discovery.load("readers", "parallel")
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufeff") | st.sampled_from("\u2028\x0c")
LINES = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text.strip())


def write(folder: Path, **files: str | bytes) -> Path:
    """`train_en="a\\n"` is the file train.en."""
    for name, content in files.items():
        path = folder / name.replace("_", ".", 1)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(path: Path, **options: str) -> tuple[list[Row], Faults]:
    faults = Faults(str(path))
    return list(open_file(path, **options).rows(faults)), faults


@settings(deadline=None)
@given(st.lists(st.tuples(LINES, LINES), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_two_files_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], end: str
) -> None:
    folder = tmp_path_factory.mktemp("parallel")
    sides = ["".join(pair[i] + end for pair in pairs) for i in range(2)]
    write(folder, train_en=sides[0], train_de=sides[1])
    rows, faults = read(folder / "train.en")
    assert faults.count == 0
    assert [(row.values["en"], row.values["de"]) for row in rows] == [(a.strip(), b.strip()) for a, b in pairs]
    assert [row.where() for row in rows] == [f"{folder / 'train.en'}:{n + 1}" for n in range(len(pairs))]


def test_a_folder_has_one_source_a_split_whatever_the_number_of_languages(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\n", train_de="b\n", train_pt_BR="c\n", val_en="d\n", val_de="e\n", test_de="f\n")
    write(tmp_path, test_en="g\n", README_md="A note.\n")
    found = open_splits(folder=tmp_path)
    assert {split: source.columns for split, source in found.items()} == {
        "train": ["de", "en", "pt_br"],
        "validation": ["de", "en"],
        "test": ["de", "en"],
    }


def test_either_file_names_both_and_the_digest_is_of_both(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\n", train_de="b\n")
    one, other = open_file(tmp_path / "train.en"), open_file(tmp_path / "train.de")
    assert one.columns == other.columns == ["de", "en"]
    before = one.digest()
    assert before == other.digest()
    write(tmp_path, train_de="c\n")
    assert open_file(tmp_path / "train.en").digest() != before


def test_unequal_files_are_refused_with_both_counts(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\nb\nc\n", train_de="a\nb\n")
    with pytest.raises(DataError) as caught:
        open_splits(folder=tmp_path)
    assert f"{tmp_path / 'train.de'} has 2 lines, {tmp_path / 'train.en'} has 3 lines" in str(caught.value)


def test_a_line_that_is_blank_on_one_side_is_there_and_shifts_nothing(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\n\nc\n\n", train_de="A\nB\nC\n\n")
    rows, faults = read(tmp_path / "train.en")
    assert faults.count == 0
    assert [row.values for row in rows] == [{"de": "A", "en": "a"}, {"de": "B", "en": ""}, {"de": "C", "en": "c"}]


def test_faults_name_their_file_and_line_and_drop_the_pair(tmp_path: Path) -> None:
    write(tmp_path, train_en="a\nb\nc\n", train_de=b"A\nB\0\n\xe4\n")
    rows, faults = read(tmp_path / "train.en")
    assert [row.values["en"] for row in rows] == ["a"]
    assert [shown.split(": ")[0] for shown in faults.shown] == [f"{tmp_path / 'train.de'}:{n}" for n in (2, 3)]


def test_compressed_files_are_read(tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"train.{language}.gz").write_bytes(gzip.compress(b"a\n"))
    assert read(tmp_path / "train.en.gz")[0][0].values == {"de": "a", "en": "a"}
    (tmp_path / "train.de").write_text("a\n")
    with pytest.raises(DataError, match="two files are of one language"):
        open_file(tmp_path / "train.en.gz")


@pytest.mark.parametrize("names", [("train.en",), ("train.en", "train.txt"), ("train.en", "dev.de"), ("en", "de")])
def test_a_file_alone_is_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("a b\n")
    assert not any(READER.recognises(tmp_path / name, "a b\n") for name in names)
    with pytest.raises(DataError, match="no file of another language is in its folder"):
        open_file(tmp_path / names[0], reader="parallel")


@pytest.mark.parametrize("names", [("train.csv", "train.tsv"), ("train.py", "train.md"), ("train.conll", "train.txt")])
def test_other_files_that_differ_in_their_ending_are_no_languages(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).write_text("a\tb\n")
    with pytest.raises(DataError, match="are all train"):
        open_splits(folder=tmp_path)


def test_real_files_are_three_splits(shared_data: Path) -> None:
    found = open_splits(folder=shared_data / "multi30k_en_de")
    counts = {split: sum(1 for _ in source.rows(Faults("x"))) for split, source in found.items()}
    assert counts == {"train": 6000, "validation": 1014, "test": 1000}
