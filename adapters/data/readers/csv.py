"""Delimited text with a header: `.csv` and `.tsv`. Every value is a string, exactly as in the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.core.errors import DataError, Faults
from adapters.data.rows import FileSource, Line, Row, lines, plain_name

EXTENSIONS: tuple[str, ...] = (".csv", ".tsv")

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_LONGEST_CELL = 2**31 - 1  # the largest C long on every platform


def recognises(path: Path, head: str) -> bool:
    """Never: any prose with commas looks like CSV, so the extension or the user has to name the format."""
    return False


def open(path: Path, encoding: str) -> CsvSource:
    """Read the header, and find the file's delimiter and its rule for quotes. Raises DataError."""
    first = next(lines(path, encoding, Faults(str(path))), None)
    delimiter = "\t" if plain_name(path).endswith(".tsv") else _delimiter(first.text if first else "")
    source = CsvSource(path=path, encoding=encoding, columns=[], delimiter=delimiter, row_is_line=False)
    if delimiter == "\t":
        source = replace(source, row_is_line=source.tabs_are_even())
    faults = Faults(str(path))
    records = source.records(faults)
    number, columns = next(records, (1, None))
    if columns is None or next(records, None) is None:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no row after its header. Give a file with examples.")
    for column in columns:
        if columns.count(column) > 1:
            raise DataError(f"{path}:{number}: two columns have the name {column!r}. Rename one of them in the header.")
    return replace(source, columns=columns)


@dataclass(frozen=True, kw_only=True)
class CsvSource(FileSource):
    """Rows of a delimited file."""

    delimiter: str
    row_is_line: bool
    """Tabs split each line into the same number of cells, so no cell contains a line end: a quote that opens a cell and
    is not closed in it is then an ordinary character, as in the many TSV files that are written without quoting.
    (A file whose quoted cells contain line ends, and tabs that make the numbers equal, would be split wrongly.)"""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per record after the header; cells are not interpreted ("NA" and "1" remain texts)."""
        records = self.records(faults)
        next(records, None)
        for number, cells in records:
            if cells is None:
                continue
            if len(cells) == len(self.columns):
                yield Row(self.name, number, 0, dict(zip(self.columns, cells, strict=True)))
                continue
            what = f"found {len(cells)} cell{'s' if len(cells) > 1 else ''}, the header has {len(self.columns)}"
            faults.add(f"{self.path}:{number}", what, f"Quote cells that contain the delimiter {self.delimiter!r}.")

    def records(self, faults: Faults) -> Iterator[tuple[int, list[str] | None]]:
        """The line at which each record begins, and its cells, or None if it has a fault; blank lines are skipped."""
        if not self.row_is_line:
            yield from self._quoted_records(faults)
            return
        for line in lines(self.path, self.encoding, faults):
            if text := line.content:
                yield line.number, [_unquoted(cell) for cell in text.split(self.delimiter)] if line.sound else None

    def tabs_are_even(self) -> bool:
        """Whether all lines that are not blank have the same number of tabs, at least one. Reads the whole file."""
        filled = (line.text for line in lines(self.path, self.encoding, Faults(self.name)) if line.content)
        expected = next(filled, "").count("\t")
        return expected > 0 and all(text.count("\t") == expected for text in filled)

    def _quoted_records(self, faults: Faults) -> Iterator[tuple[int, list[str] | None]]:
        taken: list[Line] = []

        def texts() -> Iterator[str]:
            for line in lines(self.path, self.encoding, faults):
                taken.append(line)
                yield line.text

        reader = csv.reader(texts(), delimiter=self.delimiter, strict=True)
        while True:
            taken.clear()
            try:
                with _cells_of_any_length():
                    cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                advice = (
                    "Write a quote inside a quoted cell twice, close every quote, and end lines with \\n or \\r\\n."
                )
                faults.add(f"{self.path}:{taken[0].number}", f"the row that begins here is not CSV: {error}", advice)
                yield taken[0].number, None
                continue
            if cells:
                yield taken[0].number, cells if all(line.sound for line in taken) else None


def _unquoted(cell: str) -> str:
    found = _QUOTED.fullmatch(cell)
    return found[1].replace('""', '"') if found else cell


def _delimiter(header: str) -> str:
    """The delimiter that occurs most often in the header outside quotes; a comma if none does."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Lift the limit of 131072 characters per cell. It is the process's, so it is restored after each record."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
