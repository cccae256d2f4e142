"""Parquet files, saved datasets, and the Hub (stood in for: no test here needs the network)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from adapters.core.errors import DataError, Faults, SourceError
from adapters.data.dataset_files import open_file, open_splits

FEATURES = datasets.Features(
    {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["bad", "good"]),
        "tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        "count": datasets.Value("int64"),
    }
)
VALUES = {"text": ["a", "b", None], "label": [1, 0, -1], "tags": [[0, 1], [], [1]], "count": [0, 1, -1]}
NAMED = [
    {"text": "a", "label": "good", "tags": ["O", "B-PER"], "count": 0},
    {"text": "b", "label": "bad", "tags": [], "count": 1},
    {"text": None, "label": None, "tags": ["B-PER"], "count": -1},
]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def dataset() -> datasets.Dataset:
    return datasets.Dataset.from_dict(VALUES, features=FEATURES)


def test_parquet_rows_are_read_and_class_numbers_named(tmp_path: Path, dataset: datasets.Dataset) -> None:
    path = tmp_path / "train.parquet"
    dataset.to_parquet(path)
    source, faults = open_file(path), Faults("x")
    rows = list(source.rows(faults))
    assert source.columns == ["text", "label", "tags", "count"]
    assert [row.values for row in rows] == NAMED
    assert [row.where(2) for row in rows] == [f"{path}:1", f"{path}:2", f"{path}:3"]
    assert len(source.digest()) == 64 and faults.count == 0


def test_parquet_of_other_tools_and_extensions_is_read_as_it_is(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "train.data"
    parquet.write_table(pyarrow.table({"label": list(range(2500))}), path)
    rows = list(open_file(path).rows(Faults("x")))
    assert [row.values["label"] for row in rows] == list(range(2500))
    assert rows[-1].line == 2500


def test_a_file_that_is_not_parquet_or_holds_no_row_is_refused(tmp_path: Path, dataset: datasets.Dataset) -> None:
    damaged, empty = tmp_path / "train.parquet", tmp_path / "test.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    dataset.select([]).to_parquet(empty)
    with pytest.raises(DataError, match="not a Parquet file"):
        open_file(damaged)
    with pytest.raises(DataError, match="contains no row"):
        open_file(empty)


def test_damage_inside_a_parquet_file_is_a_fault(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "train.parquet"
    parquet.write_table(pyarrow.table({"text": [f"text {n}" for n in range(3000)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:4000] = bytes(3996)
    path.write_bytes(content)
    faults = Faults("x")
    assert list(open_file(path).rows(faults)) == []
    assert faults.shown[0].startswith(f"{path}:1: cannot be read from here on")


def test_a_class_number_without_a_name_is_a_fault(tmp_path: Path, dataset: datasets.Dataset) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "train.parquet"
    table = pyarrow.table({"label": [1, 7]}).replace_schema_metadata(
        dataset.select_columns(["label"]).data.schema.metadata
    )
    parquet.write_table(table, path)
    faults = Faults("x")
    assert [row.values["label"] for row in open_file(path).rows(faults)] == ["good"]
    assert faults.shown == [f"{path}:2: class 7, but the dataset names 2 classes"]


def test_the_splits_of_a_saved_dataset_are_found_by_their_names(tmp_path: Path, dataset: datasets.Dataset) -> None:
    datasets.DatasetDict({"train": dataset, "dev": dataset, "extra": dataset}).save_to_disk(tmp_path / "saved")
    splits = open_splits(folder=tmp_path / "saved")
    assert list(splits) == ["train", "validation"]
    rows = list(splits["validation"].rows(Faults("x")))
    assert [row.values for row in rows] == NAMED
    assert rows[1].where() == f"{tmp_path}/saved/dev:2"
    assert splits["train"].columns == ["text", "label", "tags", "count"]


def test_a_saved_dataset_with_a_tensor_format_gives_plain_values(tmp_path: Path, dataset: datasets.Dataset) -> None:
    dataset.with_format("numpy").save_to_disk(tmp_path / "saved")
    source = open_file(tmp_path / "saved")
    assert [row.values for row in source.rows(Faults("x"))] == NAMED


def test_a_single_saved_dataset_is_a_file_and_several_are_a_dataset(tmp_path: Path, dataset: datasets.Dataset) -> None:
    dataset.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": dataset}).save_to_disk(tmp_path / "several")
    assert list(open_splits(files={"test": str(tmp_path / "one")})) == ["test"]
    with pytest.raises(DataError, match="--train_file"):
        open_splits(folder=tmp_path / "one")
    with pytest.raises(DataError, match=r"--train_file .*--dataset_name"):
        open_splits(files={"train": str(tmp_path / "several")})


def test_the_digest_of_a_saved_dataset_follows_its_content(tmp_path: Path, dataset: datasets.Dataset) -> None:
    for name, saved in {"a": dataset, "b": dataset, "c": dataset.select([0])}.items():
        saved.save_to_disk(tmp_path / name)
    a, b, c = (open_file(tmp_path / name).digest() for name in "abc")
    assert a == b != c


def test_a_damaged_saved_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(DataError, match="not a dataset that save_to_disk wrote"):
        open_file(tmp_path)


def test_a_dataset_of_the_hub_is_loaded_with_config_and_revision(
    monkeypatch: pytest.MonkeyPatch, dataset: datasets.Dataset
) -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **options: Any) -> datasets.DatasetDict:
        asked.append((args, options))
        return datasets.DatasetDict({"train": dataset, "valid": dataset, "test": dataset})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = open_splits(hub_id="someone/films", config="small", revision="v1")
    assert asked == [(("someone/films", "small"), {"revision": "v1"})]
    assert list(splits) == ["train", "validation", "test"]
    assert splits["validation"].name == "someone/films/valid"
    assert [row.values for row in splits["test"].rows(Faults("x"))] == NAMED
    assert splits["test"].digest() != open_splits(hub_id="someone/films", revision="v2")["test"].digest()


def test_a_file_stands_in_for_a_split_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: datasets.Dataset
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": dataset}))
    path = tmp_path / "mine.conll"
    path.write_text("a O\n")
    splits = open_splits(hub_id="someone/films", files={"test": str(path), "validation": None})
    assert {split: source.name for split, source in splits.items()} == {
        "train": "someone/films/train",
        "test": str(path),
    }


def test_load_dataset_itself_reads_a_folder_and_names_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: datasets.Dataset
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "films").mkdir()
    dataset.to_parquet(tmp_path / "films" / "train.parquet")
    first, again = (open_splits(hub_id=str(tmp_path / "films"))["train"] for _ in range(2))
    assert [row.values for row in first.rows(Faults("x"))] == NAMED
    assert first.digest() == again.digest()


def test_a_dataset_that_cannot_be_loaded_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(SourceError) as caught:
        open_splits(hub_id="nobody/nothing", config="x")
    for part in ("nobody/nothing (config x)", "Couldn't reach", "--dataset_config_name", "--train_file"):
        assert part in str(caught.value)
