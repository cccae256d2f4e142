"""Compressed files: read as what they contain, or refused by what is in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pandas
import pytest

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits

TABLE = b"text,label\na film,x\nanother,y\n"
ROWS = [{"text": "a film", "label": "x"}, {"text": "another", "label": "y"}]


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def read(path: Path) -> list[dict[str, str]]:
    return [row.values for row in open_file(path).rows(Faults("x"))]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "train.csv.gz": gzip.compress,
    "train.csv.bz2": bz2.compress,
    "train.csv.xz": lzma.compress,
    "TRAIN.CSV.XZ": lzma.compress,
    "train.csv.zip": lambda content: zipped(**{"train.csv": content}),
    "train.zip": lambda content: zipped(**{"folder__rows.csv": content}),
    "train.gz.zip": lambda content: zipped(**{"rows.csv.gz": gzip.compress(content)}),
    "mac.zip": lambda content: zipped(
        **{"d__": b"", "d__rows.csv": content, "__MACOSX/d/._rows.csv": b"\0", "d__.DS_Store": b"\0", ".hidden": b"x"}
    ),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_table_is_read_as_what_it_contains(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PACKED[name](TABLE))
    assert read(tmp_path / name) == ROWS


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zip"])
def test_what_pandas_packs_is_read_as_pandas_reads_it(tmp_path: Path, ending: str) -> None:
    frame = pandas.DataFrame(ROWS)
    frame.to_csv(tmp_path / f"train.csv.{ending}", index=False)
    frame.to_json(tmp_path / f"train.jsonl.{ending}", orient="records", lines=True)
    assert read(tmp_path / f"train.csv.{ending}") == read(tmp_path / f"train.jsonl.{ending}") == ROWS
    assert pandas.read_csv(tmp_path / f"train.csv.{ending}").to_dict("records") == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped(**{"train.parquet": content})])
def test_packed_parquet_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    stream = io.BytesIO()
    pandas.DataFrame(ROWS).to_parquet(stream)
    name = "train.parquet.gz" if pack is gzip.compress else "train.zip"
    (tmp_path / name).write_bytes(pack(stream.getvalue()))
    assert read(tmp_path / name) == ROWS


def test_a_zip_of_two_files_is_refused_with_both_names(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(zipped(**{"a.csv": TABLE, "b.csv": TABLE}))
    with pytest.raises(DataError, match=r"must contain one file of data, and this one contains a\.csv, b\.csv"):
        open_file(tmp_path / "train.zip")


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(zipped())
    with pytest.raises(DataError, match="this one contains none"):
        open_file(tmp_path / "train.zip")


@pytest.mark.parametrize("ending", ["csv.zip", "csv.xz"])
def test_damaged_packed_files_are_refused(tmp_path: Path, ending: str) -> None:
    whole = PACKED[f"train.{ending}"](TABLE * 2000)
    (tmp_path / f"train.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut short"):
        source = open_file(tmp_path / f"train.{ending}")
        faults = Faults("x")
        list(source.rows(faults))
        faults.raise_if_any()


def test_a_zip_with_a_password_is_said_to_have_one(tmp_path: Path) -> None:
    if which("zip") is None:
        pytest.skip("no command zip, and Python cannot write a zip with a password")
    (tmp_path / "train.csv").write_bytes(TABLE)
    subprocess.run(["zip", "-q", "-P", "secret", "train.zip", "train.csv"], cwd=tmp_path, check=True)
    with pytest.raises(DataError, match=r"train\.csv is protected by a password"):
        open_file(tmp_path / "train.zip")


@pytest.mark.parametrize("name", ["train.tar", "train.tar.gz", "train.7z", "train.csv.zst"])
def test_other_archives_are_refused_with_what_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"7z")
    with pytest.raises(DataError, match=r"\.gz, \.bz2, \.xz and \.zip are read\. Unpack this one first"):
        open_file(tmp_path / name)


def test_packed_files_of_a_folder_are_its_splits(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(zipped(**{"rows.csv": TABLE}))
    (tmp_path / "test.csv.xz").write_bytes(lzma.compress(TABLE))
    assert [*open_splits(folder=tmp_path)] == ["train", "test"]
