"""Rule 2 of the house: the names of methods, tasks, metrics and readers are files, and nobody else knows them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import house
import pytest

from adapters.artifacts.explaining.base import attribution
from adapters.core import discovery
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.methods.base.method import load_method
from adapters.tasks.base.task import load_task

# So many there were when this was written: a listing that finds fewer looks in the wrong place.
AT_LEAST = {
    "explanations": 5,
    "formats": 3,
    "strategies": 9,
    "readers": 8,
    "methods": 13,
    "metrics": 9,
    "tasks": 5,
}


def names() -> dict[str, list[str]]:
    return {kind: discovery.names(kind) for kind in discovery.FOLDERS}


def branches(modules: Iterable[house.Module], known: Mapping[str, Iterable[str]]) -> list[str]:
    """Each comparison with a name of a method, task, metric or reader outside the file of that name."""
    files = {
        name: (kind, f"{discovery.FOLDERS[kind].replace('/', '.')}.{name}")
        for kind, kinds in known.items()
        for name in kinds
    }
    return [
        f"{module.at(node)}: compares with {text!r}; ask the {files[text][0]} instead (an attribute of its class)"
        for module in modules
        for node in ast.walk(module.tree)
        for text in sorted(set(_compared(node)) & set(files))
        if module.name != files[text][1]
    ]


def _compared(node: ast.AST) -> Iterator[str]:
    """Strings that a comparison, a `match` or a table of cases holds its value against."""
    parts: list[ast.AST] = []
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.MatchValue):
        parts = [node.value]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):  # {"lora": …, "full": …}[method]
        parts = [key for key in node.value.keys if key is not None]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
        parts = list(node.args)
    for part in parts:
        inside = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
        yield from (item.value for item in inside if isinstance(item, ast.Constant) and isinstance(item.value, str))


@pytest.mark.parametrize("kind", sorted(AT_LEAST))
def test_the_names_are_the_files_of_the_folder(kind):
    files = {path.stem for path in (house.PACKAGE / discovery.FOLDERS[kind]).glob("*.py")} - {"__init__"}
    found = discovery.names(kind)
    assert len(found) >= AT_LEAST[kind]
    assert found == sorted(files)


def test_every_kind_of_plugin_is_looked_at():
    assert set(discovery.FOLDERS) == set(AT_LEAST)


@pytest.mark.parametrize("name", discovery.names("methods"))
def test_a_method_bears_the_name_of_its_file(name):
    assert load_method(name).name == name


@pytest.mark.parametrize("name", discovery.names("tasks"))
def test_a_task_bears_the_name_of_its_file_and_its_metrics_exist(name):
    task = load_task(name)
    assert task.name == name
    assert task.metrics and set(task.metrics) <= set(discovery.names("metrics"))


@pytest.mark.parametrize("name", discovery.names("metrics"))
def test_a_metric_bears_the_name_of_its_file(name):
    assert load_metric(name, ("O", "B-PER", "I-PER")).name == name


@pytest.mark.parametrize("name", discovery.names("explanations"))
def test_an_attribution_method_bears_the_name_of_its_file(name):
    assert attribution.load(name).name == name


@pytest.mark.parametrize("name", discovery.names("readers"))
def test_a_reader_offers_what_a_reader_offers(name):
    reader = discovery.load("readers", name)
    assert isinstance(reader.EXTENSIONS, tuple)
    assert callable(reader.recognises) and callable(reader.open)


def test_nobody_compares_with_the_name_of_a_method_task_metric_or_reader():
    modules = house.modules()
    assert len(modules) > 30
    found = branches(modules.values(), names())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        'method == "lora"',
        '"lora" != self.method.name',
        'name in ("lora", "head")',
        'name not in ["lora"]',
        '{"lora": 1, "full": 2}[name]',
        'name.startswith("lora")',
    ],
)
def test_a_comparison_with_a_name_is_found(tmp_path, line):
    package = tmp_path / "adapters"
    (package / "methods").mkdir(parents=True)
    for path in (package / "bank.py", package / "methods" / "lora.py"):
        path.write_text(f"def f(self, method, name):\n    return {line}\n")
    found = branches(house.modules(package).values(), {"methods": ["lora"]})
    assert len(found) == 1, "its own file may, the other may not"
    assert found[0].startswith("adapters/bank.py:2: compares with 'lora'")


def test_a_case_of_a_match_is_found(tmp_path):
    package = tmp_path / "adapters"
    package.mkdir()
    (package / "bank.py").write_text('match name:\n    case "lora":\n        pass\n')
    assert len(branches(house.modules(package).values(), {"methods": ["lora"]})) == 1


HEAD_ONLY = '''
from dataclasses import dataclass
from adapters.methods import base as methods


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The head alone."""

    learning_rate: float = 1e-2
    head_scale: float = 1.0


