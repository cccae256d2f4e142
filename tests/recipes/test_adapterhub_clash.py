"""AdapterHub's package is called `adapters` too. Where it hides this project, a recipe says so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

RECIPES = sorted((REPOSITORY / "recipes").glob("*.py"))
REMARK = "# missing? AdapterHub's package hides ours: pip uninstall adapters"


def imports(path: Path) -> str:
    """The lines by which a recipe imports this project."""
    return re.search(r"^from adapters\.recipe import (\([^)]*\)|.*).*$", path.read_text(), re.MULTILINE)[0]


ALIKE = {imports(path): path for path in RECIPES}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a package `adapters` that is not ours, as site-packages would hold it."""
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "__init__.py").write_text(
        '"""Adapter modules for transformers."""\n__version__ = "1.2.0"\n'
    )
    return tmp_path


def test_the_recipes_are_found():
    assert len(RECIPES) >= 2 and 3 <= len(ALIKE) <= 8


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_imports_nothing_else_of_this_project_and_says_what_hides_it(path):
    assert REMARK in imports(path)
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [node.module for node in top if isinstance(node, ast.ImportFrom)] == ["adapters.recipe"] and len(top) == 1


@pytest.mark.parametrize("path", ALIKE.values(), ids=lambda path: path.stem)
@pytest.mark.parametrize("flags", [(), ("--help",)], ids=["run", "help"])
def test_a_recipe_hidden_by_adapterhub_says_what_happened_and_what_to_do(path, flags, other):
    """Of those that import the same, one stands for all."""
    environment = {**os.environ, "PYTHONPATH": str(other)}
    ended = subprocess.run(
        [sys.executable, str(path), *flags], cwd=other, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    # Not found at all, or, in an editable install, found beside the other package and refused.
    assert "No module named 'adapters.recipe'" in ended.stderr or "ImportError: `adapters` is " in ended.stderr
    assert "AdapterHub" in ended.stderr
    assert "pip uninstall adapters" in ended.stderr
    assert "pip install -e ." in ended.stderr


def test_without_the_other_package_the_same_command_works(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(RECIPES[0]), "--help"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "AdapterHub" not in ended.stderr
