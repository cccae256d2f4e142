"""Which reader reads a file, and which file of a folder is which split.

A reader is a file of `readers/` that offers what `Reader` lists; nothing else has to change for a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from adapters.core import discovery
from adapters.core.errors import DataError, SettingsError, SourceError
from adapters.data.rows import CANNOT_READ, DAMAGED, HEAD, RowSource, open_bytes, plain_name

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("dev", "valid", "validation", "val", "eval"), SPLITS[1]
)
"""Words in the names of files, and the split that each denotes."""


class Reader(Protocol):
    """What a file of `readers/` offers.

    It may also offer `companions(path)`: the files that it reads together with one (the other side of a translation).
    """

    EXTENSIONS: tuple[str, ...]
    """Endings of this reader's files, with the dot and in lower case, without `.gz` and `.bz2`. A reader without any
    recognises its files by their contents, or by the files in their folder, and is tried before the others."""

    def recognises(self, path: Path, head: str) -> bool:
        """Whether it is of this format; `head`: a file's first 4096 characters, leniently decoded, "" for a folder.

        A reader may also offer `claims(path, head)`: whether a file is of its format though the extension is another's.
        """

    def open(self, path: Path, encoding: str) -> RowSource:
        """The rows. Raises DataError where nothing can be read: no header, no rows, damaged."""


def open_file(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    reader: str | None = None,
    plugin_dirs: Sequence[str] = (),
    flag: str = "",
) -> RowSource:
    """The rows of one file, or of a folder with one saved dataset.

    Args:
        path: the file; its extension chooses the reader, else its beginning does.
        encoding: encoding of text files.
        reader: name of the reader; None chooses it.
        plugin_dirs: folders of further plugins.
        flag: the user's flag for `path`, for messages.

    Raises: DataError, SettingsError.
    """
    path = Path(path)
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise SettingsError(f"--encoding {encoding}: unknown to Python. The usual encoding is utf-8.") from error
    try:
        return _reader(path, _head(path, encoding), reader, plugin_dirs).open(path, encoding)
    except DataError as error:
        raise DataError(f"{flag} {error}".strip()) from error


def _head(path: Path, encoding: str) -> str:
    """The beginning of a file, "" for a folder. Raises DataError if there is nothing to read."""
    if not path.exists():
        raise DataError(f"{path}: no such file. Check the path (relative paths start at {Path.cwd()}).")
    if path.is_dir():
        return ""
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file, but data is read more than once. Save it to a file first.")
    try:
        with open_bytes(path) as stream:
            start = stream.read(4 * HEAD)
    except CANNOT_READ as error:
        raise DataError(f"{path}: cannot be read ({error}). {DAMAGED} Or check its permissions.") from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding and "32" not in encoding:
        raise DataError(f"{path}: begins with the mark of UTF-16, not of {encoding}. Add --encoding utf-16.")
    if not start.strip():
        raise DataError(f"{path}: the file is empty. Give a file with examples.")
    return start.decode(encoding, errors="replace").removeprefix("\ufeff")[:HEAD]


def _by_contents(reader: Reader) -> Callable[[Path, str], bool]:
    """How a reader recognises a file before its extension counts."""
    if not reader.EXTENSIONS:
        return reader.recognises
    claims: Callable[[Path, str], bool] = getattr(reader, "claims", lambda path, head: False)
    return claims


def _reader(path: Path, head: str, name: str | None, plugin_dirs: Sequence[str]) -> Reader:
    known = [name] if name else discovery.names("readers", plugin_dirs)
    readers = {key: cast(Reader, discovery.load("readers", key, plugin_dirs)) for key in known}
    fits = [key for key, reader in readers.items() if _by_contents(reader)(path, head)]
    if not path.is_dir():
        named = [key for key, reader in readers.items() if name or plain_name(path).endswith(reader.EXTENSIONS)]
        fits = fits or named
    fits = fits or [key for key, reader in readers.items() if reader.recognises(path, head)]
    if len(fits) == 1:
        return readers[fits[0]]
    if fits:
        raise DataError(f"{path}: {' and '.join(fits)} can all read it. Name one: --dataset_format {fits[0]}")
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file. Give one of its files, or --dataset_name {path}")
    listed = "; ".join(f"{key} ({' '.join(reader.EXTENSIONS) or 'folders'})" for key, reader in readers.items())
    raise DataError(
        f"{path}: no reader recognises this file. Readers: {listed}.\n"
        "If the file is of one of these formats, name it: --dataset_format NAME"
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
    """Those of the splits `train`, `validation` and `test` that exist.

    Args:
        folder: a folder of files whose names contain the split, or of a dataset saved by `datasets`.
        hub_id: a dataset of the Hub, with `config` and `revision`.
        files: paths by split. They replace splits of the folder or the Hub, or are the only ones.
        encoding, reader, plugin_dirs: as in `open_file`, for all files.

    Raises: DataError, SourceError, SettingsError.
    """
    given = {split: path for split, path in files.items() if path}
    assert set(given) <= set(SPLITS) and not (folder and hub_id), (given, folder, hub_id)
    options: dict[str, Any] = {"encoding": encoding, "reader": reader, "plugin_dirs": plugin_dirs}
    hub: Any = discovery.load("readers", "hf_datasets")
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
        raise SettingsError("There is no data. Give --dataset_name, or --train_file (and --test_file).")
    found |= {split: open_file(path, flag=f"--{split}_file", **options) for split, path in given.items()}
    return {split: found[split] for split in SPLITS if split in found}


def _without_companions(paths: Sequence[Path], plugin_dirs: Sequence[str]) -> list[Path]:
    """The files of a folder, without those that are read together with an earlier one."""
    readers = [discovery.load("readers", name, plugin_dirs) for name in discovery.names("readers", plugin_dirs)]
    finders = [reader.companions for reader in readers if hasattr(reader, "companions")]
    taken: set[Path] = set()
    for path in paths:
        if path not in taken:
            taken |= {other for companions in finders for other in companions(path) if other > path}
    return [path for path in paths if path not in taken]


def _choose(origin: str, names: Mapping[str, Sequence[str]], given: Collection[str]) -> dict[str, str]:
    """The name for each split that is not given otherwise, by split. `names` has the parts of each name."""
    named = {name: {SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS} for name, parts in names.items()}
    candidates = {split: [name for name in names if split in named[name]] for split in SPLITS if split not in given}
    for split, several in candidates.items():
        if len(several) > 1:
            raise DataError(f"{origin}: {' and '.join(several)} are all {split}. Name one: --{split}_file …")
    chosen = {split: several[0] for split, several in candidates.items() if several}
    for name in chosen.values():
        if len(named[name]) > 1:
            raise DataError(f"{origin}: {name} names several splits. Assign it to one, for example with --train_file.")
    if not {"train", "test"} & {*chosen, *given}:
        listed = ", ".join(list(names)[:20]) or "nothing"
        raise DataError(
            f"{origin}: nothing in it has train or test in its name (train.conll, test.jsonl). It contains: {listed}.\n"
            "Rename the files, or name them: --train_file … --test_file …"
        )
    return chosen
