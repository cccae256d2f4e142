"""What is exported to ONNX says what its artifact says, without torch; what would not is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import REPOSITORY, build_tiny_bert, write_tagged

from adapters.artifacts import loading, runtime
from adapters.artifacts.export.base import graph
from adapters.artifacts.export.base.export_format import ExportRequest, export
from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.data.word_splitter import split_words
from adapters.models.word_parts import WordParts

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
TEXTS = ["Ada Lovelace lived in New York .", "x", "Emmy Noether, 東京!", "Grace Hopper wrote notes . " * 30]
PAIRS = [{"text": text, "text_pair": "a friend"} for text in TEXTS]
RELATIONS = [{"text": f"<e1>Ada</e1> and <e2>Alan</e2>: {text}"} for text in TEXTS]
QUESTIONS = [{"question": "who ?", "context": text} for text in TEXTS]


def marking() -> Any:
    return discovery.load("tasks", "question_answering").Spans()


CASES: dict[str, tuple[str, str, Any, list[Any], dict[str, Any]]] = {
    "tags": ("bert", "lora", tiny.tagging, TEXTS, {"lora_r": 3}),
    "pairs": ("bert", "prefix", lambda: tiny.classifying(("a", "b", "c"), pair=True), PAIRS, {"prefix_init": "random"}),
    "spans": ("roberta", "bottleneck", marking, QUESTIONS, {}),
    "causal": ("gpt2", "lora", lambda: tiny.classifying(windows=True), TEXTS, {"lora_r": 2}),
    "relations": ("bert", "lora", tiny.relating, RELATIONS, {"lora_r": 2}),
}
"""An encoder's tags; pairs with token types after a prefix; answers through added layers; a causal classifier;
relations between marks."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def base_of(root: Path) -> Callable[[str], Any]:
    from adapters.models.base_model import open_base

    def ask(name: str) -> Any:
        folder = root / name
        if not folder.exists():
            (build_tiny_bert if name == "bert" else tiny.BUILDERS[name])(folder)
        return open_base(str(folder))

    return ask


@pytest.fixture(scope="module")
def made(root: Path, base_of: Callable[[str], Any]) -> Callable[[str], tuple[Path, Path]]:
    """The artifact and the export of a case, made once."""

    def ask(case: str) -> tuple[Path, Path]:
        base, method, task, _, changes = CASES[case]
        folder, out = root / case / "artifact", root / f"{case}-onnx"
        if not out.exists():
            tiny.adapter(folder, method, base_of(base), task(), **changes)
            (said,) = export("onnx", ExportRequest(folder=folder, output_dir=out, base=str(root / base)))
            assert "opset 18" in said
        return folder, out

    return ask


@pytest.fixture(scope="module")
def many(root: Path, base_of: Callable[[str], Any]) -> tuple[dict[str, Path], Path]:
    """Four adapters of three kinds of head, and their one export: of ranks 2 and 5, without and with a pooler."""
    base, out = base_of("bert"), root / "many-onnx"
    adapters = {
        "ner": tiny.adapter(root / "ner", "lora", base, tiny.tagging(), seed=1, lora_r=2),
        "places": tiny.adapter(root / "places", "rslora", base, tiny.tagging(("LOC",)), seed=2, lora_r=5),
        "mood": tiny.adapter(root / "mood", "lora", base, tiny.classifying(), seed=3, lora_r=3),
        "shout": tiny.adapter(root / "shout", "lora", base, tiny.classifying(("a", "b", "c")), seed=4,
                              lora_target_modules=["query"]),
    }  # fmt: skip
    export("onnx", ExportRequest(folder=None, adapters=adapters, output_dir=out, base=str(root / "bert")))
    return adapters, out


@pytest.fixture(scope="module")
def pair_first(root: Path, base_of: Callable[[str], Any]) -> Path:
    """The export of two adapters, of which the first reads pairs."""
    base, out = base_of("bert"), root / "pair-first-onnx"
    tasks = {"entailed": tiny.classifying(("a", "b", "c"), pair=True), "stars": tiny.regressing()}
    adapters = {name: tiny.adapter(root / name, "lora", base, task, lora_r=2) for name, task in tasks.items()}
    export("onnx", ExportRequest(folder=None, adapters=adapters, output_dir=out, base=str(root / "bert")))
    return out


