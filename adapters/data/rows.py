"""Rows of a dataset and the lines that they are read from; faults are reported as `file:line`."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Protocol, TypeVar, cast

from adapters.core.discovery import code_version
from adapters.core.errors import DataError, Faults
from adapters.core.files import digest_file
from adapters.data.encodings import fault_of_byte

FIRST_ROWS = 1000
"""Rows at the beginning of a source by which its contents are judged."""
HEAD = 4096
"""Characters at the beginning of a file by which its format is recognised."""
DAMAGED = "The file is damaged or cut short: fetch it again."
CANNOT_READ = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
"""Errors of files that are damaged or not readable (of a zip's compression that Python lacks, the last)."""
COMPRESSIONS: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Endings of compressed files, and what opens them; besides these, a `.zip` with one file."""

_LINES_AT_ONCE, _CHARACTERS_AT_ONCE = 1000, 1_000_000
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(slots=True)  # freezing it would take three times as long, for each row
class Row:
    """One example as its file has it, values not yet interpreted."""

    file: str
    """The path as the user gave it (relative or absolute), or a dataset's name."""
    line: int
    """Line at which the row begins, counted from 1; in formats without lines, the row's number."""
    line_step: int
    """1 if item k of a list column is on line + k (column files), else 0."""
    values: dict[str, Any]

    def where(self, item: int = 0) -> str:
        """`file:line` of the row, or of one item of its list columns."""
        return f"{self.file}:{self.line + item * self.line_step}"


class RowSource(Protocol):
    """Rows that can be read repeatedly, each time from the beginning and one at a time.

    A source may also have `format` (words for what was recognised, else the name of its reader), `notes` (what is to be
    said of it, a sentence each: what its reader left out or took for granted), and `aliases` (second names of columns,
    each with the first one).
    """

    @property
    def name(self) -> str:
        """The path as the user gave it, or the dataset's name."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns in the beginning of the data."""

    def digest(self) -> str:
        """sha256, in hex, of the data."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The sound rows in order. Faults of the others are added to `faults`, and reading continues."""


S = TypeVar("S", bound=RowSource)


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """What sources of a single file share; a reader adds `rows`."""

    path: Path
    encoding: str
    columns: list[str]
    said: tuple[str, ...] = ()
    """What is to be said of the source besides its reader's `notes`: of the folder that it was found in."""

    @property
    def name(self) -> str:
        """The path as the user gave it."""
        return str(self.path)

    def digest(self) -> str:
        """sha256, in hex, of the file's bytes."""
        return digest_file(self.path)


@dataclass(slots=True)
class PlacedRow(Row):
    """A row of a document whose place is not a line: `file: data[0].qas[2]`."""

    place: str

    def where(self, item: int = 0) -> str:
        """The file, and the place in it."""
        return f"{self.file}: {self.place}"


def with_a_row(source: S, needed: str) -> S:
    """The source. Raises DataError, its faults or `needed`, where it has no sound row."""
    faults = Faults(source.name)
    if next(source.rows(faults), None) is None:
        faults.raise_if_any()
        raise DataError(f"{source.name}: {needed}")
    return source


def format_of(source: RowSource) -> str:
    """What was recognised: the source's own words, else the name of its reader."""
    return str(getattr(source, "format", None) or type(source).__module__.rpartition(".")[2])


def notes_of(source: RowSource) -> list[str]:
    """What is to be said of a source: by its reader, and of where it was found."""
    return [*getattr(source, "notes", ()), *getattr(source, "said", ())]


def readers_of(source: RowSource) -> list[Any]:
    """How a source is read, as JSON: its class, that class's code, the encoding, and the same of sources inside it."""
    kind = type(source)
    inside = [source.source] if hasattr(source, "source") else getattr(source, "parts", ())
    own = [kind.__name__, code_version(kind), getattr(source, "encoding", None)]
    return [*own, *([readers_of(one) for one in inside])]


def first_rows(source: RowSource, count: int = FIRST_ROWS) -> list[Row]:
    """The first sound rows, by which contents are judged."""
    return list(islice(source.rows(Faults(source.name)), count))


def saying(source: RowSource, *sentences: str) -> RowSource:
    """The source, with more to be said of it; a source of a plugin that has no place for that stays as it is."""
    if not sentences or not hasattr(source, "said"):
        return source
    changed: Any = copy.copy(source)
    object.__setattr__(changed, "said", (*changed.said, *sentences))  # it is frozen, and this copy is not yet known
    return cast(RowSource, changed)


class Line(NamedTuple):
    """A line of a text file."""

    number: int
    text: str
    """With its line end."""
    sound: bool
    """False if the line has a fault already."""

    @property
    def content(self) -> str:
        """The text without its line end."""
        return self.text.removesuffix("\n").removesuffix("\r")


def lines(path: Path, encoding: str, faults: Faults) -> Iterator[Line]:
    r"""Lines of a text file, which may be compressed, split at `\n` alone; a byte order mark is dropped.

    A NUL, or bytes that are not of the encoding, are faults of their line.
    """
    for first, texts, wrong in _blocks(path, encoding):
        for number, text in enumerate(texts, first):
            sound = number not in wrong
            if not sound:
                faults.add(f"{path}:{number}", *wrong[number])
            yield Line(number, text, sound)
        _add(path, faults, {number: fault for number, fault in wrong.items() if number >= first + len(texts)})


def line_blocks(path: Path, encoding: str, faults: Faults) -> Iterator[tuple[int, list[str], Collection[int]]]:
    """As `lines`, many at a time: the number of the first, their texts, and the numbers of those with a fault."""
    for first, texts, wrong in _blocks(path, encoding):
        _add(path, faults, wrong)
        yield first, texts, wrong.keys()


def _add(path: Path, faults: Faults, wrong: Mapping[int, tuple[str, str]]) -> None:
    for number, fault in wrong.items():
        faults.add(f"{path}:{number}", *fault)


_Block = tuple[int, list[str], dict[int, tuple[str, str]]]
"""Lines: the number of the first, their texts, and by number what is wrong with some, and the advice."""


def _blocks(path: Path, encoding: str) -> Iterator[_Block]:
    """The lines of a file; where it cannot be read further, that is a fault of the line after the last."""
    number, at_once = 1, 10
    texts: list[str] = []
    try:
        stream = io.TextIOWrapper(open_bytes(path), encoding=encoding, errors="surrogateescape", newline="\n")
        with stream:
            while True:
                texts = []
                texts.extend(islice(stream, at_once))  # where it raises, the lines before are in the list
                if not texts:
                    return
                yield _block(number, texts, encoding)
                number += len(texts)
                at_once = max(1, min(_LINES_AT_ONCE, _CHARACTERS_AT_ONCE // max(1, *map(len, texts))))
    except UnicodeDecodeError as error:  # encodings of two-byte units, where a byte has no escaped form
        fault = f"from here on, not {encoding} ({error.reason})", "Check --encoding."
    except CANNOT_READ as error:
        fault = f"cannot be read further ({error})", DAMAGED
    first, texts, wrong = _block(number, texts, encoding)
    yield first, texts, {**wrong, number + len(texts): fault}


def _block(first: int, texts: list[str], encoding: str) -> _Block:
    """The lines, without a byte order mark before the first, and what is wrong with them."""
    if first == 1 and texts:
        texts[0] = texts[0].removeprefix("\ufeff")
    if _is_sound("".join(texts)):  # all at once, since nearly all are sound
        return first, texts, {}
    found = {number: _what_is_wrong(text, encoding) for number, text in enumerate(texts, first)}
    return first, texts, {number: fault for number, fault in found.items() if fault is not None}


def _is_sound(text: str) -> bool:
    if "\0" in text:
        return False
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # the escaped bytes are no characters
            return False
    return True


def _what_is_wrong(text: str, encoding: str) -> tuple[str, str] | None:
    """A line's fault and the advice, or None."""
    if "\0" in text:
        return "the line contains a NUL character", "NUL is not text: remove it, or name the right --encoding."
    byte = None if text.isascii() else _ESCAPED_BYTE.search(text)
    return None if byte is None else fault_of_byte(text, ord(byte[0]) - 0xDC00, encoding)


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed if it is compressed. Raises DataError for a zip that has not one file."""
    ending = path.suffix.lower()
    if ending != ".zip":
        return cast(IO[bytes], COMPRESSIONS.get(ending, open)(path, "rb"))
    archive = zipfile.ZipFile(path)
    members = _members(archive)
    if len(members) != 1:
        listed = ", ".join(member.filename for member in members[:10]) + (", …" if len(members) > 10 else "")
        raise DataError(
            f"{path}: a zip must contain one file of data, and this one contains {listed or 'none'}. "
            "Unpack it, and give its files, or its folder as --dataset_name."
        )
    member = members[0]
    if member.flag_bits & 1:
        raise DataError(f"{path}: {member.filename} is protected by a password. Unpack it, and give the file.")
    stream = archive.open(member)
    inner = COMPRESSIONS.get(PurePosixPath(member.filename).suffix.lower())
    return cast(IO[bytes], inner(stream, "rb") if inner else stream)


def plain_name(path: Path) -> str:
    """The file's name in lower case, without the ending of its compression; of a zip with one file, that file's."""
    ending = path.suffix.lower()
    if ending in COMPRESSIONS:
        return path.stem.lower()
    if ending != ".zip":
        return path.name.lower()
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
    except CANNOT_READ:
        members = []
    inside = PurePosixPath(members[0].filename if len(members) == 1 else path.stem)
    return (inside.stem if inside.suffix.lower() in COMPRESSIONS else inside.name).lower()


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive, without folders, hidden files, and what macOS adds."""
    return [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(member.filename).parts)
    ]
