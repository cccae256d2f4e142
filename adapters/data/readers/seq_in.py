"""A folder with `seq.in`, `seq.out` and `label`: line n of each is a sentence's words, tags and intent (ATIS, SNIPS).

Columns: `seq.in` (also `tokens`, a list, and `text`), `seq.out` (also `tags`), and `label` where there is such a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults, numbered
from adapters.core.files import digest_file, digest_value
from adapters.data.rows import FileSource, Row, lines

EXTENSIONS: tuple[str, ...] = ()
FILES = "folders with seq.in, seq.out and label"

_WORDS, _TAGS, _LABEL = "seq.in", "seq.out", "label"


def recognises(path: Path, head: str) -> bool:
    """Whether it is such a folder, or one of its files."""
    if path.is_dir():
        return (path / _WORDS).is_file() and (path / _TAGS).is_file()
    return path.name in (_WORDS, _TAGS) and recognises(path.parent, "")


def companions(path: Path) -> list[Path]:
    """The other files of the folder."""
    if path.name not in (_WORDS, _TAGS, _LABEL) or not recognises(path.parent, ""):
        return []
    return [other for name in (_WORDS, _TAGS, _LABEL) if (other := path.parent / name) != path and other.is_file()]


def open(path: Path, encoding: str) -> SlotSource:
    """Count the lines of each file. Raises DataError where the numbers differ."""
    folder = path if path.is_dir() else path.parent
    files = {name: folder / name for name in (_WORDS, _TAGS, _LABEL) if (folder / name).is_file()}
    counts = {name: _count(file, encoding) for name, file in files.items()}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{files[name]} has {numbered(count, 'lines')}" for name, count in counts.items())
        raise DataError(f"{counted}. Line n of each must be the same sentence: mend the files, or fetch them again.")
    if not counts[_WORDS]:
        raise DataError(f"{folder}: its files contain no sentence. Give files with examples.")
    columns = ["tokens", "text", "tags", *files]
    return SlotSource(path=path, encoding=encoding, columns=columns, files=files)


@dataclass(frozen=True, kw_only=True)
class SlotSource(FileSource):
    """Lines of one number in the files of a folder."""

    files: dict[str, Path]
    """By name."""
    aliases: Mapping[str, str] = field(default_factory=lambda: {"tokens": _WORDS, "text": _WORDS, "tags": _TAGS})

    def digest(self) -> str:
        """sha256, in hex, of the files' bytes."""
        return digest_value({name: digest_file(path) for name, path in self.files.items()})

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per line; lines that are blank in every file are skipped."""
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(lines(path, self.encoding, faults)))  # type: ignore[type-var]
                for path in self.files.values()
            ]
            for number, row in enumerate(zip_longest(*streams), 1):
                if not all(line is not None and line.sound for line in row):
                    continue
                cells = dict(zip(self.files, (line.content.strip() for line in row), strict=True))
                if not any(cells.values()):
                    continue
                words = cells[_WORDS].split()
                values: dict[str, Any] = {**cells, "tokens": words, "text": cells[_WORDS], "tags": cells[_TAGS].split()}
                yield Row(str(self.files[_WORDS]), number, 0, values)


def _count(path: Path, encoding: str) -> int:
    """Lines up to the last that is not blank."""
    last = 0
    for line in lines(path, encoding, Faults(str(path))):
        last = line.number if line.text.strip() else last
    return last
