"""Rules 1 and 3 of the house: imports follow the table, and the evaluator knows only a predictor."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import house
import pytest

# What a package may import besides itself. docs/architecture.md shows the same table.
MAY_IMPORT = {
    "core": "",
    "data": "core",
    "models": "core data",
    "tasks": "core data models",
    "evaluation": "core data tasks",
    "prompting": "core models tasks",
    "training": "core data models tasks",
    "methods": "core models tasks prompting",
    "artifacts": "core data models tasks prompting evaluation methods",
    "serving": "core models tasks methods artifacts",
    "experiments": "core data models tasks evaluation prompting training methods artifacts serving",
    "applications": "core data models tasks evaluation prompting training methods artifacts serving experiments",
    "cli": "core data models tasks evaluation prompting training methods artifacts serving experiments applications "
    "recipe",
    # The three files beside the packages. "adapters" is the public interface, which holds the version.
    "adapters": "core tasks artifacts serving experiments",
    "recipe": "core experiments",
    "__main__": "cli",
}
VERSION = "adapters"  # every package may read the version


def owner(module: house.Module) -> str:
    """The package of a file, or the name of a file that stands beside the packages."""
    return module.package or module.name


def against_the_table(modules: Mapping[str, house.Module]) -> list[str]:
    """Each import that the table does not allow, as `file:line` with what it imports."""
    found = []
    for module in modules.values():
        own = owner(module)
        for target, node in house.imports(module, modules):
            wanted = owner(modules[target])
            if wanted not in {own, VERSION, *MAY_IMPORT[own].split()}:
                allowed = MAY_IMPORT[own].replace(" ", ", ") or "nothing"
                found.append(f"{module.at(node)}: imports {target}; {own} may import {allowed}")
    return found


def cycles(modules: Mapping[str, house.Module]) -> list[str]:
    """Each ring of imports between files, once, with the place of every import in it."""
    edges = {
        name: {
            target: module.at(node)
            for target, node in house.imports(module, modules)
            if target not in (name, VERSION)  # the public interface names what it imports lazily
        }
        for name, module in modules.items()
    }
    found: dict[frozenset[str], str] = {}
    done: set[str] = set()

    def follow(path: list[str]) -> None:
        for target in edges[path[-1]]:
            if target in path:
                ring = path[path.index(target) :]
                steps = zip(ring, [*ring[1:], ring[0]], strict=True)
                found.setdefault(frozenset(ring), ", ".join(f"{edges[a][b]}: {a} imports {b}" for a, b in steps))
            elif target not in done:
                follow([*path, target])
        done.add(path[-1])

    for name in edges:
        if name not in done:
            follow([name])
    return sorted(found.values())


def test_the_table_names_every_package_and_no_other():
    modules = house.modules()
    assert len(modules) > 150
    assert {module.path for module in modules.values()} == set(house.PACKAGE.rglob("*.py"))
    assert {owner(module) for module in modules.values()} == set(MAY_IMPORT)
    assert {path.name for path in house.PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "recipe.py"}


def test_the_documentation_shows_the_same_table():
    text = (house.REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `/") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.count("|") >= 4]
    shown = {row[0]: row[-1] for row in rows}
    lower: list[str] = []
    for package in list(MAY_IMPORT)[:13]:
        written = shown[package].replace("–", "").replace(",", " ").split()
        if written[:2] == ["all", "above"] or written == ["all"]:
            written = [*lower, *(["recipe"] if package == "cli" else [])]
        assert set(written) == set(MAY_IMPORT[package].split()), package
        lower.append(package)


def test_imports_follow_the_table():
    modules = house.modules()
    assert sum(1 for module in modules.values() for _ in house.imports(module, modules)) > 500
    assert not against_the_table(modules), "\n".join(against_the_table(modules))


def test_imports_form_no_ring():
    modules = house.modules()
    assert not cycles(modules), "\n".join(cycles(modules))


def test_what_experiments_share_knows_none_of_them():
    modules = house.modules()
    shared = [module for name, module in modules.items() if name.startswith("experiments.many_runs.")]
    assert len(shared) > 10
    of_one = tuple(f"experiments.{name}." for name in ("comparison", "continual", "prompt_lab"))
    found = [
        module.at(node)
        for module in shared
        for target, node in house.imports(module, modules)
        if target.startswith(of_one)
    ]
    assert not found, found


def test_the_evaluator_knows_no_method():
    modules = house.modules()
    reached, waiting = set(), ["evaluation.evaluate", "evaluation.significance", "evaluation.metrics.base.metric"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [target for target, _ in house.imports(modules[name], modules) if target != VERSION]
    assert {"tasks.base.predictor", "tasks.base.task"} <= reached
    assert not {name for name in reached if modules[name].package in ("methods", "prompting", "training", "artifacts")}


def test_the_evaluator_asks_a_predictor_for_nothing_but_predictions():
    asked = {
        node.attr
        for node in ast.walk(house.modules()["evaluation.evaluate"].tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "predictor"
    }
    assert asked == {"predict"}


def written_package(folder: Path, files: Mapping[str, str]) -> Mapping[str, house.Module]:
    """A made-up package of the given files."""
    for name, text in files.items():
        path = folder / "adapters" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.modules(folder / "adapters")


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("core/a.py", "import json\nfrom adapters.recipe import start\n", "core/a.py:2: imports recipe"),
        ("core/a.py", "from adapters import recipe\n", "core/a.py:1: imports recipe"),
        ("core/a.py", "import adapters.tasks.ner as r\n", "imports tasks.ner; core may import nothing"),
        ("core/a.py", "from .. import recipe\n", "imports recipe"),
        ("core/a.py", "def f():\n    from adapters.tasks.ner import Task\n", "core/a.py:2: imports tasks.ner"),
        ("core/a.py", "if TYPE_CHECKING:\n    from adapters.tasks.ner import Task\n", "core/a.py:2"),
        ("core/a.py", "import importlib\nimportlib.import_module('adapters.recipe')\n", "core/a.py:2"),
        ("tasks/ner.py", "from adapters.recipe import start\n", "adapters/tasks/ner.py:1: imports recipe"),
        ("evaluation/a.py", "from adapters.training.t import T\n", "evaluation may import core, data, tasks"),
        ("training/t.py", "from ..methods.lora import L\n", "adapters/training/t.py:1: imports methods.lora"),
    ],
)  # fmt: skip
def test_an_import_against_the_table_is_found_and_named(tmp_path, file, text, told):
    around = dict.fromkeys(
        ("__init__.py", "core/a.py", "recipe.py", "tasks/ner.py", "training/t.py", "methods/lora.py"), ""
    )
    found = against_the_table(written_package(tmp_path, {**around, file: text}))
    assert len(found) == 1
    assert told in found[0]


def test_imports_that_the_table_allows_are_let_pass(tmp_path):
    files = {
        "__init__.py": "_PUBLIC = {}\n__version__ = '1'\n",
        "core/errors.py": "from adapters import __version__\n",
        "recipe.py": "from adapters.core.errors import E\n",
        "tasks/base/task.py": "from adapters.core.errors import E\n",
        "tasks/ner.py": "from adapters.tasks.base.task import Task\nfrom .base import task\n",
    }
    modules = written_package(tmp_path, files)
    assert not against_the_table(modules)
    assert not cycles(modules)


def test_a_ring_of_imports_is_found_and_named(tmp_path):
    files = {
        "__init__.py": "",
        "tasks/a.py": "from adapters.tasks import b\n",
        "tasks/b.py": "def f():\n    from adapters.tasks.c import p\n",
        "tasks/c.py": "if TYPE_CHECKING:\n    from adapters.tasks.a import B\n",
    }
    (ring,) = cycles(written_package(tmp_path, files))
    assert "adapters/tasks/a.py:1: tasks.a imports tasks.b" in ring
    assert "adapters/tasks/b.py:2: tasks.b imports tasks.c" in ring
    assert "adapters/tasks/c.py:2: tasks.c imports tasks.a" in ring
