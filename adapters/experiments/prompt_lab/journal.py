"""Results on disk, one line each, written as they come, so that a killed lab resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.core.files import FORMAT, canonical_json, write_text


class Journal:
    """Records by key in a JSON lines file. A partial line, left by a killed process, is ignored."""

    def __init__(self, path: Path) -> None:
        """Args: path: of the file, which need not exist; its folder is created."""
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        complete = []
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines(keepends=True):
            record = _read(line)
            if record is not None:
                self.records[record["key"]] = record
                complete.append(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "".join(complete) != text:
            write_text(path, "".join(complete))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys without a record."""
        return [key for key in keys if key not in self.records]

    def add(self, record: dict[str, Any]) -> None:
        """Write a record, which has its `key`; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(canonical_json({"format": FORMAT, **record}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.records[record["key"]] = record


def _read(line: str) -> dict[str, Any] | None:
    """A line's record; None where it is partial or damaged."""
    if not line.endswith("\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None
