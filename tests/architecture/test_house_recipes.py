"""Rule 5 of the house: a recipe reads in one breath."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from itertools import combinations
from pathlib import Path

import house
import pytest

from adapters.core import discovery

RECIPES = sorted((house.REPOSITORY / "recipes").glob("*.py"))
VERBS = ["read_task", "build_method", "fit", "evaluate", "save_and_print"]
LINES = 60


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def started(tree: ast.Module) -> dict[str, str]:
    """The constant arguments of the recipe's call of `start`."""
    (call,) = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and house.dotted(n.func) == "start"]
    return {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}


def trains(path: Path) -> bool:
    """Whether a recipe is a training recipe: `<method>_<task>.py`, which calls the five verbs."""
    return path.stem.partition("_")[0] in discovery.names("methods")


def shape(path: Path) -> str:
    """A training recipe without what two recipes of one task may differ in: docstring, defaults, the method's name."""
    tree = parsed(path)
    tree.body = tree.body[1:]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and house.dotted(node.targets[0]) == "DEFAULTS":
            node.value = ast.Dict([], [])
        if isinstance(node, ast.keyword) and node.arg == "method":
            node.value = ast.Constant("")
    return ast.unparse(tree)


TRAINING = [path for path in RECIPES if trains(path)]


def test_the_recipes_are_found():
    assert len(RECIPES) >= 2
    assert {"full_ner", "lora_ner"} <= {path.stem for path in TRAINING}
    assert not [path for path in (house.REPOSITORY / "recipes").iterdir() if path.is_dir() and path.name[0] not in "_."]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_in_one_breath(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_tells_its_command_and_the_score_to_expect(path):
    text = ast.get_docstring(parsed(path)) or ""
    assert re.search(rf"accelerate launch recipes/{path.name}( --\w+ \S+)*\n", text), text
    expected = re.search(r"(?:Expect|Not measured yet) [^.]*?(\d+(\.\d+)?)", text)
    assert expected, text
    assert 0 < float(expected[1]) <= 100


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipes_first_import_is_a_module_that_the_other_adapters_package_lacks(path):
    imports = [node for node in parsed(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [n for n in imports if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("adapters")]
    assert ours and ours[0].module == "adapters.recipe"
    others = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    others |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)} - {"adapters.recipe"}
    assert {name.partition(".")[0] for name in others} <= set(sys.stdlib_module_names) | {"adapters"}


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_a_training_recipe_calls_the_five_verbs_in_order(path):
    tree = parsed(path)
    asked = sorted(
        (node.lineno, node.func.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and house.dotted(node.func.value) == "run"
    )
    assert [name for _, name in asked] == VERBS
    given = started(tree)
    assert path.stem.startswith(f"{given['method']}_")
    assert given["task"].startswith(path.stem.removeprefix(f"{given['method']}_"))  # relation of relation_extraction


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_a_training_recipe_writes_into_a_folder_of_its_name(path):
    (defaults,) = [
        ast.literal_eval(node.value)
        for node in parsed(path).body
        if isinstance(node, ast.Assign) and house.dotted(node.targets[0]) == "DEFAULTS"
    ]
    assert defaults["output_dir"] == f"runs/{path.stem}"


def test_training_recipes_of_one_task_differ_only_in_docstring_defaults_and_method():
    pairs = [(a, b) for a, b in combinations(TRAINING, 2) if started(parsed(a))["task"] == started(parsed(b))["task"]]
    assert len(pairs) >= 1
    for one, other in pairs:
        assert shape(one) == shape(other), f"{one.name} and {other.name} differ"


def test_a_difference_between_recipes_is_seen(tmp_path):
    text = TRAINING[0].read_text()
    for name, changed in (
        ("same_ner.py", text.replace('DEFAULTS = {"output_dir"', 'DEFAULTS = {"seed": 1, "output_dir"')),
        ("more_ner.py", text.replace("    main()", "    print(1)\n    main()")),
    ):
        assert changed != text
        (tmp_path / name).write_text(changed)
    assert shape(tmp_path / "same_ner.py") == shape(TRAINING[0])
    assert shape(tmp_path / "more_ner.py") != shape(TRAINING[0])


def test_no_recipe_hides_a_library():
    libraries = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    libraries |= {"datasets", "evaluate", "peft", "tokenizers", "lm_eval", "wandb", "ray", "fastapi"}
    assert len(libraries) > 250 and {"torch", "transformers", "accelerate"} <= libraries
    assert not {path.stem for path in RECIPES} & libraries
