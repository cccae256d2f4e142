"""spaCy's examples as lists: `["Ada smiled", {"entities": [[0, 3, "PER"]]}]`, in one JSON list or one on each line.

Columns: `text`, and the keys of the second part (`entities`, `cats`). A document may also be
`{"annotations": [examples]}`, as the annotators for spaCy write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.readers.base.json_text import decode, skip_space
from adapters.data.rows import CANNOT_READ, FileSource, Row, lines, open_bytes, plain_name

EXTENSIONS: tuple[str, ...] = ()
FILES = "spaCy's lists of a text and its entities"

_KEYS = r'"(entities|cats|spans|links|heads|deps|tags)"\s*:'
_FORM = '["text", {"entities": [[start, end, "label"]]}]'
_BEGINNING = re.compile(r'\s*(\{\s*("classes"\s*:\s*\[[^\]]*\]\s*,\s*)?"annotations"\s*:\s*)?\[\s*\[?\s*"', re.DOTALL)
_SECOND = re.compile(rf'",\s*\{{\s*{_KEYS}|"\s*,\s*\{{\s*{_KEYS}', re.DOTALL)
_FAR = 2**20
"""Bytes in which the end of the first text is looked for."""
_PEEK = 100


def recognises(path: Path, head: str) -> bool:
    """Whether it begins with a list of a text and a dict of annotations."""
    if not plain_name(path).endswith((".json", ".jsonl", ".ndjson", ".txt")) or not _BEGINNING.match(head):
        return False
    if _SECOND.search(head):
        return True
    try:  # the head may end within the first text
        with open_bytes(path) as stream:
            return bool(_SECOND.search(stream.read(_FAR).decode("latin-1")))
    except CANNOT_READ:
        return False


def open(path: Path, encoding: str) -> SpacySource:
    """Read the keys of the first hundred examples. Raises DataError."""
    first = next((line.text for line in lines(path, encoding, Faults(str(path))) if line.text.strip()), "")
    value, _, problems = decode(first.rstrip("\r\n"), 0, end_expected=True)
    by_lines = not problems and _fault(value) is None
    faults = Faults(str(path))
    rows = SpacySource(path=path, encoding=encoding, columns=[], by_lines=by_lines).rows(faults)
    columns = list(dict.fromkeys(key for row in islice(rows, _PEEK) for key in row.values))
    if not columns:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no example. Give examples such as {_FORM}.")
    return SpacySource(path=path, encoding=encoding, columns=columns, by_lines=by_lines)


@dataclass(frozen=True, kw_only=True)
class SpacySource(FileSource):
    """Texts with spaCy's annotations."""

    by_lines: bool
    """Each line is an example; else the file is one document."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per example."""
        for number, value, problems in self._values(faults):
            if value is None and not problems:
                faults.note("nulls in place of examples left out")
                continue
            for problem in problems or filter(None, [_fault(value)]):
                faults.add(f"{self.path}:{number}", problem, "" if problems else f"An example is {_FORM}.")
            if not problems and _fault(value) is None:
                yield Row(self.name, number, 0, {"text": value[0], **value[1]})

    def _values(self, faults: Faults) -> Iterator[tuple[int, Any, list[str]]]:
        if self.by_lines:
            for line in lines(self.path, self.encoding, faults):
                if line.sound and line.text.strip():
                    value, _, problems = decode(line.text.rstrip("\r\n"), 0, end_expected=True)
                    yield line.number, value, problems
            return
        before = faults.count
        text = "".join(line.text for line in lines(self.path, self.encoding, faults))
        if faults.count == before:
            yield from _examples(text)


def _examples(text: str) -> Iterator[tuple[int, Any, list[str]]]:
    """The examples of a document, each with the line at which it begins and what is wrong with it."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" at column {getattr(error, 'colno', 1)}"
        yield getattr(error, "lineno", 1), None, [f"not JSON{place}: {getattr(error, 'msg', error)}"]
        return
    opening = re.search(r'"annotations"\s*:\s*\[' if isinstance(document, dict) else r"\[", text)
    assert opening is not None
    number, counted, position = 1, 0, skip_space(text, opening.end())
    while text[position] != "]":
        number, counted = number + text.count("\n", counted, position), position
        value, end, problems = decode(text, position)
        yield number, value, problems
        position = skip_space(text, end)
        position = skip_space(text, position + 1) if text[position] == "," else position


def _fault(value: Any) -> str | None:
    """What is wrong with an example."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        return f"a list of a text and its annotations is needed, found {repr(value)[:60]}"
    return None if isinstance(value[1], dict) else f"the annotations must be a dict, found {repr(value[1])[:60]}"
