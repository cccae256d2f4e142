"""Hostile names, paths and pickles: nothing outside the root is opened, no socket is, and nothing in a file runs."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import site
import sys
import sysconfig
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trials
from conftest import REPOSITORY, build_tiny_bert
from damage import CONFIG, LABELS, WEIGHTS, lora, payload, reseal

from adapters.artifacts.artifact import CARD
from adapters.core.errors import UserError
from adapters.serving.bank.bank import AdapterBank, Request

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES: list[Any] = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "C:\\x",
    "a\\b",
    "\x00",
    "a\x00b",
    "a" * 65,
    "a" * 10_000,
    "A",
    "Sound",
    "SOUND",
    "sound\n",
    "sound ",
    " sound",
    "ｓound",
    "söund",
    "so\u0308und",
    "sоund",
    "sound\u200b",
    "ſound",
    "http://127.0.0.1:9/x",
    "file:///etc/passwd",
    "hf://x/y",
    "~",
    "~root",
    "$HOME",
    "%2e%2e",
    "-rf",
    "_x",
    "x;ls",
    "\ud800",
    "🙂",
    "x\r\ny: z",
    "{0}",
    "{x!r}",
    "%s",
    None,
    3,
    1.5,
    b"sound",
    True,
    ["sound"],
    {"a": 1},
    ("sound",),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one sound adapter, another outside it, and links of all kinds between the two."""
    from adapters.models.base_model import open_base

    top = tmp_path_factory.mktemp("paths")
    base = build_tiny_bert(top / "tiny-bert")
    root = top / "root"
    task = trials.tiny.tagging(("PER",))
    lora(root / "sound", open_base(str(base)), task)
    lora(top / "outside", open_base(str(base)), task, seed=1)
    (root / "link-out").symlink_to(top / "outside")
    (root / "relative-link-out").symlink_to("../outside")
    (root / "link-up").symlink_to("..")
    (root / "ring").symlink_to("ring")
    (root / "ring-a").symlink_to("ring-b")
    (root / "ring-b").symlink_to("ring-a")
    (root / "link-in").symlink_to("sound")
    for name in (WEIGHTS, CARD, CONFIG, "README.md"):
        shutil.copytree(root / "sound", root / f"file-out-{name}")
        (root / f"file-out-{name}" / name).unlink()
        (root / f"file-out-{name}" / name).symlink_to(top / "outside" / name)
    shutil.copytree(root / "sound", root / "folder-out")
    (root / "folder-out" / "more").symlink_to(top / "outside")
    shutil.copytree(root / "sound", root / "dangling")
    (root / "dangling" / "more").symlink_to(top / "nowhere")
    return root


@pytest.fixture(scope="module")
def bank(root: Path) -> AdapterBank:
    bank = AdapterBank(str(root.parent / "tiny-bert"), capacity=2, adapter_root=root)
    bank.load("sound", root / "sound")
    bank.predict([Request("sound", "Ada")])
    return bank


@pytest.fixture(scope="module")
def rootless(root: Path) -> AdapterBank:
    """A bank that takes adapters from anywhere."""
    return AdapterBank(str(root.parent / "tiny-bert"), capacity=2)


