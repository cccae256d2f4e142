"""JSON: one object per line (`.jsonl`, `.ndjson`), or one document: a list of objects, or one as `data`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.rows import FileSource, Row, lines, plain_name

EXTENSIONS: tuple[str, ...] = (".jsonl", ".ndjson", ".json")

_OBJECT_OPENS = re.compile(r'\s*(\[\s*)?\{\s*"')
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD]")
_PEEK = 100


def recognises(path: Path, head: str) -> bool:
    """Whether the text begins with an object that has a key, or with a list of such objects."""
    return bool(_OBJECT_OPENS.match(head))


def open(path: Path, encoding: str) -> JsonSource:
    """Read the names of the columns from the first hundred objects. Raises DataError."""
    whole = not plain_name(path).endswith((".jsonl", ".ndjson")) and _is_one_document(path, encoding)
    faults = Faults(str(path))
    rows = JsonSource(path=path, encoding=encoding, columns=[], whole=whole).rows(faults)
    columns = list(dict.fromkeys(key for row in islice(rows, _PEEK) for key in row.values))
    if not columns:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no object with a key. Give a file with a JSON object on each line.")
    return JsonSource(path=path, encoding=encoding, columns=columns, whole=whole)


@dataclass(frozen=True, kw_only=True)
class JsonSource(FileSource):
    """Objects, with JSON's values."""

    whole: bool
    """The file is one document, which is read into memory; lines are read one at a time."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per object."""
        read = _document(self.path, self.encoding, faults) if self.whole else self._objects_of_lines(faults)
        for number, value, problems in read:
            if not problems and not isinstance(value, dict):
                problems = [f"a JSON object is needed, found {_KINDS[type(value)]}"]
            for problem in problems:
                faults.add(f"{self.path}:{number}", problem)
            if not problems:
                yield Row(self.name, number, 0, value)

    def _objects_of_lines(self, faults: Faults) -> Iterator[tuple[int, Any, list[str]]]:
        for line in lines(self.path, self.encoding, faults):
            if line.sound and line.text.strip():
                value, _, problems = _decode(line.text.rstrip("\r\n"), 0, end_expected=True)
                yield line.number, value, problems


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def _decode(text: str, start: int, end_expected: bool = False) -> tuple[Any, int, list[str]]:
    """The value at `start`, its end, and what is wrong with it."""
    problems: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            problems.append(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in one object")
        return value

    def constant(word: str) -> None:
        problems.append(f"{word} is not JSON: write null or a number")

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            problems.append(f"the number {digits[:20]} is too large")
        return value

    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_constant=constant, parse_float=number)
    try:
        value, end = decoder.raw_decode(text, _skip_space(text, start))
        if end_expected and _skip_space(text, end) < len(text):
            raise json.JSONDecodeError("Extra data", text, _skip_space(text, end))
        if _HALF.search(text, start, end):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return None, len(text), [f"not JSON at column {error.colno}: {error.msg}"]
    except UnicodeEncodeError:
        problems.append(r"a string contains half of a character (\ud800 to \udfff without its other half)")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested lists
        return None, len(text), [f"cannot be read as JSON ({error})"]
    return value, end, problems


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def _is_one_document(path: Path, encoding: str) -> bool:
    """Whether a `.json` file is one document rather than one object per line, which many tools write."""
    filled = (line.text for line in lines(path, encoding, Faults(str(path))) if line.text.strip())
    first = next(filled, "")
    value, _, problems = _decode(first, 0, end_expected=True)
    if isinstance(value, dict) and not problems:
        return isinstance(value.get("data"), list) and next(filled, None) is None
    return True


def _document(path: Path, encoding: str, faults: Faults) -> Iterator[tuple[int, Any, list[str]]]:
    """The elements of the document's list, each with the line at which it begins."""
    before = faults.count
    text = "".join(line.text for line in lines(path, encoding, faults))
    if faults.count > before:
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        number, place = getattr(error, "lineno", 1), f" at column {getattr(error, 'colno', 1)}"
        yield number, None, [f"not JSON{place}: {getattr(error, 'msg', error)}"]
        return
    start = _start_of_list(text)
    if start is None:
        problem = 'a list of objects is needed, or an object with one as "data"; or an object on each line'
        yield 1, None, [problem]
        return
    number, counted = 1, 0
    position = _skip_space(text, start + 1)
    while text[position] != "]":
        number, counted = number + text.count("\n", counted, position), position
        value, end, problems = _decode(text, position)
        yield number, value, problems
        position = _skip_space(text, end)
        if text[position] == ",":
            position = _skip_space(text, position + 1)


def _start_of_list(text: str) -> int | None:
    """The position at which the list of objects begins in a valid JSON document; None if it has no list."""
    position = _skip_space(text, 0)
    if text[position] == "{":
        position = _skip_space(text, position + 1)
        while text[position] != "}":
            key, end, _ = _decode(text, position)
            position = _skip_space(text, _skip_space(text, end) + 1)
            if key == "data":
                break
            position = _skip_space(text, _decode(text, position)[1])
            if text[position] == ",":
                position = _skip_space(text, position + 1)
    return position if text[position] == "[" else None
