"""Rows of a dataset, read from files, folders or the Hub; what is wrong with them is said as `file:line`.

A reader is a file of this folder. It offers what `Reader` lists; nothing else has to change for a new one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from adapters import discovery
from adapters.errors import DataError, Faults, SettingsError, SourceError
from adapters.files import digest_file

HEAD = 4096
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("dev", "valid", "validation", "val", "eval"), SPLITS[1]
)
DAMAGED = "The file is damaged or cut short: fetch it again."
_COMPRESSIONS: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
_CANNOT_READ = (OSError, EOFError, zlib.error)
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One example as it stands in its file, values not yet interpreted."""

    file: str
    """As the user gave it (a relative path stays relative), or a dataset's name."""
    line: int
    """Line at which the row begins, counted from 1; the row's number where a format has no lines."""
    line_step: int
    """1 where item k of a list column stands on line + k (column files), else 0."""
    values: dict[str, Any]

    def where(self, item: int = 0) -> str:
        """`file:line` of the row, or of one item of its list columns."""
        return f"{self.file}:{self.line + item * self.line_step}"


class RowSource(Protocol):
    """Rows that can be read again and again, each time from the beginning and one at a time."""

    @property
    def name(self) -> str:
        """The path as the user gave it, or the dataset's name."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns, as far as the beginning of the data shows them."""

    def digest(self) -> str:
        """sha256, in hex, of what is read."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The sound rows in order. What is wrong with the others is added to `faults`, and reading goes on."""


class Reader(Protocol):
    """What a file of this folder offers.

    It may also offer `companions(path)`: the files that it reads together with one (the other side of a translation).
    """

    EXTENSIONS: tuple[str, ...]
    """Ends of file names, with the dot and in lower case, that this reader is for (`.gz` and `.bz2` stripped). One
    without any knows its files by what they hold, or by what lies beside them, and comes before the others."""

    def recognises(self, path: Path, head: str) -> bool:
        """Whether it is of this format; `head`: 4096 characters, leniently decoded, of a file, "" for a folder."""

    def open(self, path: Path, encoding: str) -> RowSource:
        """Raises DataError where nothing can be read: no header, no rows, damaged."""


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """What sources of a single file have in common; a reader adds `rows`."""

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


class Line(NamedTuple):
    """A line of a text file."""

    number: int
    text: str
    """With its line end."""
    sound: bool
    """False where a fault has been noted for this line already."""


def lines(path: Path, encoding: str, faults: Faults) -> Iterator[Line]:
    r"""Lines of a text file, which may be compressed, split at `\n` alone; a byte order mark is dropped.

    A NUL, or bytes that are not of the encoding, are faults of their line.
    """
    number = 0
    try:
        stream = io.TextIOWrapper(_open_bytes(path), encoding=encoding, errors="surrogateescape", newline="\n")
        with stream:
            for number, text in enumerate(stream, 1):
                text = text if number > 1 else text.removeprefix("\ufeff")
                fault = _what_is_wrong(text, encoding)
                if fault:
                    faults.add(f"{path}:{number}", *fault)
                yield Line(number, text, sound=not fault)
    except UnicodeDecodeError as error:  # encodings of two-byte units, where a byte has no escaped form
        faults.add(f"{path}:{number + 1}", f"from here on, not {encoding} ({error.reason})", "Check --encoding.")
    except _CANNOT_READ as error:
        faults.add(f"{path}:{number + 1}", f"cannot be read further ({error})", DAMAGED)


def _what_is_wrong(text: str, encoding: str) -> tuple[str, str] | None:
    """A fault and its advice."""
    if "\0" in text:
        return "the line holds a NUL character", "NUL has no place in text: remove it, or name the right --encoding."
    byte = None if text.isascii() else _ESCAPED_BYTE.search(text)
    if byte is None:
        return None
    advice = "Name the encoding that the file was written in, for example --encoding latin-1."
    return f"byte 0x{ord(byte[0]) - 0xDC00:02x} is not {encoding}", advice


def _open_bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], _COMPRESSIONS.get(path.suffix.lower(), open)(path, "rb"))


def plain_name(path: Path) -> str:
    """The file's name in lower case, without the ending of a compression."""
    return (path.stem if path.suffix.lower() in _COMPRESSIONS else path.name).lower()


def open_file(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    reader: str | None = None,
    plugin_dirs: Sequence[str] = (),
    flag: str = "",
) -> RowSource:
    """The rows of one file, or of a folder that holds one saved dataset.

    Args:
        path: the file; its extension chooses the reader, else its beginning does.
        encoding: of text files.
        reader: name of a reader, which is then not chosen.
        plugin_dirs: folders of further plugins.
        flag: the flag that the user gave `path` with, for messages.

    Raises: DataError, SettingsError.
    """
    path = Path(path)
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise SettingsError(f"--encoding {encoding}: Python knows no such encoding. The usual one is utf-8.") from error
    try:
        return _reader(path, _head(path, encoding), reader, plugin_dirs).open(path, encoding)
    except DataError as error:
        raise DataError(f"{flag} {error}".strip()) from error


