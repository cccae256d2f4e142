"""The wheel carries all that a clone has: built from a copy of the tree, installed elsewhere, and used there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY

PARTS = ("adapters", "prompts", "accelerate_configs", "pyproject.toml", "README.md", "LICENSE")

# The build's own environment, and setuptools in it, come from PyPI.
pytestmark = [pytest.mark.slow, pytest.mark.network]


def checked(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end, which must be a good one; returns its output."""
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its build folder in the tree it builds."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tree / name)
    checked(sys.executable, "-m", "build", "--wheel", "--outdir", out, tree, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`elsewhere("-m", "adapters", …)`: run Python in an empty folder, with the installed wheel before all else."""
    site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    checked(sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", site, wheel, cwd=empty)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}

    def run(*words: str | Path) -> str:
        return checked(sys.executable, *words, cwd=empty, environment=environment)

    imported = Path(run("-c", "import adapters; print(adapters.__file__)").strip())
    assert imported == site / "adapters" / "__init__.py", "the wheel's copy is what these tests import"
    return run


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = REPOSITORY / "adapters"
    files = [path for path in ours.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    tracked = {f"adapters/{path.relative_to(ours)}" for path in files}
    for folder in ("prompts", "accelerate_configs"):
        tracked |= {f"adapters/{folder}/{path.name}" for path in (REPOSITORY / folder).iterdir() if path.is_file()}
    assert len(tracked) > 200
    assert held == tracked


def test_the_wheel_bears_its_name_version_and_licence(wheel):
    import adapters

    assert wheel.name == f"taskswap-{adapters.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    for name in ("test", "dev"):
        assert f"Provides-Extra: {name}\n" in text


def test_an_installed_wheel_lists_the_same_prompts_as_the_clone(elsewhere):
    listed = [line.split()[0] for line in elsewhere("-m", "adapters", "prompts").splitlines()]
    assert listed == sorted(path.stem for path in (REPOSITORY / "prompts").glob("*.toml"))
    assert len(listed) >= 1


def test_an_installed_wheel_finds_its_methods_tasks_metrics_and_readers(elsewhere):
    from adapters.core import discovery

    code = (
        "import json; from adapters.core import discovery as d; print(json.dumps({f: d.names(f) for f in d.FOLDERS}))"
    )
    assert json.loads(elsewhere("-c", code)) == {folder: discovery.names(folder) for folder in discovery.FOLDERS}


def test_an_installed_wheel_knows_the_aliases_and_the_accelerate_configs(elsewhere):
    code = (
        "from adapters.core import files; from adapters.core.sources.resolve import ALIASES; print(ALIASES.is_file(), "
        "len(list(files.packaged('accelerate_configs').glob('*.yaml'))), files.packaged('prompts'))"
    )
    known, configs, prompts = elsewhere("-c", code).split()
    assert known == "True"
    assert int(configs) == len(list((REPOSITORY / "accelerate_configs").glob("*.yaml"))) >= 2
    assert not Path(prompts).is_relative_to(REPOSITORY)


def test_an_installed_wheel_answers_with_an_artifact(elsewhere, run_recipe, tmp_path):
    assert run_recipe("full_ner", "--max_train_steps", "2") == 0
    text = "Ada Lovelace lived in London."
    answer = json.loads(elsewhere("-m", "adapters", "predict", tmp_path / "run" / "artifact", text, "--json"))
    assert answer["task"] == "ner"
    assert answer["output"]["text"] == text
    from adapters.artifacts import loading

    (ours,) = loading.load(tmp_path / "run" / "artifact").answer([text])
    assert answer["output"]["tags"] == ours["output"]["tags"]
