"""A folder for each class, with a file for each text: `pos/1.txt`, `neg/1.txt` (aclImdb, 20 newsgroups).

Columns: `id` (the file within the folder), `text` (the whole file) and `label` (the folder's name). A folder `unsup` or
`unlabeled` has texts without labels: it is left out, and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.core.errors import DataError, Faults, numbered
from adapters.core.files import digest_file, digest_value
from adapters.data.rows import FileSource, Row, lines

EXTENSIONS: tuple[str, ...] = ()
FILES = "a folder for each class, with a file for each text"

_WITHOUT_LABELS = frozenset(("unsup", "unsupervised", "unlabeled", "unlabelled", "unlab"))
_SPLITS = frozenset(("train", "training", "dev", "valid", "validation", "val", "eval", "test", "testing"))
_HIDDEN = (".", "__MACOSX")
_FEWEST = 2


def recognises(path: Path, head: str) -> bool:
    """Whether two or more folders in it contain nothing but texts, and are not named as splits are."""
    if head or not path.is_dir():
        return False
    found = _folders(path)
    classes = [folder for folder in found if folder.name.lower() not in _WITHOUT_LABELS]
    if len(classes) < _FEWEST or any(folder.name.lower() in _SPLITS for folder in classes):
        return False
    return all(_holds_texts(folder) for folder in found)


def open(path: Path, encoding: str) -> ClassFoldersSource:
    """List the classes. Raises DataError where there is no text."""
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder. Give the folder that contains a folder for each class.")
    found = _folders(path)
    classes = tuple(folder for folder in found if folder.name.lower() not in _WITHOUT_LABELS)
    if not any(_files(folder) for folder in classes):
        raise DataError(f"{path}: contains no folder of a class with texts. Give pos/1.txt, neg/1.txt, say.")
    notes = [
        f"{folder.name} is left out: {numbered(len(_files(folder)), 'texts')} without a label"
        for folder in found
        if folder not in classes
    ]
    beside = sorted(one.name for one in path.iterdir() if one.is_file() and not one.name.startswith(_HIDDEN))
    if beside:
        notes.append(
            f"files beside the folders are not read: {', '.join(beside[:5])}{', …' if len(beside) > 5 else ''}"
        )
    return ClassFoldersSource(
        path=path, encoding=encoding, columns=["id", "text", "label"], classes=classes, notes=tuple(notes)
    )


@dataclass(frozen=True, kw_only=True)
class ClassFoldersSource(FileSource):
    """The texts of each class, in the order of their names."""

    classes: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def format(self) -> str:
        """What was recognised."""
        return f"folders of {len(self.classes)} classes"

    def digest(self) -> str:
        """sha256, in hex, of the files' names and bytes."""
        return digest_value({self._id(file): digest_file(file) for folder in self.classes for file in _files(folder)})

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per file."""
        for folder in self.classes:
            for file in _files(folder):
                read = list(lines(file, self.encoding, faults))
                if all(line.sound for line in read):
                    text = "\n".join(line.content for line in read).rstrip("\n")
                    yield Row(str(file), 1, 0, {"id": self._id(file), "text": text, "label": folder.name})

    def _id(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith(_HIDDEN))


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_file() and not one.name.startswith(_HIDDEN))


def _holds_texts(folder: Path) -> bool:
    """Whether a folder contains files, no other folder, and all are texts by their names: `1.txt`, or without one."""
    inside = [one for one in folder.iterdir() if not one.name.startswith(_HIDDEN)]
    return (
        bool(inside)
        and all(
            one.suffix.lower() in ("", ".txt", ".text") or one.suffix[1:].isdecimal() for one in inside if one.is_file()
        )
        and not any(one.is_dir() for one in inside)
    )