def close(found: Any, wanted: Any) -> bool:
    """Whether two answers are equal, their numbers to three places."""
    if isinstance(wanted, dict):
        return set(found) == set(wanted) and all(close(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    return bool(np.isclose(found, wanted, atol=1e-3)) if isinstance(wanted, float) else bool(found == wanted)


@pytest.mark.parametrize("case", CASES)
def test_an_export_answers_as_its_artifact(made: Any, root: Path, case: str) -> None:
    folder, out = made(case)
    requests = CASES[case][3]
    wanted = loading.load(folder, base=str(root / CASES[case][0]), device="cpu").answer(requests)
    found = runtime.load(out).answer(requests)
    assert not [one for one in wanted if "error" in one]
    assert close(found, wanted)
    assert len({json.dumps(one["output"]) for one in found}) == len(TEXTS)
    assert json.loads((out / "card.json").read_text())["export"]["largest_difference"] < graph.TOLERANCE


@pytest.mark.parametrize("case", [*CASES, "many", "pair first"])
def test_the_code_in_the_readme_runs_and_says_what_the_runtime_says(
    made: Any, many: Any, pair_first: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = {"many": many[1], "pair first": pair_first}.get(case) or made(case)[1]
    readme = (out / "README.md").read_text()
    assert "needs onnxruntime, tokenizers, numpy and regex" in readme
    with_runtime, without = re.findall(r"```python\n(.*?)```", readme, re.S)
    monkeypatch.chdir(out)
    for module in ("adapters.artifacts.runtime", "adapters"):  # the small distribution is the former by another name
        code = with_runtime.replace("from taskswap_runtime import load", f"from {module} import load")
        assert code != with_runtime
        exec(code.replace('"this/folder"', f'"{out}"'), {})
    said = [eval(line) for line in capsys.readouterr().out.splitlines()]
    assert said[0] == said[1]
    seen: list[Any] = []
    exec(without, {"print": seen.append})
    whole = runtime.Export(out)
    loaded: Any = whole.load(next(iter(whole.names), None))
    request = loaded.task.sample_request()
    example = loaded.task.from_request(request if isinstance(request, dict) else {"text": request}, "")
    predictor = loaded.predictor
    rows = loaded.task.encode([example], predictor.tokenizer, predictor.budget)
    (wanted,) = predictor.answers(rows)
    assert np.allclose(seen[0][0][0], wanted, atol=1e-5)
    for name in whole.names:
        own = whole.card["adapters"][name]
        assert f"| {name} | {own['task']['name']} | {own['file']} | {own['output']} |" in readme


def test_logits_are_those_of_torch_in_every_window(made: Any, root: Path) -> None:
    folder, out = made("tags")
    predictors: list[Any] = [loading.load(folder, base=str(root / "bert")).predictor, runtime.load(out).predictor]
    task = predictors[0].task
    examples = [task.from_request({"text": text}, "") for text in TEXTS]
    rows = [one.task.encode(examples, one.tokenizer, one.budget) for one in predictors]
    assert rows[0] == rows[1] and len(rows[0]) > len(TEXTS)  # the last one has several windows
    wanted, found = (one.answers(own) for one, own in zip(predictors, rows, strict=True))
    for one, other, row in zip(wanted, found, rows[0], strict=True):
        size = len(row.input_ids)
        assert np.abs(one[:size] - other[:size]).max() < 1e-4


def test_the_evaluator_scores_an_export_like_its_artifact(made: Any, root: Path, tmp_path: Path) -> None:
    from adapters.evaluation.evaluate import evaluate
    from adapters.evaluation.metrics.base.metric import main_metric
    from adapters.tasks.base.examples import read_named

    folder, out = made("tags")
    _, splits = read_named("ner", (), dataset_name=None, test_file=str(write_tagged(tmp_path / "test.conll", 30)))
    exported, loaded = runtime.load(out), loading.load(folder, base=str(root / "bert"))
    metric = main_metric("entity_f1", loaded.task.labels.names)
    found, wanted = (evaluate(one, splits["test"], [metric], split="test") for one in (exported, loaded))
    assert found.quality == wanted.quality
    assert [one.value for one in found.predictions] == [one.value for one in wanted.predictions]


def test_adapters_in_one_file_answer_as_in_the_bank(many: Any, root: Path) -> None:
    from adapters.serving.bank.bank import AdapterBank
    from adapters.tasks.base.requests import Request

    adapters, out = many
    bank = AdapterBank(str(root / "bert"), device="cpu")
    whole = runtime.Export(out)
    assert whole.names == [*adapters]
    for name, folder in adapters.items():
        bank.load(name, folder)
        wanted = [one["output"] for one in bank.predict([Request(name, text) for text in TEXTS])]
        assert close([one["output"] for one in whole.load(name).answer(TEXTS)], wanted), name
    assert len(list((out / "adapters").iterdir())) == 4
    written = [path for folder in (out, adapters["ner"]) for path in folder.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in written} == {"0o644"}, "another user may serve them"
    sizes = {name: runtime.loading.read_tensors(out / "adapters" / f"{name}.safetensors") for name in adapters}
    downs = {len(one) for tensors in sizes.values() for name, one in tensors.items() if name.endswith(".down")}
    assert downs == {12}  # that of shout; the others are padded


def test_many_adapters_are_inspected_one_by_one(many: Any, capsys: Any) -> None:
    from adapters.cli.main import main

    assert main(["inspect", str(many[1])]) == 0
    said = capsys.readouterr().out
    assert [f"{name}:\n" in said for name in many[0]] == [True] * 4
    assert "rslora for ner" in said and "export to onnx; opset 18; logits within" in said
    assert main(["predict", str(many[1]), "--adapter", "mood", TEXTS[0]]) == 0
    assert '"label"' in capsys.readouterr().out
    assert main(["predict", str(many[1]), TEXTS[0]]) == 2
    assert "name one of ner" in capsys.readouterr().err


def test_an_adapter_of_many_is_explained_by_its_answers(many: Any, tmp_path: Path, capsys: Any) -> None:
    from adapters.cli.main import main

    words = ["explain", str(many[1]), TEXTS[0], "--adapter", "mood"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "occlusion" and found["target"] in ("good", "bad")
    assert main(words[:3]) == 2
    assert "name one of ner, places, mood, shout" in capsys.readouterr().err
    train = tmp_path / "train.csv"
    train.write_text("text,label\na joy,good\nso dull,bad\n")
    assert main([*words, "--nearest", "1", "--train_file", str(train)]) == 2
    assert "answers alone and no hidden states, as an export does" in capsys.readouterr().err


def test_an_adapter_of_many_is_asked_for_by_name(many: Any, made: Any) -> None:
    _, out = many
    with pytest.raises(SettingsError, match="has several adapters; name one of ner, places, mood, shout"):
        runtime.load(out)
    with pytest.raises(SettingsError, match="did you mean 'mood'"):
        runtime.load(out, "moot")
    with pytest.raises(SettingsError, match="of one adapter, which has no name"):
        runtime.load(made("tags")[1], "ner")


def test_int8_is_scored_before_and_after(
    made: Any, root: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.cli.main import main

    folder, full = made("tags")
    test = write_tagged(tmp_path / "test.conll", 12)
    out = tmp_path / "int8"
    words = ["export", str(folder), "--format", "onnx", "--output_dir", str(out), "--base", str(root / "bert")]
    assert main([*words, "--quantize", "int8", "--test_file", str(test)]) == 0
    assert "Entity F1 on test (n = 12)" in capsys.readouterr().out
    card = json.loads((out / "card.json").read_text())
    scored = card["export"]["quantize"]["scored"]
    assert scored["n"] == 12 and scored["metric"] == "entity_f1" and scored["before"] >= 0
    assert "scores" not in card and "largest_difference" not in card["export"]
    tags = runtime.load(out)(TEXTS)
    if not card["export"]["quantize"]["reduce_range"]:  # it saturates on other CPUs
        with monkeypatch.context() as patch, pytest.warns(UserWarning, match="was quantized on a CPU with VNNI"):
            patch.setattr(runtime.loading, "has_vnni", lambda: False)
            runtime.load(out)
    assert [len(one["tags"]) for one in tags] == [len(one["tags"]) for one in runtime.load(full)(TEXTS)]
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    assert "int8; Entity F1 on test (12 examples)" in capsys.readouterr().out
    assert main(["predict", str(out), "--json", TEXTS[0]]) == 0
    assert main(["predict", str(out), TEXTS[0], "--base", "minilm"]) == 2
    assert "has its base in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quantize", "largest", "second"), [(None, 90e3, True), ("int8", 90e3, False), ("int8", 1e3, True)]
)
def test_weights_of_a_large_base_are_in_the_folder_once(
    made: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantize: str, largest: float, second: bool
) -> None:
    """They have 98 kB here: in a second file where one file cannot hold them; in int8 they are a quarter."""
    folder, full = made("tags")
    monkeypatch.setattr(graph, "LARGEST", largest)
    out = tmp_path / "out"
    export("onnx", ExportRequest(folder=folder, output_dir=out, base=str(root / "bert"), quantize=quantize))
    files = {path.name: path.stat().st_size for path in out.iterdir()}
    data = {"model.onnx.data"} if second else set()
    assert {*files} == {"README.md", "card.json", "model.onnx", "tokenizer.json", *data}
    assert data <= {*json.loads((out / "card.json").read_text())["files"]}
    assert not second or (files["model.onnx.data"] < 50e3) == bool(quantize)
    wanted, found = runtime.load(full)(TEXTS), runtime.load(out)(TEXTS)
    assert [len(one["tags"]) for one in found] == [len(one["tags"]) for one in wanted]
    assert quantize or close(found, wanted)


def static(monkeypatch: pytest.MonkeyPatch) -> str:
    """A trace whose sizes are those of the traced batch."""
    monkeypatch.setattr(graph, "ROWS_OF_TOKENS", {})
    return "cannot run with 1 of 7"


def drifted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A graph whose weights are not those of the model that it is compared with."""
    import torch

    write = graph.write_graph

    def spoil(module: Any, *given: Any, **named: Any) -> None:
        write(module, *given, **named)
        with torch.no_grad():
            list(module.parameters())[-1].add_(0.01)

    monkeypatch.setattr(graph, "write_graph", spoil)
    return "logits differ from torch's by"


@pytest.mark.parametrize("fault", [static, drifted])
def test_a_graph_that_differs_from_torch_is_not_written(
    made: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    folder, _ = made("tags")
    said = fault(monkeypatch)
    with pytest.raises(ModelError, match=said):
        export("onnx", ExportRequest(folder=folder, output_dir=tmp_path / "out", base=str(root / "bert")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("several", [False, True])
def test_operators_that_onnx_runtime_cannot_run_are_refused(
    made: Any, many: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Which versions it runs is known by loading a graph alone; the package onnx knows newer ones."""

    def session(model: str, **_: Any) -> Any:
        raise RuntimeError(f"Load model from {model} failed: This is an invalid model.")

    given: dict[str, Any] = {"adapters": dict([*many[0].items()][:2])} if several else {}
    folder = None if several else made("tags")[0]
    request = ExportRequest(folder=folder, output_dir=tmp_path / "out", base=str(root / "bert"), opset=19, **given)
    monkeypatch.setattr(graph, "write_graph", lambda *given, **_: given[-1].write_bytes(b""))
    monkeypatch.setattr(graph, "session", session)
    with pytest.raises(ModelError, match=r"ONNX Runtime \d+\.\d+\S* cannot run opset 19 .*[Ll]eave --opset out"):
        export("onnx", request)
    assert not list(tmp_path.iterdir())


def test_the_newest_operators_are_written_as_they_run_or_refused(made: Any, root: Path, tmp_path: Path) -> None:
    from onnx import defs

    newest = int(defs.onnx_opset_version())
    request = ExportRequest(folder=made("tags")[0], output_dir=tmp_path / "out", base=str(root / "bert"), opset=newest)
    try:
        (said,) = export("onnx", request)
    except ModelError as error:
        assert f"cannot run opset {newest}" in str(error) and not list(tmp_path.iterdir())
    else:
        assert f"opset {newest}" in said and runtime.load(tmp_path / "out")("Ada")["tags"]
    with pytest.raises(SettingsError, match=f"--opset {newest + 1}: .* up to {newest}, .* Leave it out"):
        graph.check_opset(newest + 1)


def flipped(out: Path) -> str:
    data = bytearray((out / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (out / "model.onnx").write_bytes(data)
    return "damaged or modified"


def other_tokenizer(out: Path) -> str:
    (out / "tokenizer.json").write_text((out / "tokenizer.json").read_text().replace("london", "berlin"))
    return "damaged or modified"


def other_labels(out: Path) -> str:
    card = out / "card.json"
    card.write_text(card.read_text().replace("B-PER", "B-LOC", 1))
    return "its own digest does not match"


def lost(out: Path) -> str:
    (out / "tokenizer.json").unlink()
    return "files missing"


def pickled(out: Path) -> str:
    (out / "extra.pkl").write_bytes(b"x")
    return "pickle"


@pytest.mark.parametrize("damage", [flipped, other_tokenizer, other_labels, lost, pickled])
def test_a_damaged_export_is_refused(made: Any, tmp_path: Path, damage: Any) -> None:
    out = shutil.copytree(made("tags")[1], tmp_path / "out")
    assert runtime.load(out)("Ada")["tags"]
    said = damage(out)
    with pytest.raises(ArtifactError, match=said):
        runtime.load(out)
    with pytest.raises(ArtifactError, match=said):
        loading.load(out)


def test_what_cannot_be_exported_is_refused(made: Any, root: Path, tmp_path: Path, base_of: Any) -> None:
    folder, out = made("tags")
    dora = tiny.adapter(tmp_path / "dora", "dora", base_of("bert"), tiny.tagging(), lora_r=2)
    plain = tmp_path / "plain"
    plain.mkdir()
    base = str(root / "bert")
    for given, error, said in (
        ({"folder": folder, "opset": 11}, SettingsError, "--opset 11: torch's exporter writes 18"),
        ({"folder": folder, "quantize": "int4"}, SettingsError, "quantize"),
        ({"folder": folder, "apart": True}, SettingsError, "--apart: the format onnx has no such option; gguf has"),
        ({"folder": plain}, ArtifactError, "contains no card.json"),
        ({"folder": out, "base": None}, ModelError, "is an export already"),
        ({"folder": None, "adapters": {"a": folder, "b": dora}}, ModelError, "more than a product of low rank"),
        ({"folder": None, "adapters": {"a": folder}}, SettingsError, "two or more"),
    ):
        with pytest.raises(error, match=said):
            export("onnx", ExportRequest(**{"base": base, "output_dir": tmp_path / "out", **given}))
    with pytest.raises(SettingsError, match="absent or empty"):
        export("onnx", ExportRequest(folder=folder, base=base, output_dir=out))
    with pytest.raises(SettingsError, match="did you mean 'onnx'"):
        export("onxx", ExportRequest(folder=folder, output_dir=tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"dora", "plain"}
    with pytest.raises(ArtifactError, match="an artifact to train with"):
        runtime.load(folder)


def test_a_bank_does_not_take_an_export(made: Any, root: Path) -> None:
    from adapters.serving.bank.bank import AdapterBank

    with pytest.raises(ArtifactError, match="is an export"):
        AdapterBank(str(root / "bert"), device="cpu").load("ner", made("tags")[1])


ASKING = """
import json, sys
import taskswap_runtime
imported = sorted(sys.modules)
folder, texts = sys.argv[1], json.loads(sys.argv[2])
answers = taskswap_runtime.load(folder, *sys.argv[3:]).answer(texts)
print(json.dumps([imported, sorted(sys.modules), answers]))
"""
FOREIGN = {"torch", "transformers", "adapters", "huggingface_hub", "safetensors", "pyarrow", "platformdirs", "peft"}


def test_the_small_distribution_answers_without_torch(made: Any, many: Any, root: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    build = [sys.executable, str(REPOSITORY / ".ci" / "build_runtime.py"), "--tree", str(tree)]
    subprocess.run(build, check=True)
    wanted = {
        case: loading.load(made(case)[0], base=str(root / CASES[case][0])).answer(CASES[case][3]) for case in CASES
    }
    adapters, out = many
    asked = [(made(case)[1], CASES[case][3], []) for case in CASES] + [(out, TEXTS, ["mood"])]
    wanted["mood"] = loading.load(adapters["mood"], base=str(root / "bert")).answer(TEXTS)
    for (folder, texts, more), answers in zip(asked, wanted.values(), strict=True):
        command = [sys.executable, "-c", ASKING, str(folder), json.dumps(texts), *more]
        environment = {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
        imported, used, found = json.loads(ended.stdout)
        assert "onnxruntime" in used and "onnxruntime" not in imported
        assert not FOREIGN & {name.partition(".")[0] for name in used}
        assert close(found, answers)


def test_the_small_distribution_depends_on_four_libraries(tmp_path: Path) -> None:
    import tomllib

    subprocess.run([sys.executable, str(REPOSITORY / ".ci" / "build_runtime.py"), "--tree", str(tmp_path)], check=True)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["name"] == "taskswap-runtime"
    names = [one.partition(">")[0] for one in project["dependencies"]]
    assert names == ["numpy", "onnxruntime", "regex", "tokenizers"]
    copied = list((tmp_path / "taskswap_runtime").rglob("*.py"))
    assert 40 < len(copied) < 120
    import ast

    for path in copied:  # nothing in it asks for the package by its other name
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] == "adapters"], path


PAGE = REPOSITORY / "docs" / "deploy" / "browser"
STRANGE = [
    "Ada\u200b Lovelace, 東京タワー 9€ for Müller's İstanbul! \U0001f600\U0001f1eb\U0001f1f7x",
    "[SEP] can't\tre-read\u00a0Straße ½ ²x 한글 e\u0301t\u00e9 \u0e01\u0e33 A\u200dB \ufffd\u0000 end",
]
IN_PAGE = """
const done = arguments[arguments.length - 1];
const [url, asked] = arguments;
(async () => {
  const { Export } = await import(new URL("taskswap.js", location));
  const model = await Export.open(url);
  const answers = {};
  for (const name of model.names) {
    answers[name] = [];
    for (const text of asked) answers[name].push(await model.answer(name, text));
  }
  return { answers, tokens: asked.map((text) => model.tokenizer.encode(text).map((token) => token.id)) };
})().then(done, (error) => done({ error: error.message }));
"""


@pytest.fixture(scope="module")
def browser(many: Any, root: Path) -> Any:
    """A browser at the page of docs/deploy/browser, whose export is that of several adapters; and its folder."""
    import functools
    import http.server
    import threading

    from browser import chromium

    if not (PAGE / "node_modules").is_dir():
        pytest.skip("the page's libraries are not installed: npm ci --prefix docs/deploy/browser")
    folder = shutil.copytree(PAGE, root / "page", ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(PAGE / "node_modules")
    shutil.copytree(many[1], folder / "export")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium() as chrome:
        chrome.set_script_timeout(120)
        chrome.get(f"http://127.0.0.1:{server.server_port}/index.html")
        yield chrome, folder
    server.shutdown()
    server.server_close()


def test_the_page_swaps_adapters_and_answers_as_the_runtime(browser: Any, many: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    chrome, _ = browser
    short = [*(text for text in TEXTS if len(text) < 100), *STRANGE]
    found = chrome.execute_async_script(IN_PAGE, "export/", short)
    assert "error" not in found, found
    whole = runtime.Export(many[1])
    assert sorted(found["answers"]) == sorted(whole.names)
    for name, answers in found["answers"].items():
        for answer, wanted in zip(answers, whole.load(name)(short), strict=True):
            answer.pop("likely", None)
            for entity in answer.get("entities", []):
                del entity["units"]
            assert close(answer, {key: value for key, value in wanted.items() if key in answer}), (name, wanted)
            assert {"tags", "entities"} <= set(answer) or {"label", "scores"} <= set(answer)
    words = WordParts(whole.tokenizer).of_texts(short, [split_words(text) for text in short])
    encoded = [[one for part in parts for one in part.tokens] for parts in words]
    assert found["tokens"] == encoded
    errors = [one for one in chrome.get_log("browser") if one["level"] == "SEVERE"]
    assert not errors

    def shown(selector: str) -> str:
        return str(chrome.find_element(By.CSS_SELECTOR, selector).text)

    WebDriverWait(chrome, 60).until(lambda _: shown("#note").endswith("ready."))
    chrome.find_element(By.CSS_SELECTOR, "#adapter option:nth-child(4)").click()
    chrome.find_element(By.CSS_SELECTOR, "button").click()
    WebDriverWait(chrome, 60).until(lambda _: "ms" in shown("#note") or shown("#error"))
    assert len(chrome.find_elements(By.CSS_SELECTOR, ".bar")) == 3 and not shown("#error")


@pytest.mark.parametrize(
    ("export_of", "said"),
    [
        ("pairs", "reads single texts, not pairs"),
        ("spans", "BERT's tokenizers"),
        ("causal", "BERT's tokenizers"),
        ("damaged", "model.onnx is damaged"),
        ("absent", "404"),
    ],
)
def test_the_page_refuses_what_it_would_answer_otherwise(browser: Any, made: Any, export_of: str, said: str) -> None:
    chrome, folder = browser
    if export_of in CASES:
        (folder / export_of).symlink_to(made(export_of)[1])
    elif export_of == "damaged":
        flipped(shutil.copytree(made("tags")[1], folder / export_of))
    assert said in chrome.execute_async_script(IN_PAGE, f"{export_of}/", ["Ada"])["error"]
