"""Delimited text: `.csv` and `.tsv`, with a header or with --column_names. Every value is a string, as in the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from adapters.core.errors import DataError, Faults
from adapters.data.readers.base.tables import TableSource, find_columns, has_usual_name, sampled
from adapters.data.rows import Row, line_blocks, plain_name

EXTENSIONS: tuple[str, ...] = (".csv", ".tsv")
FILES = "a table: a header, and rows with a comma, a semicolon, a tab or | between the cells"

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_DIRECTIVE = re.compile(r"sep=([,;\t|])\r?\n")
"""The first line of a file whose delimiter is said to Excel."""
_LONGEST_CELL = 2**31 - 1  # the largest C long on every platform
_ROWS_AT_ONCE, _CELLS_AT_ONCE = 1000, 100_000
_SAMPLE_LINES, _SAMPLE_CHARACTERS = 100, 1_000_000
_QUOTES = "Write a quote inside a quoted cell twice, close every quote, and end lines with \\n or \\r\\n."

Records = Iterator[list[tuple[int, list[str] | None]]]
"""Some records at a time: the line at which each begins, and its cells, or None if it has a fault."""


def recognises(path: Path, head: str) -> bool:
    """Never: any prose with commas looks like CSV, so the extension or the user has to name the format."""
    return False


def open(path: Path, encoding: str) -> CsvSource:
    """Read the header, and find the file's delimiter and its rule for quotes. Raises DataError."""
    return open_named(path, encoding, ())


def open_named(path: Path, encoding: str, names: Sequence[str]) -> CsvSource:
    """As `open`, with names of the columns by the user, who says that the file has no header."""
    beginning = _beginning(path, encoding)
    directive = _DIRECTIVE.fullmatch(beginning[0]) if beginning else None
    prefer = directive[1] if directive else "\t" if plain_name(path).endswith(".tsv") else ""
    delimiter = _delimiter(beginning, prefer)
    source = CsvSource(
        path=path,
        encoding=encoding,
        columns=[],
        delimiter=delimiter,
        row_is_line=False,
        blanks=_blanks_before_quotes(beginning, delimiter),
        header=False,
        directive=directive is not None,
    )
    if delimiter == "\t":
        source = replace(source, row_is_line=source.tabs_are_even())
    number, first = next(source.records(Faults(str(path))), (1, None))
    faults = Faults(str(path))
    sample = sampled(cells for _, cells in islice(source.records(faults), 1, None) if cells is not None)
    if first is None or not (sample or names):
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no row after its header. Give a file with examples.")
    every = (cells for _, cells in islice(source.records(Faults(str(path))), 1, None) if cells is not None)
    columns = find_columns(f"{path}:{number}", first, sample, every, names)
    return replace(
        source,
        columns=columns.names,
        header=columns.header,
        width=columns.width,
        again=first if columns.header and len(first) > 1 and has_usual_name(first) else None,
        positions=None if columns.all else tuple(columns.positions),
        notes=tuple(columns.notes),
        named=bool(names),
    )


