"""JSON: one object per line (`.jsonl`, `.ndjson`), or one document: a list of objects, or one as `data`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.readers.base.json_text import decode, elements
from adapters.data.rows import FileSource, Row, lines, plain_name

EXTENSIONS: tuple[str, ...] = (".jsonl", ".ndjson", ".json")

_OBJECT_OPENS = re.compile(r'\s*(\[\s*)?\{\s*"')
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
        read = elements(self.path, self.encoding, faults) if self.whole else self._objects_of_lines(faults)
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
                value, _, problems = decode(line.text.rstrip("\r\n"), 0, end_expected=True)
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


def _is_one_document(path: Path, encoding: str) -> bool:
    """Whether a `.json` file is one document rather than one object per line, which many tools write."""
    filled = (line.text for line in lines(path, encoding, Faults(str(path))) if line.text.strip())
    first = next(filled, "")
    value, _, problems = decode(first, 0, end_expected=True)
    if isinstance(value, dict) and not problems:
        return isinstance(value.get("data"), list) and next(filled, None) is None
    return True