def hostile_paths(root: Path) -> list[str]:
    """More than three hundred."""
    top, out = root.parent, str(root.parent / "outside")
    made = [
        out,
        f"{root}/../outside",
        "../outside",
        "outside",
        "..",
        "/",
        "/etc",
        "/etc/passwd",
        "/proc/self",
        "/dev/zero",
        f"{root}/sound/../../outside",
        f"{root}x",
        f"{root}/../root/../outside",
        "",
        ".",
        "~",
        "~/x",
        f"//{out}",
        "http://127.0.0.1:9/adapter",
        "https://huggingface.co/x/y",
        "file:///etc",
        f"file://{out}",
        "hf://x/y",
        "s3://x/y",
        "gpt2",
        "x/y",
        "\\\\host\\share",
        "C:\\x",
        "\x00",
        f"{root}/sound\x00",
        f"{out}\x00{root}",
        "\ud800",
        f"{root}/\ud800",
        "a" * 10_000,
        f"{root}/{'a' * 10_000}",
        f"{root}/" + "a/" * 5000,
        f"{root}/" + "../" * 3000,
        f"{root}/SOUND",
        f"{root}/Sound",
        f"{root}/sоund",
        f"{root}/ｓound",
        f"{root}/sound\u200b",
        f"{root}/link-out",
        f"{root}/relative-link-out",
        f"{root}/link-up",
        f"{root}/link-up/outside",
        f"{root}/ring",
        f"{root}/ring-a",
        f"{root}/link-out/../outside",
        f"{root}/folder-out",
        f"{root}/dangling",
        *(f"{root}/file-out-{name}" for name in (WEIGHTS, CARD, CONFIG, "README.md")),
        f"{root}/sound/{CARD}",
        f"{root}/sound/{CARD}/..",
        f"{root}/sound/{WEIGHTS}/../../sound",
        str(top),
        str(root),
    ]
    lookalikes = ("．．", "‥", "。。", "..\u200b", "%2e%2e", "..;", "....//", "..\\", "․․")
    made += [f"{root}/{dots}/outside" for dots in lookalikes]
    slashes = ("∕", "⁄", "／", "\\", "%2f", "\x00/", "//", "/./", "/.//../")
    made += [f"{root}/..{slash}outside" for slash in slashes]
    ups = ["../" * up for up in range(1, 25)]
    targets = (
        "outside",
        "etc/passwd",
        "etc",
        "proc/self/environ",
        "root/../outside",
        "tmp",
        "..",
        "outside/.",
        "dev/null",
    )
    made += [start + up + end for start in (f"{root}/", f"{root}/sound/") for up in ups for end in targets]
    return made


WATCHED: list[list[tuple[str, str]]] = []
"""Lists to write to what is opened; an audit hook can never be taken away, so it is put in once."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHED and event in (
        "open",
        "os.listdir",
        "os.scandir",
        "socket.connect",
        "socket.__new__",
        "subprocess.Popen",
    ):
        WATCHED[-1].append((event, os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""))


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_hear)


@contextmanager
def heard(root: Path) -> Iterator[None]:
    """Within it nothing is opened that lies outside the root, but for the libraries' own files, and no socket."""
    opened: list[tuple[str, str]] = []
    WATCHED.append(opened)
    try:
        yield
    finally:
        WATCHED.remove(opened)
    known = [
        sys.prefix,
        sys.base_prefix,
        REPOSITORY,
        os.environ["TASKSWAP_CACHE"],
        *Path(os.environ["TASKSWAP_CACHE"]).iterdir(),  # links to the caller's
        *sysconfig.get_paths().values(),
        *site.getsitepackages(),
    ]
    allowed = [root.resolve(), *(Path(place).resolve() for place in known)]
    for event, name in opened:
        assert event in ("open", "os.listdir", "os.scandir"), (event, name)
        place = Path(os.path.realpath(name))
        assert not name or any(place.is_relative_to(one) for one in allowed), (event, name)


def test_a_path_out_of_the_root_opens_nothing_there(root: Path, bank: AdapterBank) -> None:
    paths = hostile_paths(root)
    assert len(paths) >= 500
    before, bare = trials.state(bank), []
    with heard(root):
        for path in paths:
            try:
                assert not trials.accepts(bank, path) or Path(path).resolve() == root / "sound", path
            except (OSError, TypeError, RuntimeError, LookupError) as error:
                bare.append(f"{path[:80]!r}: {type(error).__name__}: {error}"[:160])
    assert not bare, "\n".join(bare)
    assert trials.state(bank) == before


def test_a_link_within_the_root_is_followed(root: Path, bank: AdapterBank) -> None:
    with heard(root):
        assert trials.accepts(bank, root / "link-in")
        assert trials.accepts(bank, root / "sound" / ".." / "sound")


def test_the_watch_hears_what_is_opened_outside(root: Path) -> None:
    with pytest.raises(AssertionError), heard(root):
        (root.parent / "outside" / CARD).read_bytes()
    with pytest.raises(AssertionError), heard(root):
        list((root.parent / "outside").iterdir())


