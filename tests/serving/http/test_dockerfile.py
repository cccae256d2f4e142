"""The Dockerfile, which nothing builds here: linted, and checked against the requirements of a server's image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY

from adapters.serving.http.settings import Settings

FILE = REPOSITORY / "docs" / "deploy" / "Dockerfile"
SECRET = re.compile(r"token|password|secret|key", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of each line that is no comment."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert not [line for line in lines if line.endswith("\\")], "one instruction a line"
    split = [line.partition(" ") for line in lines]
    return [(name, rest) for name, _, rest in split]


def of(name: str) -> list[str]:
    """The arguments of each instruction of a name."""
    return [rest for found, rest in instructions() if found == name]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (its wheels are Linux's)")
def test_hadolint_finds_nothing() -> None:
    ended = subprocess.run(["hadolint", str(FILE)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout


def test_base_images_are_pinned_by_a_version_and_what_is_copied_exists() -> None:
    assert len(of("FROM")) == 2
    assert all(re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", image) for image in of("FROM"))
    copied = [words.split()[:-1] for words in of("COPY") if not words.startswith("--from")]
    assert len(copied) >= 4
    for path in (path for paths in copied for path in paths):
        assert (REPOSITORY / path).exists(), path


def test_it_runs_as_nobody_special_and_holds_no_secret() -> None:
    (user,) = of("USER")
    assert user.isdigit() and int(user) >= 1000
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT") and "ADD" not in names and "ARG" not in names
    assert not [line for line in of("ENV") if SECRET.search(line)]


def test_its_command_is_one_that_serve_takes() -> None:
    command = json.loads(of("ENTRYPOINT")[0])
    assert command[:4] == ["python", "-m", "adapters", "serve"]
    flags = [word.removeprefix("--") for word in command if word.startswith("--")]
    assert flags == ["host", "adapter_root"]
    assert set(flags) <= set(Settings.__dataclass_fields__)
    assert of("EXPOSE") == [str(Settings().port)]