class Method(methods.TensorsMethod):
    """Trains the head."""

    name = "head_only"

    def wrap(self, base, task, train):
        model = methods.headed(base, task, self.settings)
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
        return model
'''
SHARE_OF_O = '''
import numpy as np
from adapters.evaluation.metrics import base as metrics


class Metric(metrics.Metric):
    """The share of words called O."""

    name = "share_of_o"
    main = "share"
    width = 2

    def counts(self, gold, prediction):
        return np.array([prediction.count("O"), len(prediction)])

    def scores(self, sums):
        return {"share": metrics.ratio(sums[..., 0], sums[..., 1])}

    def sections(self, sums):
        return [metrics.Section(title="Words called O", columns=("share",), rows=(("O", (sums[0] / sums[1],)),))]
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder with a method and a metric, one file each."""
    for folder, name, text in (("methods", "head_only", HEAD_ONLY), ("evaluation/metrics", "share_of_o", SHARE_OF_O)):
        (tmp_path / "mine" / folder).mkdir(parents=True)
        (tmp_path / "mine" / folder / f"{name}.py").write_text(text)
    return tmp_path / "mine"


def test_a_new_method_and_a_new_metric_are_one_new_file_each(plugins, tmp_path, tiny_bert, tagged):
    import json

    from adapters import recipe
    from adapters.artifacts import loading

    folder = tmp_path / "run"
    flags = {
        "--plugin_dir": plugins,
        "--metrics": "share_of_o",
        "--model_name_or_path": tiny_bert,
        "--dataset_name": tagged,
        "--output_dir": folder,
        "--max_train_steps": 2,
        "--mixed_precision": "no",
    }
    argv = [str(word) for pair in flags.items() for word in pair]
    with recipe.start("A method of one's own.", task="ner", method="head_only", defaults={}, argv=argv) as run:
        task = run.read_task()
        method = run.build_method()
        run.save_and_print(run.evaluate(run.fit(task, method)))
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["method"] == "head_only"
    assert 0 <= scores["quality"]["share_of_o"]["share"]["value"] <= 1
    loaded = loading.load(folder / "artifact", base=str(tiny_bert), plugin_dirs=[str(plugins)])
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    blocks = (tagged / "test.conll").read_text().strip().split("\n\n")
    words = [[line.split("\t")[0] for line in block.splitlines()] for block in blocks]
    answers = loaded.answer([{"tokens": sentence} for sentence in words])
    assert [answer["output"]["tags"] for answer in answers] == [line["prediction"] for line in lines]


def test_without_its_folder_a_plugin_is_an_unknown_name(plugins, capsys):
    from adapters import recipe
    from adapters.core.errors import SettingsError

    with pytest.raises(SettingsError, match="No method is called 'head_only'"):
        load_method("head_only")
    with pytest.raises(SystemExit) as stop, recipe.start("", task="ner", method="head_only", defaults={}, argv=[]):
        pass
    assert stop.value.code == 2
    assert "No method is called 'head_only'" in capsys.readouterr().err


def test_a_plugin_does_not_hide_a_name_of_the_project(plugins):
    (plugins / "methods" / "lora.py").write_text("raise AssertionError('imported')\n")
    assert load_method("lora", [str(plugins)]).__module__ == "adapters.methods.lora"
