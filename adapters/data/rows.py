"""Rows of a dataset and the lines that they are read from; faults are reported as `file:line`."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from adapters.core.errors import Faults
from adapters.core.files import digest_file

HEAD = 4096
"""Characters at the beginning of a file by which its format is recognised."""
DAMAGED = "The file is damaged or cut short: fetch it again."
CANNOT_READ = (OSError, EOFError, zlib.error)
"""Errors of files that are damaged or not readable."""

_COMPRESSIONS: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """What sources of a single file share; a reader adds `rows`."""

    path: Path
    encoding: str
    columns: list[str]

    @property
    def name(self) -> str:
        """The path as the user gave it."""
        return str(self.path)

    def digest(self) -> str:
        """sha256, in hex, of the file's bytes."""
        return digest_file(self.path)


def format_of(source: RowSource) -> str:
    """What was recognised: the source's own words, else the name of its reader."""
    return str(getattr(source, "format", None) or type(source).__module__.rpartition(".")[2])


def notes_of(source: RowSource) -> list[str]:
    """What a reader says of its source."""
    return list(getattr(source, "notes", ()))


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
    number = 0
    try:
        stream = io.TextIOWrapper(open_bytes(path), encoding=encoding, errors="surrogateescape", newline="\n")
        with stream:
            for number, text in enumerate(stream, 1):
                text = text if number > 1 else text.removeprefix("\ufeff")
                fault = _what_is_wrong(text, encoding)
                if fault:
                    faults.add(f"{path}:{number}", *fault)
                yield Line(number, text, sound=not fault)
    except UnicodeDecodeError as error:  # encodings of two-byte units, where a byte has no escaped form
        faults.add(f"{path}:{number + 1}", f"from here on, not {encoding} ({error.reason})", "Check --encoding.")
    except CANNOT_READ as error:
        faults.add(f"{path}:{number + 1}", f"cannot be read further ({error})", DAMAGED)


def _what_is_wrong(text: str, encoding: str) -> tuple[str, str] | None:
    """A line's fault and the advice, or None."""
    if "\0" in text:
        return "the line contains a NUL character", "NUL is not text: remove it, or name the right --encoding."
    byte = None if text.isascii() else _ESCAPED_BYTE.search(text)
    if byte is None:
        return None
    advice = "Name the encoding of the file, for example --encoding latin-1."
    return f"byte 0x{ord(byte[0]) - 0xDC00:02x} is not {encoding}", advice


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed if it is compressed."""
    return cast(IO[bytes], _COMPRESSIONS.get(path.suffix.lower(), open)(path, "rb"))


def plain_name(path: Path) -> str:
    """The file's name in lower case, without `.gz` or `.bz2`."""
    return (path.stem if path.suffix.lower() in _COMPRESSIONS else path.name).lower()
