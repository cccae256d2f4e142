"""brat's folders: `doc.txt` is a text, `doc.ann` next to it its annotations, of which the entities are read.

    T1	PER 0 14	Mara Lindqvist

Columns: `text`, `entities` (each with its own text), and `id`, the file's name. Entities in several parts, relations,
events, attributes and notes are left out and counted; an empty `.ann` is a document without entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.core.files import digest_file, digest_value
from adapters.data.row_views import RowOfLines
from adapters.data.rows import FileSource, Row, lines

EXTENSIONS: tuple[str, ...] = ()
FILES = "folders with brat's .txt and .ann"

_ENTITY = re.compile(r"T\S*\t(\S+) (\d+) (\d+)(?:\t(.*))?")
_PARTS = re.compile(r"T\S*\t\S+ \d+ \d+(;\d+ \d+)+(\t.*)?")
_LEFT = {
    "R": "relations",
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "references",
    "#": "notes",
    "*": "relations",
}
_FORM = "A line of an entity is its name, a tab, LABEL START END, a tab, and its text."


def recognises(path: Path, head: str) -> bool:
    """Whether it is a folder with a text and its annotations, or one such text or annotations."""
    if path.is_dir():
        return any(other.with_suffix(".txt").is_file() for other in path.glob("*.ann"))
    return path.suffix == ".ann" and path.with_suffix(".txt").is_file()


def open(path: Path, encoding: str) -> BratSource:
    """List the documents. Raises DataError where there is none."""
    files = [path] if path.is_file() else sorted(path.glob("[!.]*"))
    names = {suffix: {file.with_suffix("") for file in files if file.suffix == suffix} for suffix in (".txt", ".ann")}
    if path.is_file():
        names = {suffix: {path.with_suffix("")} for suffix in names}
    both = sorted(names[".txt"] & names[".ann"])
    if not both:
        raise DataError(f"{path}: no .txt has an .ann next to it. Give a folder that brat wrote.")
    notes = []
    for has, lacks in ((".txt", ".ann"), (".ann", ".txt")):
        alone = sorted(names[has] - names[lacks])
        if alone:
            shown = ", ".join(name.name + has for name in alone[:4]) + (", …" if len(alone) > 4 else "")
            notes.append(f"{len(alone):,} {has} without {lacks} left out: {shown}")
    columns = ["id", "text", "entities"]
    return BratSource(path=path, encoding=encoding, columns=columns, documents=both, notes=notes)


@dataclass(frozen=True, kw_only=True)
class BratSource(FileSource):
    """Documents in the order of their names."""

    documents: Sequence[Path]
    """Without their extension."""
    notes: Sequence[str]

    def digest(self) -> str:
        """sha256, in hex, of the files' names and bytes."""
        files = [name.with_name(name.name + suffix) for name in self.documents for suffix in (".txt", ".ann")]
        return digest_value({file.name: digest_file(file) for file in files})

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per document."""
        for name in self.documents:
            text_file, marks = name.with_name(name.name + ".txt"), name.with_name(name.name + ".ann")
            before = faults.count
            text = "".join(line.text for line in lines(text_file, self.encoding, faults))
            found = list(self._entities(marks, faults))
            if faults.count == before:
                values = {"id": name.name, "text": text, "entities": [entity for _, entity in found]}
                yield RowOfLines(str(marks), values, tuple(number for number, _ in found))

    def _entities(self, path: Path, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
        for line in lines(path, self.encoding, faults):
            text = line.content
            if not line.sound or not text.strip():
                continue
            if found := _ENTITY.fullmatch(text):
                entity = {"start": int(found[2]), "end": int(found[3]), "label": found[1]}
                yield line.number, {**entity, "text": found[4]} if found[4] is not None else entity
            elif _PARTS.fullmatch(text):
                faults.note("entities in several parts left out")
            elif text[0] in _LEFT:
                faults.note(f"{_LEFT[text[0]]} left out")
            else:
                faults.add(f"{path}:{line.number}", f"no annotation of brat: {text[:60]!r}", _FORM)
