"""Folders as people and tools leave them: shards, folders of splits, MNLI's two dev splits, what is not used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import datasets
import pytest

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.rows import RowSource, notes_of
from adapters.tasks.base.examples import read_named
from adapters.tasks.base.reading import reading_lines

WILD = Path(__file__).parents[3] / "shared" / "data" / "wild"
FOLDER_READER = """
from adapters.data.rows import Row
EXTENSIONS = ()
FILES = "a folder with seq.in and label"
def recognises(path, head): return (path / "seq.in").is_file()
def open(path, encoding): return Source(path)
class Source:
    said = ()
    columns = ["text", "label"]
    def __init__(self, path): self.path, self.name = path, str(path)
    def digest(self): return (self.path / "seq.in").read_text()
    def rows(self, faults):
        pairs = zip((self.path / "seq.in").read_text().split("\\n"), (self.path / "label").read_text().split("\\n"))
        for number, (text, label) in enumerate(pairs, 1):
            if text: yield Row(self.name, number, 0, {"text": text, "label": label})
"""


def fill(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def line(text: str, label: str = "x") -> str:
    return json.dumps({"text": text, "label": label}) + "\n"


def texts(source: RowSource) -> list[str]:
    return [row.values["text"] for row in source.rows(Faults("x"))]


@pytest.fixture
def plugins(tmp_path: Path) -> list[str]:
    (tmp_path / "mine" / "data" / "readers").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "readers" / "sequences.py").write_text(FOLDER_READER)
    return [str(tmp_path / "mine")]


@pytest.mark.parametrize("under", ["", "data", "some_config"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_shards_as_the_hub_writes_them_are_one_split_in_order(tmp_path: Path, under: str, kind: str) -> None:
    rows = [{"text": f"text {number}", "label": str(number % 2)} for number in range(25)]
    whole = datasets.Dataset.from_list(rows)
    folder = tmp_path / "set" / under
    folder.mkdir(parents=True)
    for split, count in (("train", 3), ("test", 1)):
        for number in range(count):
            shard = whole.shard(count, number, contiguous=True)
            getattr(shard, f"to_{kind}")(str(folder / f"{split}-{number:05}-of-{count:05}.{kind}"))
    (tmp_path / "set" / "README.md").write_text("about")
    splits = open_splits(folder=tmp_path / "set")
    theirs = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        assert [row.values for row in splits[split].rows(Faults("x"))] == [*theirs[split]] or kind == "csv"
        assert texts(splits[split]) == [*theirs[split]["text"]] == [row["text"] for row in rows]
    assert splits["train"].name.endswith(f"train-*-of-00003.{kind}")
    first = next(splits["train"].rows(Faults("x")))
    assert first.where().startswith(f"{folder}/train-00000-of-00003.{kind}:")
    assert splits["train"].digest() != splits["test"].digest()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"train-00000-of-00003.jsonl": line("a"), "train-00002-of-00003.jsonl": line("b")})
    with pytest.raises(DataError, match="2 of 3 parts are there; missing: 1"):
        open_splits(folder=tmp_path)


def test_shards_of_other_columns_are_refused(tmp_path: Path) -> None:
    other = '{"text": "b", "topic": "y"}\n'
    fill(tmp_path, {"train-0-of-2.jsonl": line("a"), "train-1-of-2.jsonl": other})
    with pytest.raises(DataError, match=r"has other columns than .*: only one of them has label, topic"):
        open_splits(folder=tmp_path)


def test_what_was_said_of_a_shard_is_said_of_the_split(tmp_path: Path) -> None:
    table = ",text,label\n0,a,x\n1,b,y\n"
    fill(tmp_path, {"train-0-of-2.csv": table, "train-1-of-2.csv": table})
    source = open_splits(folder=tmp_path)["train"]
    assert texts(source) == ["a", "b", "a", "b"] and source.format == "csv, 2 parts"  # type: ignore[attr-defined]
    assert notes_of(source) == ["the first column (without a name) numbers the rows, and is left out"]


def test_matched_is_the_dev_split_and_what_is_not_used_is_said(tmp_path: Path) -> None:
    names = ["train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"]
    fill(tmp_path, {f"{name}.jsonl": line(name) for name in names} | {"notes.csv": "a,b\n1,2\n", "readme.txt": "x"})
    splits = open_splits(folder=tmp_path)
    assert {name: texts(source) for name, source in splits.items()} == {
        "train": ["train"],
        "validation": ["validation_matched"],
        "test": ["test_matched"],
    }
    assert notes_of(splits["train"]) == [
        "validation_matched.jsonl is the validation split; not used: validation_mismatched.jsonl",
        "test_matched.jsonl is the test split; not used: test_mismatched.jsonl",
        f"not used of {tmp_path}: notes.csv",
    ]


def test_a_lone_mismatched_test_split_is_not_taken_for_the_matched_one(tmp_path: Path) -> None:
    fill(
        tmp_path, {"train.jsonl": line("a"), "validation_matched.jsonl": line("b"), "test_mismatched.jsonl": line("c")}
    )
    splits = open_splits(folder=tmp_path)
    assert [*splits] == ["train", "validation"]
    assert "not used: test_mismatched.jsonl" in notes_of(splits["train"])


def test_the_wild_folder_of_mnli_is_read_and_its_lines_say_what_is_not_used(monkeypatch, tmp_path: Path) -> None:
    if not WILD.is_dir():
        pytest.skip(f"no real data at {WILD}")
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    _, splits = read_named("classification", [], dataset_name=str(WILD / "33_matched"))
    assert [len(split) for split in splits.values()] == [6, 3, 2]
    assert any("not used: validation_mismatched.jsonl" in said for said in reading_lines(splits))


def test_folders_named_as_splits_are_offered_to_the_readers_of_folders(tmp_path: Path, plugins: list[str]) -> None:
    fill(
        tmp_path / "set",
        {
            "train/seq.in": "a\nb",
            "train/label": "x\ny",
            "test/seq.in": "c",
            "test/label": "x",
            "more/x.txt": "z",
        },
    )
    splits = open_splits(folder=tmp_path / "set", plugin_dirs=plugins)
    assert {name: texts(source) for name, source in splits.items()} == {"train": ["a", "b"], "test": ["c"]}


def test_a_folder_that_a_reader_reads_as_a_whole_is_train(tmp_path: Path, plugins: list[str]) -> None:
    folder = fill(tmp_path / "set", {"seq.in": "a\nb", "label": "x\ny"})
    assert texts(open_splits(folder=folder, plugin_dirs=plugins)["train"]) == ["a", "b"]
    assert texts(open_file(folder, plugin_dirs=plugins)) == ["a", "b"]
    test = {"test": str(fill(tmp_path, {"test.jsonl": line("c")}) / "test.jsonl")}
    both = open_splits(folder=folder, plugin_dirs=plugins, files=test)
    assert [*both] == ["train", "test"]


def test_a_folder_named_as_a_split_with_one_file_is_that_file(tmp_path: Path) -> None:
    fill(tmp_path, {"train/rows.jsonl": line("a"), "test/rows.csv": "text,label\nb,x\n"})
    splits = open_splits(folder=tmp_path)
    assert [texts(source) for source in splits.values()] == [["a"], ["b"]]


def test_of_several_data_sets_in_a_folder_one_has_to_be_named(tmp_path: Path) -> None:
    fill(tmp_path, {"one/train.jsonl": line("a"), "two/train.jsonl": line("b")})
    with pytest.raises(DataError, match=r"several data sets: one, two\. Name one: --dataset_config_name"):
        open_splits(folder=tmp_path)
    assert texts(open_splits(folder=tmp_path, config="two")["train"]) == ["b"]


def test_a_folder_of_folders_is_never_said_to_contain_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"one/a.jsonl": line("a"), "two/b.jsonl": line("b")})
    with pytest.raises(DataError, match="It contains: one/, two/"):
        open_splits(folder=tmp_path)


def test_a_folder_of_mixed_formats_is_read_file_by_file(tmp_path: Path) -> None:
    fill(tmp_path, {"train.jsonl": line("a"), "test.csv": "text,label\nb,x\n", "extra.conll": "a O\n\nb O\n"})
    splits = open_splits(folder=tmp_path)
    assert [texts(source) for source in splits.values()] == [["a"], ["b"]]
    assert notes_of(splits["train"]) == [f"not used of {tmp_path}: extra.conll"]
    (tmp_path / "train.csv").write_text("text,label\nb,x\n")
    with pytest.raises(DataError, match=r"train\.csv and train\.jsonl are all train"):
        open_splits(folder=tmp_path)
