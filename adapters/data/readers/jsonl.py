"""JSON: one object per line (`.jsonl`, `.ndjson`), or one document: a list of objects, or a table in another form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.columns import ID
from adapters.data.readers.base.json_tables import JsonTable, find_table, table_rows
from adapters.data.readers.base.json_text import Decoder, document, elements
from adapters.data.rows import FileSource, Row, line_blocks, lines, plain_name

EXTENSIONS: tuple[str, ...] = (".jsonl", ".ndjson", ".json")
FILES = "an object on each line; or one document: a list of objects, or what pandas' to_json writes"

_OBJECT_OPENS = re.compile(r'\s*(\[\s*)?\{\s*"')
_PEEK = 100
_LONGEST = 40
"""Characters of a column's name in a note."""


def recognises(path: Path, head: str) -> bool:
    """Whether the text begins with an object that has a key, or with a list of such objects."""
    return bool(_OBJECT_OPENS.match(head))


def open(path: Path, encoding: str) -> JsonSource:
    """Read the names of the columns from the first hundred objects. Raises DataError."""
    whole = not plain_name(path).endswith((".jsonl", ".ndjson")) and _is_one_document(path, encoding)
    faults = Faults(str(path))
    source = JsonSource(path=path, encoding=encoding, columns=[])
    if whole:
        text = document(path, encoding, faults)
        value, _, problems = Decoder().decode(text or "[]")
        faults.raise_if_any()
        try:
            source = replace(source, table=find_table(value))
        except ValueError as error:
            raise DataError(f"{path}:1: {problems[0] if problems else error}") from error
    columns = list(dict.fromkeys(key for row in islice(source.rows(faults), _PEEK) for key in row.values))
    if not columns:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no object with a key. Give a file with a JSON object on each line.")
    return replace(source, columns=columns)


@dataclass(slots=True)
class NumberedRow(Row):
    """A row of a document in which a row has no line of its own."""

    def where(self, item: int = 0) -> str:
        """`file: row 3`."""
        return f"{self.file}: row {self.line}"


@dataclass(frozen=True, kw_only=True)
class JsonSource(FileSource):
    """Objects, with JSON's values."""

    table: JsonTable | None = None
    """How the rows lie in a document, which is read into memory; None for objects on lines, read one at a time."""

    @property
    def format(self) -> str:
        """What was recognised."""
        of = {"columns": "columns", "index": "rows by their index", "split": "columns, index and data"}
        return f"json, {of[self.table.kind]}" if self.table and self.table.kind in of else "jsonl"

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        return self.table.notes if self.table else []

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per object."""
        if self.table is None:
            yield from self._objects(self._values_of_lines(faults), faults)
            return
        text = document(self.path, self.encoding, faults)
        if text is None:
            return
        if self.table.kind == "list":
            yield from self._objects(elements(text), faults, numbered=_share_lines(text))
            return
        value, _, problems = Decoder().decode(text)
        for problem in problems:
            faults.add(f"{self.path}:1", problem)
        if problems:
            return
        for number, (values, wrong) in enumerate(table_rows(value, self.table), 1):
            row = NumberedRow(self.name, number, 0, values)
            if wrong:
                faults.add(row.where(), wrong)
            else:
                yield row

    def _objects(
        self, read: Iterator[tuple[int, Any, list[str]]], faults: Faults, *, numbered: bool = False
    ) -> Iterator[Row]:
        """The objects as rows; `numbered`: by their numbers, as several are on one line."""
        name, known = self.name, {*self.columns}
        without = self.table.without if self.table is not None else ()
        for row_number, (line, value, problems) in enumerate(read, 1):
            row = NumberedRow(name, row_number, 0, value) if numbered else Row(name, line, 0, value)
            if problems or not isinstance(value, dict):
                for problem in problems or [f"a JSON object is needed, found {_KINDS[type(value)]}"]:
                    faults.add(row.where(), problem)
                continue
            for key in without:
                value.pop(key, None)
            if known and not known.issuperset(value):
                for key in [*value]:
                    if key not in known and key != ID:
                        faults.note(self._late(key))
            yield row

    def _late(self, key: str) -> str:
        """What is said of a column that the first rows, by which columns are chosen, do not have."""
        return f"rows with a column {key[:_LONGEST]!r} that none of the first {_PEEK} has; it is not read"

    def _values_of_lines(self, faults: Faults) -> Iterator[tuple[int, Any, list[str]]]:
        decode = Decoder().decode
        for first, texts, unsound in line_blocks(self.path, self.encoding, faults):
            for number, text in enumerate(texts, first):
                content = text.rstrip(" \t\r\n")
                if content and not content.isspace() and number not in unsound:
                    value, _, problems = decode(content, end_expected=True)
                    yield number, value, problems


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def _share_lines(text: str) -> bool:
    """Whether the first two elements of a document's list are on one line, as where all of it is."""
    first = [line for line, _, _ in islice(elements(text), 2)]
    return len(first) != len(set(first))


def _is_one_document(path: Path, encoding: str) -> bool:
    """Whether a `.json` file is one document rather than one object per line, which many tools write."""
    filled = (line.text for line in lines(path, encoding, Faults(str(path))) if line.text.strip())
    first = next(filled, "")
    value, _, problems = Decoder().decode(first, end_expected=True)
    return not isinstance(value, dict) or bool(problems) or next(filled, None) is None
