"""Results on disk, a line each, written as they come: what a killed lab has done is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.files import FORMAT, canonical_json, write_text


class Journal:
    """Records by key in a JSON lines file. A line that a killed process left half-written counts as not there."""

    def __init__(self, path: Path) -> None:
        """Args: path: of the file, which need not be there; its folder is made."""
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        whole = []
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines(keepends=True):
            record = _read(line)
            if record is not None:
                self.records[record["key"]] = record
                whole.append(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "".join(whole) != text:
            write_text(path, "".join(whole))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that have no record."""
        return [key for key in keys if key not in self.records]

    def add(self, record: dict[str, Any]) -> None:
        """Write a record, which has its `key`; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(canonical_json({"format": FORMAT, **record}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.records[record["key"]] = record


def _read(line: str) -> dict[str, Any] | None:
    """A line's record; None where it is not whole."""
    if not line.endswith("\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None
