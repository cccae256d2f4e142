"""Files that are complete or absent, digests, and where this project's own data and cache lie."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import platformdirs

CACHE_VARIABLE = "TASKSWAP_CACHE"
FORMAT = 1


def cache_folder(*parts: str) -> Path:
    """The folder for what can be fetched or computed again: `$TASKSWAP_CACHE`, else the platform's cache folder."""
    root = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("taskswap")
    folder = Path(root).expanduser().absolute().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def packaged(name: str) -> Path:
    """The folder `prompts` or `accelerate_configs`: beside the package in a clone, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def canonical_json(value: Any) -> str:
    """One text for equal values: keys sorted, no spaces, non-ASCII escaped (a lone surrogate stays valid)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_value(value: Any) -> str:
    """sha256, in hex, of a JSON value in its canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256, in hex, of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def new_file(path: Path, *, text: bool = True) -> Iterator[IO[Any]]:
    """A stream to a file that appears under its name only when the block has ended without an error.

    Args:
        path: a file that is there already is replaced, whole for whole; its folder must exist.
        text: UTF-8 with line ends as given (a lone surrogate is kept), else bytes.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogatepass", "newline": ""} if text else {}
    try:
        with os.fdopen(handle, "w" if text else "wb", **how) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as stream:
        stream.write(text)


def as_json(value: Any) -> str:
    """A JSON file's text, readable by people; equal values have one text if their keys stand in one order."""
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one of our JSON files (`format: 1` is added), complete or absent."""
    write_text(path, as_json({"format": FORMAT, **value}))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that appears under its name only when the block has ended without an error.

    Yields a temporary sibling to write in. On success its files are flushed to disk and it is renamed to `target`,
    whose parent must be writable; a `target` that exists already is replaced. On failure nothing is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        _replace(target, temporary)
        _flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(target: Path, new: Path) -> None:
    """Put a folder in the place of another, which is set aside until the new one stands there."""
    old = new.with_name(f"{new.name}.old")
    there = target.exists()
    if there:
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if there:
            old.rename(target)
        raise
    if there:
        shutil.rmtree(old)


def _flush(path: Path) -> None:
    """fsync a file or a folder (a folder's entries are data of their own on POSIX; Windows cannot open one)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
