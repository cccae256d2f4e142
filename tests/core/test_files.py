"""Files and folders that are complete or absent, whatever ends the process; digests that mean equality."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core import files
from adapters.core.files import (
    canonical_json,
    digest_file,
    digest_value,
    json_line,
    new_folder,
    read_json,
    read_sealed,
    recover_folder,
    write_json,
    write_sealed,
    write_text,
)

ROOT = REPOSITORY
SEALED = """\
{
 "format": 1,
 "base": {
  "name": "caf\\u00e9"
 },
 "rate": 1e-05,
 "digest": "7a45d49a0fa74c3746e5dea381a3e367399e4d7837c6982f2b10265f87851b55"
}
"""
"""What older versions have written of `CONTENT`."""
CONTENT = {"base": {"name": "café"}, "rate": 1e-05}


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def old_folder(target: Path) -> Path:
    target.mkdir()
    (target / "a").write_text("old")
    (target / "b").write_text("old")
    return target


# folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_appears_with_all_its_files_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "x"
    with new_folder(target) as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "a").write_text("new")
        assert not target.exists()
    assert tree(tmp_path) == {"runs/x/sub/a": "new"}
    assert os.listdir(target.parent) == ["x"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = old_folder(tmp_path / "x")
    with new_folder(target) as draft:
        (draft / "a").write_text("new")
        assert tree(target) == {"a": "old", "b": "old"}
    assert tree(tmp_path) == {"x/a": "new"}
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_nothing_and_the_old_folder_whole(
    tmp_path: Path, error: type[BaseException], there: bool
) -> None:
    target = old_folder(tmp_path / "x") if there else tmp_path / "x"
    with pytest.raises(error), new_folder(target) as draft:
        (draft / "a").write_text("half")
        raise error
    assert tree(tmp_path) == ({"x/a": "old", "x/b": "old"} if there else {})
    assert os.listdir(tmp_path) == (["x"] if there else [])


@pytest.mark.parametrize("step", ["rename", "flush"])
def test_a_disk_that_fails_at_the_last_step_leaves_the_old_folder_whole(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = old_folder(tmp_path / "x")
    real = Path.rename

    def rename(self: Path, to: Path) -> Path:
        if (self / "new").exists():
            raise OSError("the disk is gone")
        return real(self, to)

    def flush(path: Path) -> None:
        raise OSError("the disk is gone")

    if step == "rename":
        monkeypatch.setattr(Path, "rename", rename)
    else:
        monkeypatch.setattr(files, "_flush", flush)
    with pytest.raises(OSError, match="the disk is gone"), new_folder(target) as draft:
        (draft / "new").write_text("new")
    assert tree(tmp_path) == {"x/a": "old", "x/b": "old"}
    assert os.listdir(tmp_path) == ["x"]


KILL = "import os, sys; from pathlib import Path; from adapters.core import files; target = Path(sys.argv[1])\n"
FOLDER = KILL + (
    "with files.new_folder(target) as draft:\n    (draft / 'a').write_text('new'); os.kill(os.getpid(), 9)\n"
)
TEXT = KILL + ("os.fsync = lambda handle: os.kill(os.getpid(), 9)\nfiles.write_text(target, 'new' * 100_000)\n")


def killed(code: str, target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_kill_in_the_middle_leaves_no_half_folder(tmp_path: Path) -> None:
    killed(FOLDER, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    killed(FOLDER, old_folder(tmp_path / "y"))
    assert tree(tmp_path / "y") == {"a": "old", "b": "old"}


def test_a_kill_in_the_middle_leaves_no_half_file(tmp_path: Path) -> None:
    killed(TEXT, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    (tmp_path / "y").write_text("old")
    killed(TEXT, tmp_path / "y")
    assert (tmp_path / "y").read_text() == "old"


# files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a\nb\r\nc\r", "Zoë 東京 \U0001f600", "half \ud800 of a character", "\x00"])
def test_a_text_is_written_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "before")
    write_text(path, text)
    assert path.read_bytes() == text.encode("utf-8", "surrogatepass")
    assert os.listdir(path.parent) == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_disk_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(*given: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_text(path, "new")
    assert tree(tmp_path) == {"a.txt": "old"}


def test_a_text_cannot_replace_a_folder(tmp_path: Path) -> None:
    old_folder(tmp_path / "x")
    with pytest.raises(OSError):
        write_text(tmp_path / "x", "new")
    assert tree(tmp_path) == {"x/a": "old", "x/b": "old"}


def test_our_json_bears_its_format_and_no_number_that_json_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": "é\ud800", "a": [1, None]})
    assert json.loads(path.read_text()) == {"format": 1, "b": "é\ud800", "a": [1, None]}
    assert path.read_bytes().isascii() and path.read_bytes().endswith(b"}\n")
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["a"] == [1, None]


# digests --------------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=[]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return tuple(map(reversed_keys, value)) if isinstance(value, list) else value


@settings(max_examples=100, deadline=None)
@given(values)
def test_equal_values_have_one_text_and_it_says_all_of_them(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(reversed_keys(value)) == text
    assert text.isascii() and "\n" not in text
    assert digest_value(value) == hashlib.sha256(text.encode()).hexdigest()


def test_values_that_differ_have_different_digests() -> None:
    different: list[Any] = [["ab", "c"], ["a", "bc"], ["abc"], "abc", {"a": 1}, {"a": "1"}, {"a": 1.5}, [], {}, None]
    assert len({digest_value(value) for value in different}) == len(different)


def test_a_value_that_json_lacks_has_no_digest() -> None:
    with pytest.raises(ValueError):
        digest_value([float("inf")])


def test_a_file_with_its_own_digest_stays_as_older_versions_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_sealed(path, CONTENT)
    assert path.read_text() == SEALED
    assert read_sealed(path) == read_json(path) == {"format": 1, **CONTENT, "digest": json.loads(SEALED)["digest"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SEALED[:-3], "damaged, not JSON"),
        (SEALED.replace("1e-05", "NaN"), "damaged, not JSON"),
        ("[" * 100_000, "damaged, not JSON"),
        ("[1]", r"not a JSON object, but \[1\]"),
        (SEALED.replace(": 1,", ": 2,"), "expected format 1, found 2"),
        (SEALED.replace("1e-05", "1e-04"), "its own digest does not match: expected '"),
        (SEALED.replace("1e-05", "0.00001"), "its own digest does not match"),
        (SEALED.rstrip(), "its own digest does not match"),
    ],
)
def test_a_file_with_its_own_digest_that_was_changed_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_sealed(tmp_path / "record.json")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    assert digest_file(tmp_path / "a") == hashlib.sha256(b"x" * 300_000).hexdigest()


# places ---------------------------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    assert files.cache_folder("a", "b") == tmp_path / "cache" / "a" / "b"
    assert (tmp_path / "cache" / "a" / "b").is_dir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKSWAP_CACHE", "here")
    assert files.cache_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TASKSWAP_CACHE", "~/c")
    assert files.cache_folder() == tmp_path / "home" / "c"


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKSWAP_CACHE", "")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert files.cache_folder("x") == tmp_path / "taskswap" / "x"


@pytest.mark.parametrize("name, ending", [("prompts", "toml"), ("accelerate_configs", "yaml")])
def test_packaged_folders_are_found_and_hold_files(name: str, ending: str) -> None:
    assert list(files.packaged(name).glob(f"*.{ending}"))


@pytest.mark.parametrize("text", ["屏幕", "a\u2028b\u2029c\u0085d", "\ud800", "\x1c \x0b"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_json_line_is_one_line_that_can_be_written(text: str, encoding: str) -> None:
    line = json_line({"text": text}, encoding)
    assert line.encode(encoding) and len(line.splitlines()) == 1 and json.loads(line) == {"text": text}
    assert text != "屏幕" or encoding != "utf-8" or text in line


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_process_killed_while_it_replaces_a_folder_loses_nothing_for_good(renames: int, tmp_path: Path) -> None:
    """The old one is moved aside, and the new one gets its name: between the two there is none of that name."""
    code = f"""
import os
from pathlib import Path
from adapters.core.files import new_folder
done, real = [], Path.rename
def rename(self, target):
    if len(done) == {renames}:
        os._exit(9)
    done.append(real(self, target))
Path.rename = rename
with new_folder(Path({str(tmp_path / "state")!r})) as draft:
    (draft / "a").write_text("new")
os._exit(9)
"""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a").write_text("old")
    (tmp_path / ".states.abcdefgh").mkdir()  # of another folder
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "state").is_dir() == (renames != 1)
    recover_folder(tmp_path / "state")
    assert (tmp_path / "state" / "a").read_text() == ("new" if renames == 2 else "old")
    assert {path.name for path in tmp_path.iterdir()} == {"state", ".states.abcdefgh"}
