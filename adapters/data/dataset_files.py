"""Which reader reads a file, and which file of a folder is which split.

A reader is a file of `readers/` that offers what `Reader` lists; nothing else has to change for a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from adapters.core import discovery
from adapters.core.errors import DataError, SettingsError, SourceError
from adapters.data.rows import CANNOT_READ, DAMAGED, HEAD, RowSource, open_bytes, plain_name, saying
from adapters.data.shards import grouped, joined

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("dev", "valid", "validation", "val", "eval"), SPLITS[1]
)
"""Words in the names of files, and the split that each denotes."""
MATCHED, MISMATCHED = "matched", "mismatched"
"""The two dev and test splits of MNLI: of the genres in train, and of others."""

_CONTAINERS = (".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".zst", ".lz4")
_MAX_LISTED = 20


class Reader(Protocol):
    """What a file of `readers/` offers.

    It may also offer `FILES`, words for what it reads; `companions(path)`, the files that it reads together with one
    (the other side of a translation); and `open_named(path, encoding, names)`, which opens a file without a header,
    whose columns the user names.
    """

    EXTENSIONS: tuple[str, ...]
    """Endings of this reader's files, with the dot and in lower case, without `.gz` and the like. A reader without any
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
    column_names: Sequence[str] = (),
    flag: str = "",
) -> RowSource:
    """The rows of one file, or of a folder with one saved dataset.

    Args:
        path: the file; its extension chooses the reader, else its beginning does.
        encoding: encoding of text files.
        reader: name of the reader; None chooses it.
        plugin_dirs: folders of further plugins.
        column_names: names of the columns of a table without a header; not used where the format has names.
        flag: the user's flag for `path`, for messages.

    Raises: DataError, SettingsError.
    """
    path = Path(path)
    check_encoding(encoding)
    try:
        chosen: Any = _reader(path, _head(path, encoding), reader, plugin_dirs)
        if column_names and hasattr(chosen, "open_named"):
            return cast(RowSource, chosen.open_named(path, encoding, column_names))
        return cast(RowSource, chosen.open(path, encoding))
    except DataError as error:
        raise DataError(f"{flag} {error}".strip()) from error


def check_encoding(encoding: str) -> None:
    """Raises SettingsError for an encoding that there is not."""
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise SettingsError(f"--encoding {encoding}: unknown to Python. The usual encoding is utf-8.") from error


def _head(path: Path, encoding: str) -> str:
    """The beginning of a file, "" for a folder. Raises DataError if there is nothing to read."""
    if not path.exists():
        raise DataError(f"{path}: no such file. Check the path (relative paths start at {Path.cwd()}).")
    if path.is_dir():
        return ""
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file, but data is read more than once. Save it to a file first.")
    if plain_name(path).endswith(_CONTAINERS):
        raise DataError(f"{path}: of packed files, those in .gz, .bz2, .xz and .zip are read. Unpack this one first.")
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
    raise DataError(
        f"{path}: no reader recognises this file. Readers:\n{_listed_readers(readers)}\n"
        "If the file is of one of these formats, name it: --dataset_format NAME"
    )