@dataclass(frozen=True, kw_only=True)
class CsvSource(TableSource):
    """Rows of a delimited file."""

    delimiter: str
    row_is_line: bool
    """Tabs split each line into the same number of cells, so no cell contains a line end: a quote that opens a cell and
    is not closed in it is then an ordinary character, as in the many TSV files that are written without quoting.
    (A file whose quoted cells contain line ends, and tabs that make the numbers equal, would be split wrongly.)"""
    blanks: bool
    """Blanks stand between delimiters and cells, and so before quotes."""
    directive: bool = False
    """The first line says the delimiter, and is no record."""
    width: int = 0
    """Cells of a record."""
    again: list[str] | None = None
    """The cells of a header with a usual name: files that were put together have it again."""
    positions: tuple[int, ...] | None = None
    """Which cells are read; None for all."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per record after the header; cells are not interpreted ("NA" and "1" remain texts)."""
        name, columns, width = self.name, self.columns, self.width
        chosen, skip, again = self.positions, self.header, self.again
        for records in self._batches(faults):
            for number, cells in records:
                if skip:
                    skip = False
                elif cells is None:
                    continue
                elif cells == again:
                    faults.add(f"{name}:{number}", "the header again", "Remove the line: it is no row.")
                elif len(cells) == width:
                    if chosen is not None:
                        cells = [cells[position] for position in chosen]
                    yield Row(name, number, 0, dict(zip(columns, cells, strict=False)))  # equal, and faster so
                else:
                    found = f"found {len(cells)} cell{'s' if len(cells) > 1 else ''}"
                    what = f"{found}, the {'header' if self.header else 'first line'} has {width}"
                    faults.add(f"{name}:{number}", what, f"Quote cells that contain the delimiter {self.delimiter!r}.")

    def records(self, faults: Faults) -> Iterator[tuple[int, list[str] | None]]:
        """The line at which each record begins, and its cells, or None if it has a fault; blank lines are skipped."""
        return chain.from_iterable(self._batches(faults))

    def tabs_are_even(self) -> bool:
        """Whether all lines that are not blank have the same number of tabs, at least one. Reads the whole file."""
        expected = None
        for _, texts, _ in line_blocks(self.path, self.encoding, Faults(self.name)):
            found = {text.count("\t") for text in texts if text not in ("\n", "\r\n")}
            if found:
                expected = expected or found
                if found != expected or len(found) > 1:
                    return False
        return expected is not None and expected != {0}

    def _batches(self, faults: Faults) -> Records:
        batches = self._lines(faults) if self.row_is_line else self._quoted(faults)
        if self.directive:
            first = next(batches, [])
            batches = chain([first[1:]], batches)
        return batches

    def _lines(self, faults: Faults) -> Records:
        """A record for each line."""
        for first, texts, unsound in line_blocks(self.path, self.encoding, faults):
            found: list[tuple[int, list[str] | None]] = []
            for number, text in enumerate(texts, first):
                content = text.removesuffix("\n").removesuffix("\r")
                if not content:
                    continue
                if number in unsound:
                    found.append((number, None))
                    continue
                cells = content.split(self.delimiter)
                if self.blanks:
                    cells = [cell.lstrip(" ") for cell in cells]
                found.append((number, [_unquoted(cell) for cell in cells] if '"' in content else cells))
            yield found

    def _quoted(self, faults: Faults) -> Records:
        """Records by CSV's rules, whose quoted cells may contain line ends."""
        unsound: set[int] = set()  # lines with a fault, of those read so far

        def texts() -> Iterator[list[str]]:
            for _, block, wrong in line_blocks(self.path, self.encoding, faults):
                unsound.update(wrong)
                yield block

        reader = csv.reader(
            chain.from_iterable(texts()), delimiter=self.delimiter, strict=True, skipinitialspace=self.blanks
        )
        end, before, at_once = 0, -1, 10  # the line at which the last record ended, and the one of the last batch
        while end > before:
            before = end
            found: list[tuple[int, list[str] | None]] = []
            with _cells_of_any_length():
                try:
                    for cells in islice(reader, at_once):
                        if cells:
                            found.append((end + 1, cells))
                        end = reader.line_num
                except csv.Error as error:
                    faults.add(f"{self.path}:{end + 1}", f"the row that begins here is not CSV: {error}", _QUOTES)
                    found.append((end + 1, None))
                    end = reader.line_num
            if unsound and found:
                ends = [*(number for number, _ in found[1:]), end + 1]
                found = [
                    (number, None if unsound.intersection(range(number, after)) else cells)
                    for (number, cells), after in zip(found, ends, strict=True)
                ]
            if found:
                at_once = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // len(found[-1][1] or " ")))
            yield found


def _unquoted(cell: str) -> str:
    found = _QUOTED.fullmatch(cell) if cell[:1] == '"' else None
    return found[1].replace('""', '"') if found else cell


def _beginning(path: Path, encoding: str) -> list[str]:
    """The first lines of a file."""
    found: list[str] = []
    size = 0
    for text in chain.from_iterable(texts for _, texts, _ in line_blocks(path, encoding, Faults(str(path)))):
        found.append(text)
        size += len(text)
        if len(found) >= _SAMPLE_LINES or size >= _SAMPLE_CHARACTERS:
            break
    return found


def _delimiter(texts: Sequence[str], prefer: str) -> str:
    """The delimiter of a file that begins with these lines.

    `prefer`, where the header has it; else of those in the header, outside quotes, the one that splits the most records
    into as many cells as the header, and of those that do so equally well, the one that the header has most often.
    """
    header = _QUOTED.sub("", next((text for text in texts if text.strip("\r\n")), ""))
    found = sorted((mark for mark in _DELIMITERS if mark in header), key=header.count, reverse=True)
    if prefer in found:
        return prefer
    if len(found) < 2:
        return found[0] if found else prefer or ","
    return max(found, key=lambda mark: _even(texts, mark))


def _even(texts: Sequence[str], delimiter: str) -> float:
    """The share of records that have as many cells as the first."""
    widths = [len(record) for record in _loosely(texts, delimiter) if record]
    widths = widths[:-1] if len(widths) > 2 else widths  # the last may be cut
    return widths.count(widths[0]) / len(widths)


def _blanks_before_quotes(texts: Sequence[str], delimiter: str) -> bool:
    """Whether a blank comes between a delimiter and a quote that opens a cell (`text, "label"`)."""
    opening = re.compile(rf'{re.escape(delimiter)} +"(?!")')
    if not any(map(opening.search, texts)):
        return False
    return any(
        cell.lstrip(" ").startswith('"') for row in _loosely(texts, delimiter) for cell in row if cell[:1] == " "
    )


def _loosely(texts: Sequence[str], delimiter: str) -> list[list[str]]:
    with _cells_of_any_length():
        return list(csv.reader(texts, delimiter=delimiter))


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Lift the limit of 131072 characters per cell. It is the process's, so it is restored after each batch."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
