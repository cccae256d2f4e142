"""Rules 1 and 3 of the house: imports go down, and the evaluator knows only a predictor."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import house
import pytest

# A folder stands for its `__init__` and its files. "adapters" is the package's own `__init__`, which holds the version.
LAYERS = (
    (
        "adapters",
        "errors",
        "files",
        "discovery",
        "progress",
        "processes",
        "launching",
        "dropout",
        "stopping",
        "history",
    ),
    (
        "sources",
        "wheels",
        "hub",
        "conversion",
        "data",
        "store",
        "metrics",
        "labels",
        "entity_answers",
        "label_words",
        "words",
        "alignment",
        "layers",
        "settings",
        "flags",
        "memory",
        "precision",
        "attention",
        "quantization",
        "sharding",
        "low_rank_layer",
        "probabilities",
        "turns",
        "tracking",
        "compiling",
        "run_folder",
        "constraint",
        "class_names",
        "corpus_metric",
    ),
    (
        "annotation",
        "labelled_texts",
        "text_rows",
        "tasks",
        "row_task",
        "text_task",
        "batching",
        "generation",
        "requests",
        "changes",
    ),
    (
        "model",
        "artifact",
        "splits",
        "inference",
        "optimization",
        "training",
        "training_state",
        "windows",
        "checkpoint",
        "estimate",
        "pools",
        "mixed",
        "mixed_layers",
        "heads",
        "embedding",
        "writing",
        "mixed_inference",
    ),
    ("methods", "low_rank", "prompting"),
    ("evaluation", "statistics", "predictor", "report", "peft_folder", "staging", "residency", "bank"),
    (
        "records",
        "curve",
        "comparison",
        "swapping",
        "run",
        "lab",
        "predicting",
        "previewing",
        "inspection",
        "merging",
        "merge_command",
        "recipe",
        "server",
        "client",
        "__main__",
    ),
)
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def climbing(modules: Mapping[str, house.Module]) -> list[str]:
    """Each import that goes up, or sideways into a file of a folder, as `file:line` with what it imports."""
    found = []
    for module in modules.values():
        own = module.place
        for target, node in house.imports(module, modules):
            wanted = modules[target].place
            if LAYER_OF[wanted] > LAYER_OF[own]:
                found.append(
                    f"{module.at(node)}: {module.name} (layer {LAYER_OF[own]}) imports {target} "
                    f"(layer {LAYER_OF[wanted]}): imports go down"
                )
            elif modules[target].folder and target != modules[target].folder and target != module.name:
                found.append(
                    f"{module.at(node)}: {module.name} imports {target}: of a folder only {wanted}/__init__.py may be "
                    "imported, its files are found by their names"
                )
    return found


def cycles(modules: Mapping[str, house.Module]) -> list[str]:
    """Each ring of imports, once, with the place of every import in it."""
    edges = {
        name: {target: module.at(node) for target, node in house.imports(module, modules) if target != name}
        for name, module in modules.items()
    }
    found: dict[frozenset[str], str] = {}

    def follow(path: list[str]) -> None:
        for target in edges[path[-1]]:
            if target in path:
                ring = path[path.index(target) :]
                steps = zip(ring, [*ring[1:], ring[0]], strict=True)
                found.setdefault(frozenset(ring), ", ".join(f"{edges[a][b]}: {a} imports {b}" for a, b in steps))
            elif target not in done:
                follow([*path, target])
        done.add(path[-1])

    done: set[str] = set()
    for name in edges:
        if name not in done:
            follow([name])
    return sorted(found.values())


def test_every_file_of_the_package_has_a_layer():
    modules = house.modules()
    assert len(modules) > 30
    assert {module.path for module in modules.values()} == set(house.PACKAGE.rglob("*.py"))
    without = {module.place for module in modules.values()} - set(LAYER_OF)
    assert not without, f"give {sorted(without)} a place in LAYERS, and in the picture of README"
    gone = set(LAYER_OF) - {module.place for module in modules.values()}
    assert not gone, f"{sorted(gone)} stand in LAYERS but not in adapters/"


def test_imports_go_down():
    modules = house.modules()
    looked_at = sum(1 for module in modules.values() for _ in house.imports(module, modules))
    assert looked_at > 100
    assert not climbing(modules), "\n".join(climbing(modules))


def test_imports_form_no_ring():
    modules = house.modules()
    assert not cycles(modules), "\n".join(cycles(modules))


def test_the_evaluator_knows_no_method():
    modules = house.modules()
    reached, waiting = set(), ["evaluation", "statistics", "metrics"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [target for target, _ in house.imports(modules[name], modules)]
    assert {"inference", "tasks"} <= reached
    assert not {name for name in reached if name.partition(".")[0] == "methods"}


def test_the_evaluator_asks_a_predictor_for_nothing_but_predictions():
    asked = {
        node.attr
        for node in ast.walk(house.modules()["evaluation"].tree)
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
        ("errors.py", "import json\nfrom adapters.recipe import start\n", "errors.py:2: errors (layer 0)"),
        ("errors.py", "from adapters import recipe\n", "imports recipe (layer 6)"),
        ("errors.py", "import adapters.recipe as r\n", "imports recipe (layer 6)"),
        ("errors.py", "from . import recipe\n", "imports recipe (layer 6)"),
        ("errors.py", "def f():\n    from adapters.recipe import start\n", "errors.py:2"),
        ("errors.py", "if TYPE_CHECKING:\n    from adapters.recipe import start\n", "errors.py:2"),
        ("errors.py", "import importlib\nimportlib.import_module('adapters.recipe')\n", "errors.py:2"),
        ("tasks/ner.py", "from adapters.recipe import start\n", "adapters/tasks/ner.py:1: tasks.ner (layer 2)"),
        ("tasks/ner.py", "from adapters.tasks import other\n", "of a folder only tasks/__init__.py"),
        ("tasks/ner.py", "from .other import Task\n", "of a folder only tasks/__init__.py"),
        ("recipe.py", "from adapters.tasks.other import Task\n", "of a folder only tasks/__init__.py"),
    ],
)  # fmt: skip
def test_a_climbing_import_is_found_and_named(tmp_path, file, text, told):
    around = {"__init__.py": "", "errors.py": "", "recipe.py": "", "tasks/__init__.py": "", "tasks/other.py": ""}
    found = climbing(written_package(tmp_path, {**around, file: text}))
    assert len(found) == 1
    assert told in found[0]


def test_imports_that_go_down_or_to_the_own_folder_are_let_pass(tmp_path):
    files = {
        "__init__.py": "",
        "errors.py": "",
        "recipe.py": "from adapters import tasks\nfrom adapters.tasks import Task\nimport adapters.errors\n",
        "tasks/__init__.py": "from adapters.errors import Faults\n",
        "tasks/ner.py": "from adapters import tasks\nfrom adapters.tasks import Task\n",
    }
    modules = written_package(tmp_path, files)
    assert not climbing(modules)
    assert not cycles(modules)


def test_a_ring_of_imports_is_found_and_named(tmp_path):
    files = {
        "__init__.py": "",
        "model.py": "from adapters import training\n",
        "training.py": "def f():\n    from adapters.inference import p\n",
        "inference.py": "if TYPE_CHECKING:\n    from adapters.model import Base\n",
    }
    (ring,) = cycles(written_package(tmp_path, files))
    assert "adapters/model.py:1: model imports training" in ring
    assert "adapters/training.py:2: training imports inference" in ring
    assert "adapters/inference.py:2: inference imports model" in ring