def _listed_readers(readers: Mapping[str, Reader]) -> str:
    """A line for each reader, with the files that it is for."""
    lines = []
    for name, reader in readers.items():
        words = getattr(reader, "FILES", "")
        lines.append(f"  {name} ({' '.join(reader.EXTENSIONS) or 'recognised'}){': ' if words else ''}{words}")
    return "\n".join(lines)


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
    column_names: Sequence[str] = (),
) -> dict[str, RowSource]:
    """Those of the splits `train`, `validation` and `test` that exist.

    Args:
        folder: a folder of files, or of folders, whose names contain the split; of a dataset saved by `datasets`; or
            one that a reader reads as a whole, which is then train.
        hub_id: a dataset of the Hub, with `revision`.
        config: of the dataset of the Hub; or a folder in `folder`.
        files: paths by split. They replace splits of the folder or the Hub, or are the only ones.
        encoding, reader, plugin_dirs, column_names: as in `open_file`, for all files.

    Raises: DataError, SourceError, SettingsError.
    """
    given = {split: path for split, path in files.items() if path}
    assert set(given) <= set(SPLITS) and not (folder and hub_id), (given, folder, hub_id)
    options: dict[str, Any] = {
        "encoding": encoding,
        "reader": reader,
        "plugin_dirs": plugin_dirs,
        "column_names": column_names,
    }
    hub: Any = discovery.load("readers", "hf_datasets")
    found: dict[str, RowSource] = {}
    notes: list[str] = []
    if folder and not folder.is_dir():
        raise SourceError(f"--dataset_name {folder}: no such folder. Check the path, or give --train_file.")
    if hub_id or (folder and hub.recognises(folder, "")):
        sources = hub.load_hub(hub_id, config, revision) if hub_id else hub.load_saved(folder)
        chosen, notes = chosen_splits(str(hub_id or folder), sources, given)
        found = {split: sources[name] for split, name in chosen.items()}
    elif folder:
        found, notes = _open_folder(folder, config, given, options)
    elif not given:
        raise SettingsError("There is no data. Give --dataset_name, or --train_file (and --test_file).")
    found |= {split: open_file(path, flag=f"--{split}_file", **options) for split, path in given.items()}
    if column_names and not any(getattr(source, "named", False) for source in found.values()):
        raise SettingsError("--column_names: is for tables without a header (CSV, TSV, Excel), and none is read.")
    ordered = {split: found[split] for split in SPLITS if split in found}
    first = next(iter(ordered))
    return {**ordered, first: saying(ordered[first], *notes)}