def _head(path: Path, encoding: str) -> str:
    """The beginning of a file, "" for a folder. Raises DataError if there is nothing to read."""
    if not path.exists():
        raise DataError(f"{path}: no such file. Check the path (it is taken from the folder {Path.cwd()}).")
    if path.is_dir():
        return ""
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file, and data is read more than once. Save it to a file first.")
    try:
        with _open_bytes(path) as stream:
            start = stream.read(4 * HEAD)
    except _CANNOT_READ as error:
        raise DataError(f"{path}: cannot be read ({error}). {DAMAGED} Or check its permissions.") from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding and "32" not in encoding:
        raise DataError(f"{path}: begins with the mark of UTF-16, not of {encoding}. Add --encoding utf-16.")
    if not start.strip():
        raise DataError(f"{path}: the file is empty. Give a file that holds examples.")
    return start.decode(encoding, errors="replace").removeprefix("\ufeff")[:HEAD]


def _reader(path: Path, head: str, name: str | None, plugin_dirs: Sequence[str]) -> Reader:
    known = [name] if name else discovery.names("data", plugin_dirs)
    readers = {key: cast(Reader, discovery.load("data", key, plugin_dirs)) for key in known}
    fits = [key for key, reader in readers.items() if not reader.EXTENSIONS and reader.recognises(path, head)]
    if not path.is_dir():
        named = [key for key, reader in readers.items() if name or plain_name(path).endswith(reader.EXTENSIONS)]
        fits = fits or named
    fits = fits or [key for key, reader in readers.items() if reader.recognises(path, head)]
    if len(fits) == 1:
        return readers[fits[0]]
    if fits:
        raise DataError(f"{path}: {' and '.join(fits)} can all read it. Say which: --dataset_format {fits[0]}")
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file. Give one of its files, or --dataset_name {path}")
    listed = "; ".join(f"{key} ({' '.join(reader.EXTENSIONS) or 'folders'})" for key, reader in readers.items())
    raise DataError(
        f"{path}: no reader recognises this file. Readers: {listed}.\n"
        "If the file is of one of these formats, say which: --dataset_format NAME"
    )


def open_splits(
    *,
    folder: Path | None = None,
    hub_id: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    files: Mapping[str, str | None] = {},
    encoding: str = "utf-8",
    reader: str | None = None,
    plugin_dirs: Sequence[str] = (),
) -> dict[str, RowSource]:
    """The splits `train`, `validation` and `test`, as far as there are any.

    Args:
        folder: of files whose names say the split, or of a dataset saved by `datasets`.
        hub_id: of a dataset of the Hub, with `config` and `revision`.
        files: split -> path. They stand in for the folder's or the Hub's splits, or alone.
        encoding, reader, plugin_dirs: as in `open_file`, for all files.

    Raises: DataError, SourceError, SettingsError.
    """
    given = {split: path for split, path in files.items() if path}
    assert set(given) <= set(SPLITS) and not (folder and hub_id), (given, folder, hub_id)
    options: dict[str, Any] = {"encoding": encoding, "reader": reader, "plugin_dirs": plugin_dirs}
    hub: Any = discovery.load("data", "hub")
    found: dict[str, RowSource] = {}
    if folder and not folder.is_dir():
        raise SourceError(f"--dataset_name {folder}: no such folder. Check the path, or give --train_file.")
    if hub_id or (folder and hub.recognises(folder, "")):
        sources = hub.load_hub(hub_id, config, revision) if hub_id else hub.load_saved(folder)
        chosen = _choose(str(hub_id or folder), {name: [name] for name in sources}, given)
        found = {split: sources[name] for split, name in chosen.items()}
    elif folder:
        alone = _without_companions([p for p in sorted(folder.glob("[!.]*")) if p.is_file()], plugin_dirs)
        parts = {p.name: re.split(r"[._-]", p.name.lower()) for p in alone}
        chosen = _choose(str(folder), parts, given)
        found = {split: open_file(folder / name, **options) for split, name in chosen.items()}
    elif not given:
        raise SettingsError("No data was named. Give --dataset_name, or --train_file (and --test_file).")
    found |= {split: open_file(path, flag=f"--{split}_file", **options) for split, path in given.items()}
    return {split: found[split] for split in SPLITS if split in found}


def _without_companions(paths: Sequence[Path], plugin_dirs: Sequence[str]) -> list[Path]:
    """The files of a folder without those that are read together with an earlier one."""
    readers = [discovery.load("data", name, plugin_dirs) for name in discovery.names("data", plugin_dirs)]
    asked = [reader.companions for reader in readers if hasattr(reader, "companions")]
    taken: set[Path] = set()
    for path in paths:
        if path not in taken:
            taken |= {other for companions in asked for other in companions(path) if other > path}
    return [path for path in paths if path not in taken]


def _choose(origin: str, names: Mapping[str, Sequence[str]], given: Collection[str]) -> dict[str, str]:
    """Split -> the name that serves it, leaving out the splits given otherwise. Each name comes with its parts."""
    named = {name: {SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS} for name, parts in names.items()}
    serving = {split: [name for name in names if split in named[name]] for split in SPLITS if split not in given}
    for split, several in serving.items():
        if len(several) > 1:
            raise DataError(f"{origin}: {' and '.join(several)} are all {split}. Name one: --{split}_file …")
    chosen = {split: several[0] for split, several in serving.items() if several}
    for name in chosen.values():
        if len(named[name]) > 1:
            raise DataError(f"{origin}: {name} names several splits. Say which it is, for example with --train_file.")
    if not {"train", "test"} & {*chosen, *given}:
        listed = ", ".join(list(names)[:20]) or "nothing"
        raise DataError(
            f"{origin}: nothing in it is called train or test (as in train.conll, test.jsonl). It holds: {listed}.\n"
            "Rename the files, or name them: --train_file … --test_file …"
        )
    return chosen
