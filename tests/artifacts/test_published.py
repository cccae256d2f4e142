"""A folder of versions: `current.json` names one of them, below its own folder and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.artifacts.published import CURRENT, located
from adapters.core.errors import ArtifactError
from adapters.core.files import write_json


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two versions, of which the second is current."""
    for number in (1, 2):
        (tmp_path / "ner" / "versions" / f"{number:04}").mkdir(parents=True)
    write_json(tmp_path / "ner" / CURRENT, {"version": 2, "folder": "versions/0002"})
    return tmp_path / "ner"


def test_the_named_version_is_found_and_the_next_one_once_it_is_named(published: Path) -> None:
    assert located(published) == published / "versions" / "0002"
    write_json(published / CURRENT, {"version": 1, "folder": "versions/0001"})
    assert located(published) == published / "versions" / "0001"


def test_a_folder_without_the_file_is_itself_however_it_was_given(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published)
    assert located(Path("versions/0001")) == Path("versions/0001")
    assert located(Path("nowhere")) == Path("nowhere")


def test_links_are_followed_wherever_they_are_in_the_path(published: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(published / "versions" / "0001")
    (tmp_path / "above").symlink_to(published)
    assert located(tmp_path / "link") == published / "versions" / "0001"
    assert located(tmp_path / "above") == published / "versions" / "0002"
    assert located(tmp_path / "above" / "versions" / "0001") == published / "versions" / "0001"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("../other", "leads outside"),
        (".", "leads outside"),
        ("", "leads outside"),
        ("/etc", "leads outside"),
        ("versions/../..", "leads outside"),
        ("out", "leads outside"),
        ("versions/0009", "there is no such folder"),
        (CURRENT, "there is no such folder"),
        ("a\x00b", "not a valid folder name"),
        (7, "must be"),
    ],
)
def test_it_leads_nowhere_else(published: Path, tmp_path: Path, named: Any, message: str) -> None:
    (tmp_path / "other").mkdir()
    (published / "out").symlink_to(tmp_path / "other")
    (published / CURRENT).write_text(json.dumps({"format": 1, "version": 1, "folder": named}))
    with pytest.raises(ArtifactError, match=message):
        located(published)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[]",
        b'{"format": 2, "version": 1, "folder": "versions/0001"}',
        b'{"format": 1, "folder": "versions/0001"}',
        b'{"format": 1, "version": true, "folder": "versions/0001"}',
        b'{"format": 1, "version": 0, "folder": "versions/0001"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_pointer_is_refused_in_words(published: Path, content: bytes) -> None:
    (published / CURRENT).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{os.sep}{CURRENT}: "):
        located(published)
