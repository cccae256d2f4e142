"""Requests for predictions from a file: JSON lines, lines of text, or rows of any file that a run can learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.classification_columns import PAIRS, TEXTS
from adapters.data.columns import ID, ColumnRoles, missing_column, plain
from adapters.data.dataset_files import check_encoding, open_file
from adapters.data.readers.base.json_text import Decoder
from adapters.data.rows import RowSource, lines

Alternatives = Sequence[Sequence[str]]
"""Columns of which a task needs all, the likeliest first: (("text",), ("tokens",)) of named entities."""


def read_requests(
    path: Path,
    wanted: Alternatives,
    *,
    named: Mapping[str, str | None],
    say: Callable[[str], None],
    learned: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    plugin_dirs: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Requests, in the order of the file. What cannot be read becomes a request whose answer is the error.

    Args:
        path: `.txt` has a text on each line, `.jsonl` or a pipe a text, inputs or a request; other files are read as
            training data is.
        wanted: columns that the task takes.
        named: by column of the task, the file's column that the user named.
        learned: by column of the task, that of the training data, which is taken where the file has it.
        say: receives a line on which columns were read as what, and which were not read.
        encoding: of the file.
        plugin_dirs: folders of further readers.

    Yields:
        `{id, inputs: {column: value}}`, or a request as the file has it. Without one of its own, the id is the line, or
        the number of the row where several are on one line.

    Raises:
        DataError: the file cannot be read at all, or lacks a column.
    """
    if path.suffix == ".txt":
        yield from _of_texts(path, encoding)
    elif path.suffix == ".jsonl" or not path.is_file():
        yield from _of_json_lines(path, encoding, wanted, named, learned or {}, say)
    else:
        source = open_file(path, encoding=encoding, plugin_dirs=plugin_dirs)
        yield from _of_rows(source, wanted, named, learned or {}, say)


def chosen_columns(
    names: Sequence[str], wanted: Alternatives, named: Mapping[str, str | None], learned: Mapping[str, str]
) -> dict[str, str] | None:
    """The file's column for each of the task's: the user's, that of the training data, the one with the same name or
    with a usual one; None if one lacks."""
    known = {column: name for column, name in learned.items() if name in names}
    free = {plain(name): name for name in reversed(names)}
    for columns in wanted:
        usual: Mapping[str, str] = free
        if tuple(columns) == PAIRS[0]:
            pair = next((pair for pair in PAIRS if pair[0] in free and pair[1] in free), PAIRS[0])
            usual = {column: free[name] for column, name in zip(columns, pair, strict=True) if name in free}
        elif "text" not in free:
            usual = {**free, **dict([("text", free[name]) for name in TEXTS if name in free][:1])}
        found = {column: named.get(column) or known.get(column) or usual.get(column) for column in columns}
        read = {column: name for column, name in found.items() if name is not None and name in names}
        if len(read) == len(columns):
            return read
    return None


def _of_texts(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    check_encoding(encoding)
    faults = _Heard(str(path))
    for number, text, sound in lines(path, encoding, faults):
        yield from faults.requests(before=number + 1)
        if sound:
            yield {ID: str(number), "inputs": {"text": text.rstrip("\r\n")}}
    yield from faults.requests()


def _of_json_lines(
    path: Path,
    encoding: str,
    wanted: Alternatives,
    named: Mapping[str, str | None],
    learned: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    check_encoding(encoding)
    said, decode, faults = "", Decoder().decode, _Heard(str(path))
    for number, line, sound in lines(path, encoding, faults):
        content = line.strip()
        value, _, problems = decode(content, end_expected=True) if content and sound else (None, 0, [])
        for problem in problems[:1]:  # a line has one answer
            faults.add(f"{path}:{number}", problem)
        yield from faults.requests(before=number + 1)
        if problems or not content or not sound:
            continue
        if not isinstance(value, dict):
            yield {ID: str(number), "inputs": {"text": value}}
            continue
        id = str(number) if value.get(ID) is None else value[ID]
        if "inputs" not in value:
            columns = chosen_columns([*value], wanted, named, learned)
            if columns is None:  # the task says what is wrong with them
                columns = {name: name for name in value if name != ID}
            told = _said(str(path), columns, [*value])
            if told and not said:
                say(told)
            said = said or told
            value = {"inputs": {column: value[name] for column, name in columns.items()}}
        yield {**value, ID: id}
    yield from faults.requests()


def _of_rows(
    source: RowSource,
    wanted: Alternatives,
    named: Mapping[str, str | None],
    learned: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    ColumnRoles(source, named)  # refuses a column that was named and is not there
    columns = chosen_columns(source.columns, wanted, named, learned)
    if columns is None:
        needed = " or ".join(" and ".join(one) for one in wanted)
        advice = "Name it with --text_column_name." if any("text" in one for one in wanted) else ""
        raise missing_column(source, f"column for {needed}", advice)
    if told := _said(source.name, columns, source.columns):
        say(told)
    faults = _Heard(source.name)
    for row in source.rows(faults):
        yield from faults.requests(before=row.line)
        values = {column: row.values.get(name) for column, name in columns.items()}
        own = row.values.get(ID)
        yield {ID: str(row.line if own in (None, "") else own), "inputs": values}
    yield from faults.requests()


def _said(name: str, columns: Mapping[str, str], names: Sequence[str]) -> str:
    """Which columns are read as what, and which are not read; empty where each is read under its own name."""
    renamed = [f"{column} from {own!r}" for column, own in columns.items() if column != own]
    left = [one for one in names if one not in columns.values() and one != ID]
    parts = [f"read {', '.join(renamed)}"] if renamed else []
    parts += [f"not read: {', '.join(left[:10])}{', …' if len(left) > 10 else ''}"] if left else []
    return f"{name}: {'; '.join(parts)}" if parts else ""


class _Heard(Faults):
    """Faults of rows, kept until their places among the requests are written."""

    def __init__(self, subject: str) -> None:
        super().__init__(subject)
        self.waiting: list[tuple[float, dict[str, Any]]] = []

    def add(self, where: str, what: str, advice: str = "") -> None:
        """Readers may add the faults of many rows before the first of these rows."""
        line = where.rpartition(":")[2].strip().removeprefix("row ")
        request = {ID: line, "inputs": DataError(f"{where}: {what}{'. ' if advice else ''}{advice}")}
        self.waiting.append((float(line) if line.isdecimal() else 0.0, request))

    def requests(self, before: float = inf) -> Iterator[dict[str, Any]]:
        """A request for each fault of an earlier line, whose answer is the error."""
        yield from (request for line, request in self.waiting if line < before)
        self.waiting = [one for one in self.waiting if one[0] >= before]
