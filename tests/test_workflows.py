"""The workflows of GitHub Actions: they parse, run what there is, and keep no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_files_and_extras_that_there_are(path: Path) -> None:
    extras = re.findall(r"^(\w+) = \[", (REPOSITORY / "pyproject.toml").read_text(), re.M)
    found = steps(path)
    assert found and all("uses" in step or "run" in step for step in found)
    commands = " ".join(step.get("run", "") for step in found)
    for file in re.findall(r"\.ci/\w+(?:\.py)?", commands):
        assert (REPOSITORY / file).is_file(), file
    for extra in re.findall(r"\.\[(\w+)\]", commands):
        assert extra in extras
    assert "secrets." not in path.read_text(), "trusted publishing needs none"


def test_a_release_is_built_from_a_tag_tested_and_published_with_no_more_rights_than_that() -> None:
    release = yaml.safe_load((FOLDER / "release.yml").read_text())
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key `on` as true
    jobs = release["jobs"]
    assert jobs["publish"]["needs"] == "build" and jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and "permissions" not in jobs["build"]
    assert release["permissions"] == {"contents": "read"}
    tests = yaml.safe_load((FOLDER / "tests.yml").read_text())
    assert any(step.get("run") == ".ci/run" for step in tests["jobs"]["tests"]["steps"])
    assert tests["jobs"]["tests"]["timeout-minutes"] == 90
