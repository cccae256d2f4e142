"""FewRel's JSON: an object whose keys are relations, each with a list of `{"tokens", "h", "t"}`.

Columns: `tokens`, `h` and `t` (`[name, id, [positions of words]]`), and `relation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import Faults
from adapters.data.readers.base.json_text import Decoder, document
from adapters.data.rows import FileSource, PlacedRow, Row, with_a_row

EXTENSIONS: tuple[str, ...] = ()
FILES = "FewRel's JSON, by relation"

_OPENS = re.compile(r'\s*\{\s*"[^"]+"\s*:\s*\[\s*\{\s*"tokens"\s*:')
_COLUMNS = ("tokens", "h", "t", "relation")
_FORM = 'A file of this form is {"P931": [{"tokens": ["…"], "h": ["name", "Q1", [[0, 1]]], "t": ["…", "Q2", [[4]]]}]}.'


def recognises(path: Path, head: str) -> bool:
    """Whether it begins like such an object."""
    return bool(_OPENS.match(head))


def open(path: Path, encoding: str) -> RelationSource:
    """Check that there is an example. Raises DataError."""
    source = RelationSource(path=path, encoding=encoding, columns=list(_COLUMNS))
    return with_a_row(source, f"the file contains no example. {_FORM}")


@dataclass(frozen=True, kw_only=True)
class RelationSource(FileSource):
    """Instances in the order of the document, which is read into memory."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per instance."""
        text = document(self.path, self.encoding, faults)
        value, _, problems = Decoder().decode(text) if text is not None else ({}, 0, [])
        for problem in problems:
            faults.add(f"{self.path}:1", problem)
        if problems or not isinstance(value, dict):
            return
        number = 0
        for relation, instances in value.items():
            for at, instance in enumerate(instances if isinstance(instances, list) else [instances]):
                number += 1
                if isinstance(instance, dict):
                    values: dict[str, Any] = {**instance, "relation": relation}
                    yield PlacedRow(self.name, number, 0, values, f"{relation}[{at}]")
                else:
                    faults.add(f"{self.path}: {relation}[{at}]", "an instance must be an object", _FORM)