def _open_folder(
    folder: Path, config: str | None, given: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[dict[str, RowSource], list[str]]:
    """The splits in a folder that are not given otherwise, and what is to be said of it. Raises DataError."""
    inside = [path for path in sorted(folder.glob("[!.]*")) if path.name != "__pycache__"]
    groups = grouped(_without_companions([path for path in inside if path.is_file()], options["plugin_dirs"]))
    folders = [path for path in inside if path.is_dir()]
    for path in folders:
        if _split_words(path.name) and (files := _files_of_split(path, options["plugin_dirs"], options["reader"])):
            groups[f"{path.name}/"] = files
    if not any({"train", "test"} & _split_words(name) for name in groups):
        if _reads_folder(folder, options["plugin_dirs"], options["reader"]):
            return {} if "train" in given else {"train": open_file(folder, **options)}, []
        within = [path for path in folders if path.name == config] or [
            path
            for path in folders
            if config is None and any({"train", "test"} & _split_words(other.name) for other in path.glob("[!.]*"))
        ]
        if len(within) == 1:
            return _open_folder(within[0], None, given, options)
        if within:
            listed = ", ".join(path.name for path in within[:_MAX_LISTED])
            raise DataError(f"{folder}: contains several data sets: {listed}. Name one: --dataset_config_name NAME")
    elsewhere = [f"{path.name}/" for path in folders if f"{path.name}/" not in groups]
    parts = {name: re.split(r"[._/-]", name.lower()) for name in [*groups, *elsewhere]}
    chosen, notes = _choose(str(folder), parts, given, unreadable=elsewhere)
    found = {}
    for split, name in chosen.items():
        sources = [open_file(path, **options) for path in groups[name]]
        found[split] = joined(str(folder / name), sources)
    named = {name for name in parts if any(name in note for note in notes)}
    left = [name for name in parts if name not in {*chosen.values(), *named} and _is_data(name, options["plugin_dirs"])]
    if left:
        more = ", …" if len(left) > _MAX_LISTED else ""
        notes = [*notes, f"not used of {folder}: {', '.join(left[:_MAX_LISTED])}{more}"]
    return found, notes


def chosen_splits(origin: str, names: Iterable[str], given: Collection[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Of a data set with splits of these names, the name for each split, and what is to be said of the choice.

    Args:
        origin: the data set, for messages.
        names: as it has them (`dev`, `validation_matched`).
        given: splits that are given otherwise.

    Raises: DataError where several names are one split, or none is train or test.
    """
    parts = {name: re.split(f"_(?={MATCHED}|{MISMATCHED})", name) for name in names}
    exact = {split: split for split in SPLITS if split in parts and split not in given}
    chosen, notes = _choose(origin, parts, {*given, *exact})
    chosen |= exact
    left = [name for name in parts if name not in chosen.values() and not any(name in note for note in notes)]
    return chosen, [*notes, *([f"not used of {origin}: {', '.join(left)}"] if left else [])]


def _split_words(name: str) -> set[str]:
    """The splits that a name contains."""
    return {SPLIT_WORDS[part] for part in re.split(r"[._/-]", name.lower()) if part in SPLIT_WORDS}


def _files_of_split(folder: Path, plugin_dirs: Sequence[str], reader: str | None) -> list[Path]:
    """What is opened of a folder that is named as a split: itself, if a reader reads it, else its file or shards."""
    if _reads_folder(folder, plugin_dirs, reader):
        return [folder]
    files = grouped(_without_companions([p for p in sorted(folder.glob("[!.]*")) if p.is_file()], plugin_dirs))
    return next(iter(files.values())) if len(files) == 1 else []


def _reads_folder(folder: Path, plugin_dirs: Sequence[str], reader: str | None) -> bool:
    """Whether a reader, or the one that is named, reads the folder as a whole."""
    names = [reader] if reader else discovery.names("readers", plugin_dirs)
    return any(discovery.load("readers", name, plugin_dirs).recognises(folder, "") for name in names)


def _is_data(name: str, plugin_dirs: Sequence[str]) -> bool:
    """Whether a file that is not used is one that a user may expect to be."""
    endings = [
        ending
        for reader in discovery.names("readers", plugin_dirs)
        for ending in discovery.load("readers", reader, plugin_dirs).EXTENSIONS
    ]
    plain = plain_name(Path(name))
    about = plain.startswith(("readme", "license", "licence", "dataset_info"))
    return not about and (plain.endswith((*endings, ".txt")) or bool(_split_words(name)))


def _without_companions(paths: Sequence[Path], plugin_dirs: Sequence[str]) -> list[Path]:
    """The files of a folder, without those that are read together with an earlier one."""
    readers = [discovery.load("readers", name, plugin_dirs) for name in discovery.names("readers", plugin_dirs)]
    finders = [reader.companions for reader in readers if hasattr(reader, "companions")]
    taken: set[Path] = set()
    for path in paths:
        if path not in taken:
            taken |= {other for companions in finders for other in companions(path) if other > path}
    return [path for path in paths if path not in taken]


def _choose(
    origin: str, names: Mapping[str, Sequence[str]], given: Collection[str], unreadable: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """The name for each split that is not given otherwise, by split, and what is to be said of the choice.

    Args:
        origin: the folder or the data set, for messages.
        names: the parts of each name.
        given: splits that are given otherwise.
        unreadable: names that are no data, listed only where nothing is found.
    """
    named = {name: {SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS} for name, parts in names.items()}
    candidates = {
        split: [name for name in names if split in named[name] and name not in unreadable]
        for split in SPLITS
        if split not in given
    }
    notes = []
    for split, several in candidates.items():
        kinds = {kind: [name for name in several if kind in names[name]] for kind in (MATCHED, MISMATCHED)}
        if len(kinds[MATCHED]) == 1 and len(several) == 1 + len(kinds[MISMATCHED]):
            candidates[split] = kinds[MATCHED]
            without = f"; not used: {', '.join(kinds[MISMATCHED])}" if kinds[MISMATCHED] else ""
            notes.append(f"{kinds[MATCHED][0]} is the {split} split{without}")
        elif several and several == kinds[MISMATCHED] and any(MATCHED in parts for parts in names.values()):
            candidates[split] = []
            notes.append(f"not used: {', '.join(several)}")
        elif len(several) > 1:
            raise DataError(f"{origin}: {' and '.join(several)} are all {split}. Name one: --{split}_file …")
    chosen = {split: several[0] for split, several in candidates.items() if several}
    for name in chosen.values():
        if len(named[name]) > 1:
            raise DataError(f"{origin}: {name} names several splits. Assign it to one, for example with --train_file.")
    if not {"train", "test"} & {*chosen, *given}:
        listed = ", ".join(list(names)[:_MAX_LISTED]) or "nothing"
        raise DataError(
            f"{origin}: nothing in it has train or test in its name (train.conll, test.jsonl). It contains: {listed}.\n"
            "Rename the files, or name them: --train_file … --test_file …"
        )
    return chosen, notes
