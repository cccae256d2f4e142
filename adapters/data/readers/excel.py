"""Excel's tables, read by pandas and openpyxl: the first sheet. Every value is a string, as in CSV."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters.core.environment import install_command
from adapters.core.errors import DataError, Faults, SettingsError
from adapters.data.readers.base.tables import TableSource, find_columns, sampled
from adapters.data.rows import Row, open_bytes, plain_name

EXTENSIONS: tuple[str, ...] = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
FILES = "the first sheet, with a header"

_READ = (".xlsx", ".xlsm")
_SAVE = "Save the sheet as CSV (UTF-8), or as .xlsx."


def recognises(path: Path, head: str) -> bool:
    """Never: the extension says it."""
    return False


def open(path: Path, encoding: str) -> SheetSource:
    """Read the names of the columns. `encoding` is not used. Raises DataError, SettingsError."""
    return open_named(path, encoding, ())


def open_named(path: Path, encoding: str, names: Sequence[str]) -> SheetSource:
    """As `open`, with names of the columns by the user, who says that the sheet has no header."""
    if not plain_name(path).endswith(_READ):
        raise DataError(f"{path}: of spreadsheets, .xlsx and .xlsm are read. {_SAVE}")
    if find_spec("openpyxl") is None:
        raise SettingsError(
            f"{path}: reading Excel's files needs openpyxl, which is not installed: {install_command('excel')}. Or "
            "save the sheet as CSV (UTF-8)."
        )
    sheets, rows = _read(path)
    filled = [(number, row) for number, row in rows if any(row)]
    sheet = f"sheet {sheets[0]!r}"
    others = f"; not read: {', '.join(map(repr, sheets[1:20]))}" if len(sheets) > 1 else ""
    if len(filled) < (1 if names else 2):
        what = "is empty" if not filled else "contains no row after its header"
        raise DataError(f"{path}: {sheet} {what}{others}. Put the table on the first sheet, or save it as CSV.")
    number, first = filled[0]
    every = [row for _, row in filled[1:]]
    columns = find_columns(f"{path}:{number}", first, sampled(every), every, names)
    said = [f"{sheet} is read{others}"] if others else []
    return SheetSource(
        path=path,
        encoding=encoding,
        columns=columns.names,
        positions=tuple(columns.positions),
        header=columns.header,
        notes=(*said, *columns.notes),
        named=bool(names),
    )


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the sheets, and the rows of the first, each with its number in it. Raises DataError."""
    import pandas

    try:
        with open_bytes(path) as stream, pandas.ExcelFile(io.BytesIO(stream.read()), engine="openpyxl") as book:
            sheets = [str(name) for name in book.sheet_names]
            table: Any = pandas.read_excel(book, sheet_name=sheets[0], header=None, dtype=str, na_filter=False)
    except DataError:
        raise
    except Exception as error:  # several libraries read it: any failure is the file's
        raise DataError(
            f"{path}: cannot be read as Excel's .xlsx ({error}). It is damaged, protected by a password, or of another "
            f"format. {_SAVE}"
        ) from error
    rows = enumerate(table.itertuples(index=False, name=None), 1)
    # A cell with an error (#N/A) is NaN even so.
    return sheets, [(number, [cell if isinstance(cell, str) else "" for cell in row]) for number, row in rows]


@dataclass(frozen=True, kw_only=True)
class SheetSource(TableSource):
    """Rows of a sheet, which is read into memory. `Row.line` is the row's number in it."""

    positions: tuple[int, ...]
    """Which cells are read."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per row that is not empty, after the header."""
        skip = self.header
        for number, row in _read(self.path)[1]:
            if not any(row):
                continue
            if skip:
                skip = False
                continue
            yield Row(self.name, number, 0, {n: row[p] for n, p in zip(self.columns, self.positions, strict=True)})
