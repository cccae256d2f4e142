"""What no file may do, what no name may say, and that the data files can be read."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import house
import pytest

from adapters.core import discovery

# Words that a name of ours must not be made of: each says nothing about what is inside.
EMPTY_WORDS = frozenset({"utils", "util", "helper", "helpers", "manager", "handler", "engine", "misc", "common"})
# Loading with these can run code that the file holds; a name stands for itself and for what is below it.
PICKLING = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
SAFE_YAML = ("yaml.SafeLoader", "yaml.CSafeLoader", "yaml.BaseLoader")
LOADERS = (
    "torch.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "numpy.load",
    "np.load",
    "evaluate.load",
    "evaluate.loading.load",
)
# Metric scripts are code by nature: the user's own local ones, and those of the Hub only with --trust_remote_code.
TRUSTED = {"evaluation.metrics.base.hf_evaluate": ("evaluate.load",)}
HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "evaluate", "pyarrow", "sklearn", "scipy")


def dangerous(module: house.Module) -> Iterator[str]:
    """Each call or import that can run code out of a file."""
    safe = {
        id(node.func)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and any(k.arg == "Loader" and house.dotted(k.value) in SAFE_YAML for k in node.keywords)
    }
    for node in ast.walk(module.tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and id(node) not in safe:
            names = [house.dotted(node)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            yield f"{module.at(node)}: {node.func.id}"
        elif isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            yield from [] if refused else [f"{module.at(node.value)}: {node.arg}"]
        for name in names:
            if name in TRUSTED.get(module.name, ()):
                continue
            if name in LOADERS or any(name == bad or name.startswith(f"{bad}.") for bad in PICKLING):
                yield f"{module.at(node)}: {name}"


def test_names_say_what_is_inside():
    modules = house.modules()
    words = {name: set(name.replace(".", "_").lower().split("_")) for name in modules}
    assert not {name for name, parts in words.items() if parts & EMPTY_WORDS}


def test_nothing_is_loaded_that_can_run_code():
    modules = house.modules()
    assert len(modules) > 30
    found = [fault for module in modules.values() for fault in dangerous(module)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "import dill as d",
        "x = torch.load(path)",
        "x = yaml.load(text)",
        "x = evaluate.load(name)",
        "x = yaml.load(text, Loader=yaml.Loader)",
        "x = eval(text)",
        "exec(text)",
        "x = AutoModel.from_pretrained(name, trust_remote_code=True)",
        "x = AutoModel.from_pretrained(name, trust_remote_code=settings.trust)",
        "x = np.load(path, allow_pickle=True)",
    ],
)
def test_a_loader_that_can_run_code_is_found(tmp_path, line):
    path = tmp_path / "adapters" / "x.py"
    path.parent.mkdir()
    path.write_text(f"'''A module.'''\n{line}\n")
    found = list(dangerous(house.Module("x", path)))
    assert found and all(fault.startswith("adapters/x.py:2: ") for fault in found)


def test_evaluation_mode_and_safe_loaders_are_let_pass(tmp_path):
    path = tmp_path / "adapters" / "x.py"
    path.parent.mkdir()
    path.write_text(
        "model.eval()\nyaml.safe_load(t)\nyaml.load(t, Loader=yaml.BaseLoader)\njson.load(f)\n"
        "f(name, trust_remote_code=False)\n"
    )
    assert not list(dangerous(house.Module("x", path)))


ASKING = """
import contextlib, io, json, runpy, sys
heavy = set(sys.argv[1].split(","))
told = {}
def found(name, run):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        run()
    told[name] = [len(shown.getvalue()), sorted(heavy & set(sys.modules))]
def recipe(path):
    sys.argv = [path, "--help"]
    runpy.run_path(path, run_name="__main__")
def command(*words):
    from adapters.__main__ import main
    main(list(words))
found("import", lambda: __import__("adapters.recipe"))
for path in sys.argv[2:]:
    found(path, lambda: recipe(path))
found("python -m adapters", lambda: command())
found("python -m adapters --help", lambda: command("--help"))
found("python -m adapters --version", lambda: command("--version"))
found("python -m adapters train --help", lambda: command("train", "--task", "ner", "--method", "lora", "--help"))
found("python -m adapters predict --help", lambda: command("predict", "--help"))
found("python -m adapters serve --help", lambda: command("serve", "--help"))
found("python -m adapters prompts", lambda: command("prompts"))
print(json.dumps(told))
"""


def test_help_imports_no_heavy_library():
    recipes = sorted(str(path) for path in (house.REPOSITORY / "recipes").glob("*.py"))
    assert len(recipes) >= 2
    command = [sys.executable, "-c", ASKING, ",".join(HEAVY), *recipes]
    ended = subprocess.run(command, cwd=house.REPOSITORY, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    assert len(told) == len(recipes) + 8
    assert not {name: heavy for name, (_, heavy) in told.items() if heavy}
    silent = {name for name, (characters, _) in told.items() if characters < 50}
    assert silent == {"import"}


def test_every_accelerate_config_loads_as_accelerate_reads_it():
    from accelerate.commands.config.config_args import load_config_from_file

    paths = sorted((house.REPOSITORY / "accelerate_configs").iterdir())
    assert [path.stem for path in paths] == ["cpu", "cpu_two_processes", "deepspeed_zero3", "fsdp2", "fsdp2_4bit",
                                             "many_gpus", "many_machines", "one_gpu"]  # fmt: skip
    for path in paths:
        config = load_config_from_file(str(path))
        assert config.num_processes >= 1, path
        text = path.read_text()
        assert text.startswith("# ") and re.search(
            rf"launch --config_file accelerate_configs/{path.name} .*recipes/\w+\.py", text
        ), path
        if not config.use_cpu and config.num_processes > 1:
            assert "not run" in text.lower() or "not on GPUs" in text, f"{path} says nothing of what was tried"


def test_every_prompt_can_be_read_and_is_named_after_its_task():
    paths = sorted((house.REPOSITORY / "prompts").iterdir())
    assert len(paths) >= 1
    assert {path.suffix for path in paths} == {".toml"}
    for path in paths:
        prompt = tomllib.loads(path.read_text(encoding="utf-8"))
        assert prompt["task"] in discovery.names("tasks"), path
        assert path.stem.startswith(f"{prompt['task']}_"), path
        assert prompt["note"] and prompt["query"], path


def test_every_alias_is_pinned():
    table = tomllib.loads((house.PACKAGE / "core" / "sources" / "aliases.toml").read_text(encoding="utf-8"))
    assert len(table) >= 4
    for name, alias in table.items():
        assert alias["kind"] in ("model", "dataset"), name
        assert len(alias["sha256"]) == 64 and int(alias["sha256"], 16) > 0, name
        assert alias["version"] and alias["members"], name
        assert not [member for member in alias["members"] if member.startswith("/") or ".." in member], name
