"""Parquet files. Class numbers become names in files written by `datasets`, which record the names."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.class_labels import name_classes, names_of_classes
from adapters.data.rows import COMPRESSIONS, DAMAGED, FileSource, Row, open_bytes

EXTENSIONS: tuple[str, ...] = (".parquet",)
FILES = "columns, as datasets and pandas write them"

_BATCH_ROWS = 1000


def recognises(path: Path, head: str) -> bool:
    """Whether the file begins with Parquet's magic bytes."""
    return head.startswith("PAR1")


def open(path: Path, encoding: str) -> ParquetSource:
    """Read the schema. Parquet has its own encoding, so `encoding` is not used. Raises DataError."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(_plain(path)) as file:
            columns, count = list(file.schema_arrow.names), file.metadata.num_rows
            classes = _classes(file.schema_arrow.metadata or {})
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({error}). {DAMAGED}") from error
    if not count:
        raise DataError(f"{path}: the file contains no row. Give a file with examples.")
    return ParquetSource(path=path, encoding=encoding, columns=columns, classes=classes)


def _plain(path: Path) -> Path | io.BytesIO:
    """The file, or where it is in a compressed one its bytes, read into memory."""
    if path.suffix.lower() not in (*COMPRESSIONS, ".zip"):
        return path
    with open_bytes(path) as stream:
        return io.BytesIO(stream.read())


def _classes(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    recorded: Any = json.loads(metadata.get(b"huggingface", b"{}"))
    return names_of_classes(recorded.get("info", {}).get("features") or {})


@dataclass(frozen=True, kw_only=True)
class ParquetSource(FileSource):
    """Rows of a Parquet file, with values as pyarrow converts them to Python. `Row.line` is the row's number."""

    classes: dict[str, list[str]]

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per row of the file, read in batches. Reading ends at damaged bytes, which are a fault."""
        import pyarrow
        from pyarrow.parquet import ParquetFile

        number = 0  # of the last row read
        try:
            with ParquetFile(_plain(self.path)) as file:
                for batch in file.iter_batches(_BATCH_ROWS):
                    for values in batch.to_pylist():
                        number += 1
                        try:
                            values |= {key: name_classes(values[key], names) for key, names in self.classes.items()}
                        except ValueError as error:
                            faults.add(f"{self.path}:{number}", str(error))
                            continue
                        yield Row(self.name, number, 0, values)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            faults.add(f"{self.path}:{number + 1}", f"cannot be read from here on ({error})", DAMAGED)