NO_FOLDERS = ["a" * 10_000, "\x00", "\ud800", "", "/proc/self/mem", "/dev/null", "x/" * 3000]


@pytest.mark.parametrize("path", NO_FOLDERS, ids=lambda path: ascii(path)[:20])
def test_without_a_root_a_path_of_no_folder_is_a_typed_error_too(path: str, rootless: AdapterBank) -> None:
    with pytest.raises(UserError):
        rootless.load("x", path)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_hostile_name_reaches_nothing(name: Any, root: Path, bank: AdapterBank) -> None:
    before = trials.state(bank)
    with heard(root):
        with pytest.raises(UserError):
            bank.load(name, root / "sound")
        for call in (bank.unload, bank.reload, bank.pin):
            with pytest.raises(UserError):
                call(name)
        with pytest.raises(UserError):
            bank.reload(name, root / "sound")
        with pytest.raises(UserError):
            bank.alias(name, "sound")
        with pytest.raises(UserError):
            bank.alias("x", name)
    assert trials.state(bank) == before


@pytest.mark.parametrize("name", [name for name in NAMES if name is not None], ids=lambda name: ascii(name)[:30])
def test_a_request_with_a_hostile_name_is_an_error_in_its_place(name: Any, root: Path, bank: AdapterBank) -> None:
    with heard(root):
        answers = bank.predict([Request("sound", "Ada"), {"adapter": name, "inputs": "Ada"}, Request("sound", "Rome")])
    assert ["error" in answer for answer in answers] == [False, True, False]


# pickles --------------------------------------------------------------------------------------------------------------


def zipped(data: bytes, name: str) -> bytes:
    """As torch.save writes it since 1.6."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{name}/data.pkl", data)
        archive.writestr(f"{name}/version", "3\n")
    return out.getvalue()


def tarred(data: bytes) -> bytes:
    """As torch.save wrote it before 0.1.10."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pickles(marker: Path) -> list[tuple[str, bytes]]:
    """Twenty: where each lies in the folder, and its bytes."""
    plain = [payload(marker, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    beside = [
        "adapter_model.bin",
        "pytorch_model.bin",
        "training_args.bin",
        "optimizer.pt",
        "head.pth",
        "x.pkl",
        "x.PICKLE",
        "more/deep/x.ckpt",
        "x.joblib",
        "x.npy",
        "x.npz",
    ]
    made = [(name, plain[number % len(plain)]) for number, name in enumerate(beside)]
    made += [(WEIGHTS, data) for data in plain[2:4]]
    made += [
        (WEIGHTS, zipped(plain[2], "archive")),
        (WEIGHTS, tarred(plain[2])),
        (CONFIG, plain[0]),
        (CONFIG, plain[4]),
    ]
    return [*made, (CARD, plain[2]), (CARD, plain[0]), ("adapter_model.bin", zipped(plain[2], "archive"))]


@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("card", ["kept", "resealed", "none"])
def test_no_pickle_runs(number: int, card: str, root: Path, rootless: AdapterBank, tmp_path: Path) -> None:
    made = pickles(tmp_path / "it-ran")
    assert len(made) == 20
    name, data = made[number]
    folder = tmp_path / "it"
    shutil.copytree(root / "sound", folder)
    if card == "none":
        (folder / CARD).unlink()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    if card == "resealed" and name != CARD:
        reseal(folder)
    # Trainer leaves pickles beside an adapter without a card: they are named, and stay unread.
    beside = card == "none" and name not in (WEIGHTS, CONFIG, CARD)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        accepted = trials.accepts(rootless, folder, labels=LABELS if card == "none" else None)
    assert accepted == beside
    assert not beside or any("never read" in str(one.message) and name in str(one.message) for one in warned)
    assert not (tmp_path / "it-ran").exists()
    pickle.loads(payload(tmp_path / "it-ran")).close()
    assert (tmp_path / "it-ran").exists(), "the payload would have worked"
