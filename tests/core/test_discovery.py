"""A file in a folder is a name; a plugin is a file in a folder of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from adapters.core import discovery
from adapters.core.errors import SettingsError

ROOT = REPOSITORY


def plugin(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("folder", discovery.FOLDERS)
def test_the_names_are_the_files_in_the_folder(folder: str) -> None:
    found = discovery.names(folder)
    assert found and found == sorted(found)
    assert set(found) == {
        path.stem for path in (ROOT / "adapters" / discovery.FOLDERS[folder]).iterdir() if path.suffix == ".py"
    } - {"__init__"}
    for name in found:
        assert discovery.load(folder, name).__name__ == f"adapters.{discovery.FOLDERS[folder].replace('/', '.')}.{name}"


def test_a_plugin_adds_a_name_and_a_file_with_an_underscore_none(tmp_path: Path) -> None:
    plugin(tmp_path, "evaluation/metrics/mine.py", "VALUE = 1")
    plugin(tmp_path, "evaluation/metrics/_part.py", "raise SystemExit")
    plugin(tmp_path, "evaluation/metrics/notes.txt", "")
    before = discovery.names("metrics")
    assert discovery.names("metrics", [str(tmp_path)]) == sorted([*before, "mine"])
    assert discovery.names("tasks", [str(tmp_path)]) == discovery.names("tasks")
    module = discovery.load("metrics", "mine", [str(tmp_path)])
    assert module.VALUE == 1
    assert discovery.load("metrics", "mine", [str(tmp_path)]) is module


def test_listing_names_runs_no_plugin(tmp_path: Path) -> None:
    plugin(tmp_path, "tasks/loud.py", "raise SystemExit('was run')")
    assert "loud" in discovery.names("tasks", [str(tmp_path)])
    discovery.load("tasks", "ner", [str(tmp_path)])


def test_our_own_file_wins_over_a_plugin_and_the_first_plugin_over_the_second(tmp_path: Path) -> None:
    plugin(tmp_path / "a", "tasks/ner.py", "raise SystemExit('was run')")
    assert discovery.load("tasks", "ner", [str(tmp_path / "a")]).__name__ == "adapters.tasks.ner"
    for folder in "bc":
        plugin(tmp_path / folder, "tasks/twice.py", f"VALUE = {folder!r}")
    b, c = str(tmp_path / "b"), str(tmp_path / "c")
    assert discovery.load("tasks", "twice", [b, c]).VALUE == "b"
    assert discovery.load("tasks", "twice", [c, b]).VALUE == "c"


def test_a_plugin_that_fails_fails_each_time(tmp_path: Path) -> None:
    path = plugin(tmp_path, "tasks/broken.py", "VALUE = 1\nraise ValueError('not yet')")
    for _ in range(2):
        with pytest.raises(ValueError, match="not yet"):
            discovery.load("tasks", "broken", [str(tmp_path)])
    path.write_text("VALUE = 1234567")
    assert discovery.load("tasks", "broken", [str(tmp_path)]).VALUE == 1234567


@pytest.mark.parametrize("name", ["", ".", "../errors", "ner.py", "__init__", "_files", "a b", "metrics.ner"])
def test_a_name_that_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="No task is called"):
        discovery.load("tasks", name)


@pytest.mark.parametrize(
    "folder, name, message",
    [
        ("tasks", "nre", "No task is called 'nre': did you mean 'ner'?"),
        ("metrics", "xxxxx", "No metric is called 'xxxxx': known: accuracy, "),
        ("methods", "lorra", "No method is called 'lorra': did you mean 'lora'"),
        ("readers", "jsnl", "No reader is called 'jsnl': did you mean 'jsonl'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(folder: str, name: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        discovery.load(folder, name)
    assert str(raised.value).startswith(message)


def test_a_plugins_name_is_among_those_that_are_near(tmp_path: Path) -> None:
    plugin(tmp_path, "tasks/sentiment.py", "")
    with pytest.raises(SettingsError, match="did you mean 'sentiment'"):
        discovery.load("tasks", "sentimnet", [str(tmp_path)])


def test_a_plugin_folder_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--plugin_dir .*nowhere: no such folder"):
        discovery.names("tasks", [str(tmp_path / "nowhere")])


def test_our_files_are_our_own_behind_a_symbolic_link_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    code = "from adapters.core import discovery; print(discovery.load('readers', 'csv').__name__, discovery.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "link")},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["adapters.data.readers.csv", f"{tmp_path}/link/adapters/core/discovery.py"]
