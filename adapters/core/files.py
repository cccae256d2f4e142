"""Atomic files and folders, digests, and the locations of packaged data and the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

CACHE_VARIABLE = "TASKSWAP_CACHE"
FORMAT = 1


def cache_folder(*parts: str) -> Path:
    """A folder in the cache, which is `$TASKSWAP_CACHE` or the platform's cache folder; created if needed."""
    root = os.environ.get(CACHE_VARIABLE) or _platform_cache()
    folder = Path(root).expanduser().absolute().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _platform_cache() -> str:
    import platformdirs  # the runtime of exports needs no cache, and brings no such library

    return platformdirs.user_cache_dir("taskswap")


def packaged(name: str) -> Path:
    """The folder `prompts` or `accelerate_configs`: next to the package in a clone, inside it in an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def canonical_json(value: Any) -> str:
    """The same text for equal values: keys sorted, no spaces, non-ASCII escaped (so lone surrogates are valid)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_value(value: Any) -> str:
    """sha256 (hex) of a JSON value in canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def new_file(path: Path, *, text: bool = True) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only if the block ends without an error.

    Args:
        path: an existing file is replaced atomically; the folder must exist.
        text: UTF-8 with line ends unchanged and lone surrogates kept; bytes if False.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogatepass", "newline": ""} if text else {}
    try:
        with os.fdopen(handle, "w" if text else "wb", **options) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: after a crash there is the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as stream:
        stream.write(text)


def as_json(value: Any) -> str:
    """The text of a JSON file, indented; the same for equal values with keys in the same order."""
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def json_line(value: Any, encoding: str = "utf-8") -> str:
    """A value as a line of JSON, in its own letters; escaped where the encoding lacks one, or a text half of one.

    What Python's `splitlines` takes for the end of a line is escaped.
    """
    line = json.dumps(value, ensure_ascii=False)
    for end in "\u0085\u2028\u2029":
        line = line.replace(end, f"\\u{ord(end):04x}")
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(value)
    return line + "\n"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file atomically, with `format: 1` added."""
    write_text(path, as_json({"format": FORMAT, **value}))


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError, ValueError, and RecursionError for one nested too deeply."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file as `write_json` does, with its own digest, by which `read_sealed` sees that it is unchanged."""
    body = {"format": FORMAT, **value}
    write_text(path, as_json({**body, "digest": digest_value(body)}))


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` has written, with its format and digest.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON object, is of another format, or was changed; the message says which.
    """
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        written = as_json(record)  # raises for NaN, which is not JSON but read by Python
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged, not JSON ({error}).") from error
    if not isinstance(record, dict):
        raise ValueError(f"damaged, not a JSON object, but {record!r:.60}.")
    if record.get("format") != FORMAT:
        raise ValueError(f"expected format {FORMAT}, found {record.get('format')!r:.60}.")
    digest = digest_value({name: value for name, value in record.items() if name != "digest"})
    if record.get("digest") != digest or written != text:
        raise ValueError(
            f"its own digest does not match: expected {record.get('digest')!r:.70}, found {digest!r}: it was modified "
            "or damaged."
        )
    return record


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Create a folder that appears under its name only if the block ends without an error.

    Yields a temporary sibling to write to. On success it is flushed to disk and renamed to `target`, whose parent must
    be writable; an existing `target` is replaced. On failure nothing is left.
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
    """Replace a folder by another; the old one is moved aside until the new one is in place."""
    old = new.with_name(f"{new.name}.old")
    exists = target.exists()
    if exists:
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if exists:
            old.rename(target)
        raise
    if exists:
        shutil.rmtree(old)


def recover_folder(target: Path) -> None:
    """Undo what a process that was killed in `new_folder` has left: drafts, and a folder that was moved aside.

    No other process may be writing the folder.
    """
    for draft in target.parent.glob(f".{target.name}.????????*"):
        if draft.suffix == ".old" and not target.exists():
            with suppress(FileNotFoundError):  # another process recovers it at the same time
                draft.rename(target)
        else:
            shutil.rmtree(draft, ignore_errors=True)


def _flush(path: Path) -> None:
    """fsync a file or a folder (POSIX stores the entries of a folder separately; Windows cannot open folders)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_folder(path: Path) -> Path:
    """The path if it is absent or an empty folder, otherwise with the first free number: `runs/lora_ner-2`."""
    number, candidate = 1, path
    while candidate.exists() and (not candidate.is_dir() or any(candidate.iterdir())):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def obstacle(folder: Path) -> tuple[Path, str] | None:
    """What keeps a folder from being made or written to: the path, and why; None where nothing does."""
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if parent.is_dir() and os.access(parent, os.W_OK):
        return None
    return parent, "cannot be written to" if parent.is_dir() else "is a file"


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Wait for the lock of a file; yields a handle that a process must inherit to keep it, None without POSIX's locks.

    A killed comparison leaves its current run running. The lock lives as long as that process, so the next comparison
    waits for it and finds the run finished; otherwise both would write into one folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield None
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"waiting for another process, which works on {path.with_suffix('')}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
