"""The store of prepared rows: written once, in full or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from adapters.core.files import CACHE_VARIABLE
from adapters.data.arrow_cache import cached_dataset

SCHEMA = pyarrow.schema({"tokens": pyarrow.list_(pyarrow.int32()), "text": pyarrow.string()})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "datasets"


def rows(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"tokens": list(range(number % 5)), "text": f"text {number}"}


def refuse() -> Iterator[dict[str, Any]]:
    raise AssertionError("rows were asked for")


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_rows_come_back_from_a_mapped_file(count: int, folder: Path) -> None:
    stored = cached_dataset(rows(count), SCHEMA, "key")
    assert list(stored) == list(rows(count))
    assert [file["filename"] for file in stored.cache_files] == [str(folder / "key.arrow")]
    assert [path.name for path in folder.iterdir()] == ["key.arrow"]


def test_rows_are_not_asked_for_again() -> None:
    cached_dataset(lambda: rows(3), SCHEMA, "key")
    assert len(cached_dataset(refuse, SCHEMA, "key")) == 3


@pytest.mark.parametrize("damage", [b"", b"not Arrow at all", None])
def test_a_damaged_file_is_written_again(damage: bytes | None, folder: Path) -> None:
    cached_dataset(rows(2500), SCHEMA, "key")
    path = folder / "key.arrow"
    path.write_bytes(path.read_bytes()[:20000] if damage is None else damage)
    assert len(cached_dataset(rows(2500), SCHEMA, "key")) == 2500


def test_a_file_of_another_schema_is_written_again() -> None:
    cached_dataset(rows(2), SCHEMA.remove(0), "key")
    assert cached_dataset(rows(2), SCHEMA, "key").column_names == ["tokens", "text"]


def test_an_error_among_the_rows_leaves_nothing(folder: Path) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from rows(1500)
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        cached_dataset(failing, SCHEMA, "key")
    assert list(folder.iterdir()) == []
