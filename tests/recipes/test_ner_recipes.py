"""The training recipes for named entities, run whole on a tiny model: what they leave, and that it can be used."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, write_tagged

# Learning rates at which the tiny model is right about some entities after two epochs and wrong about others.
METHODS = {"full": "0.003", "head": "0.1", "lora": "0.015", "prefix": "0.1"}
FILES = {"settings.json", "artifact", "predictions.jsonl", "scores.json", "report.txt"}
WEIGHTS = dict.fromkeys(METHODS, "adapter_model.safetensors") | {"full": "model.safetensors"}
TEXT = "Ada Lovelace lived in London."


def run(method: str, folder: Path, base: Path, data: Path, *flags: str) -> Path:
    """Run a recipe in this process to its end; returns the folder of the run."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    path = str(REPOSITORY / "recipes" / f"{method}_ner.py")
    own = ["--model_name_or_path", str(base), "--dataset_name", str(data), "--output_dir", str(folder)]
    size = ["--per_device_train_batch_size", "8", "--num_train_epochs", "2", "--learning_rate", METHODS[method]]
    before, sys.argv = sys.argv, [path, *own, *size, "--mixed_precision", "no", *flags]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = before
    return folder


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    for name, size in (("train", 120), ("dev", 30), ("test", 30)):
        write_tagged(folder / f"{name}.conll", size)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, data: Path) -> Callable[..., Path]:
    """`runs("lora", seed=1, again=True)`: the folder of such a run, trained when it is first asked for."""
    root = tmp_path_factory.mktemp("runs")

    def folder_of(method: str, *, seed: int = 0, again: bool = False) -> Path:
        folder = root / f"{method}-{seed}-{again}"
        return folder if folder.is_dir() else run(method, folder, tiny_bert, data, "--seed", str(seed))

    return folder_of


@pytest.fixture(scope="module", params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(runs: Callable[..., Path], method: str) -> Path:
    return runs(method)


@pytest.fixture(scope="module")
def loaded(folder: Path, tiny_bert: Path) -> Any:
    from adapters.artifacts import loading

    return loading.load(folder / "artifact", base=str(tiny_bert))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shares(value: Any) -> Iterator[float]:
    """Every number of a nested record."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from shares(inner)
    else:
        yield value


# What a run leaves


def test_a_run_leaves_all_its_files_and_no_other(folder):
    trained = {"curve.svg"} if (folder / "curve.svg").exists() else set()
    assert {path.name for path in folder.iterdir()} == FILES | trained
    assert bool(trained) == (read(folder / "scores.json")["training"] is not None)
    for name in ("settings.json", "scores.json", "artifact/card.json"):
        assert read(folder / name)["format"] == 1


def test_the_settings_are_recorded_and_can_be_given_again(folder, method, tiny_bert):
    settings = read(folder / "settings.json")
    assert (settings["task"], settings["method"]) == ("ner", method)
    assert settings["model_name_or_path"] == str(tiny_bert)
    assert settings["seed"] == 0
    assert ("lora_r" in settings) == (method == "lora")


def test_a_runs_settings_file_is_taken_in_place_of_flags(folder, method, tmp_path, capsys):
    settings = read(folder / "settings.json")
    settings["output_dir"] = str(tmp_path / "again")
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    path = str(REPOSITORY / "recipes" / f"{method}_ner.py")
    before, sys.argv = sys.argv, [path, str(tmp_path / "settings.json")]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        pytest.fail(f"exit code {stop.code}: {capsys.readouterr().err}")
    finally:
        sys.argv = before
    assert read(tmp_path / "again" / "scores.json")["quality"] == read(folder / "scores.json")["quality"]


def test_scores_hold_every_field_of_the_design(folder, method):
    scores = read(folder / "scores.json")
    assert {
        "task", "method", "base", "dataset", "label_digest", "metric_versions", "overlap", "quality", "cost",
        "parse_failures", "truncated", "stopped_early", "seed", "settings_digest", "versions", "hardware",
    } <= set(scores)  # fmt: skip
    assert {"name", "revision", "split", "n", "digest"} <= set(scores["dataset"])
    assert {
        "trainable_params", "total_params", "train_seconds", "train_tokens_per_second", "peak_memory_bytes",
        "artifact_bytes", "latency_ms", "examples_per_second",
    } <= set(scores["cost"])  # fmt: skip
    assert set(scores["cost"]["latency_ms"]) == {"p50", "p95"}
    assert (scores["task"], scores["method"], scores["base"], scores["seed"]) == ("ner", method, "tiny-bert", 0)
    assert set(scores["metric_versions"]) == set(scores["quality"]) == {"entity_f1", "token_f1"}


def test_scores_are_sane(folder, method):
    scores = read(folder / "scores.json")
    assert (scores["dataset"]["split"], scores["dataset"]["n"]) == ("test", 30)
    for metric, values in scores["quality"].items():
        for name, found in values.items():
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1, (metric, name)
    assert scores["quality"]["entity_f1"]["f1"]["value"] > 0.2, "a model of this size learns this data in two epochs"
    main = scores["main"]
    assert main["low"] < main["value"] < main["high"]
    assert scores["main"] == {
        "metric": "entity_f1",
        "score": "f1",
        "title": "Entity F1",
        **scores["quality"]["entity_f1"]["f1"],
    }
    cost = scores["cost"]
    assert all(number > 0 for number in shares(cost)), cost
    assert (cost["trainable_params"] == cost["total_params"]) == (method == "full")
    assert cost["latency_ms"]["p50"] <= cost["latency_ms"]["p95"]
    size = sum(path.stat().st_size for path in (folder / "artifact").rglob("*") if path.is_file())
    assert cost["artifact_bytes"] == size
    assert scores["training"]["steps"] == 30
    assert [entry["epoch"] for entry in scores["training"]["dev_scores"]] == [1, 2]
    assert (scores["parse_failures"], scores["truncated"], scores["stopped_early"]) == (0, 0, False)
    assert scores["overlap"]["count"] == 0


def test_scores_name_the_version_of_this_project(folder):
    import adapters

    assert read(folder / "scores.json")["versions"]["taskswap"] == adapters.__version__


def test_predictions_are_one_line_an_example_in_the_order_of_the_file(folder, data):
    found = lines(folder / "predictions.jsonl")
    gold = [
        [line.split("\t")[1] for line in block.splitlines()]
        for block in (data / "test.conll").read_text().strip().split("\n\n")
    ]
    assert [line["gold"] for line in found] == gold
    assert all(len(line["prediction"]) == len(line["gold"]) for line in found)
    assert len({line["id"] for line in found}) == len(found) == 30
    assert all(len(line["input"]) == 64 for line in found)


def test_counts_of_the_predictions_sum_to_the_reported_scores(folder):
    import numpy as np

    from adapters.evaluation.metrics.base.metric import load_metric

    found, scores = lines(folder / "predictions.jsonl"), read(folder / "scores.json")
    labels = read(folder / "artifact" / "card.json")["task"]["labels"]
    for name, values in scores["quality"].items():
        sums = np.array([line["counts"][name] for line in found]).sum(0)
        again = load_metric(name, labels).scores(sums)
        assert {key: float(value) for key, value in again.items()} == {
            key: found["value"] for key, found in values.items()
        }


def test_the_reported_f1_is_what_seqeval_finds_in_the_predictions(folder):
    from seqeval.metrics import f1_score, precision_score, recall_score

    found = lines(folder / "predictions.jsonl")
    gold, said = [line["gold"] for line in found], [line["prediction"] for line in found]
    quality = read(folder / "scores.json")["quality"]["entity_f1"]
    assert quality["f1"]["value"] == pytest.approx(f1_score(gold, said), abs=1e-12)
    assert quality["precision"]["value"] == pytest.approx(precision_score(gold, said), abs=1e-12)
    assert quality["recall"]["value"] == pytest.approx(recall_score(gold, said), abs=1e-12)
    assert quality["macro_f1"]["value"] == pytest.approx(f1_score(gold, said, average="macro"), abs=1e-12)


def test_the_report_fits_80_columns_and_holds_the_numbers(folder):
    from rich.cells import cell_len

    text = (folder / "report.txt").read_text(encoding="utf-8")
    scores = read(folder / "scores.json")
    too_wide = [line for line in text.splitlines() if cell_len(line) > 80]
    assert not too_wide
    main = scores["main"]
    assert f"{100 * main['value']:.2f}  (95 % interval {100 * main['low']:.2f} to {100 * main['high']:.2f}" in text
    for title in ("Entities", "without O", "with O"):
        assert title in text
    for row in ("LOC", "PER", "micro avg", "macro avg", "weighted avg", "B-PER", "I-LOC"):
        assert any(line.startswith(f"{row} ") for line in text.splitlines()), row
    assert "support" in text and "Flattering" in text
    assert f"{scores['cost']['trainable_params']:,} of {scores['cost']['total_params']:,}" in text
    assert "\x1b" not in text


def test_the_model_card_holds_the_real_numbers(folder, method):
    import yaml

    text = (folder / "artifact" / "README.md").read_text(encoding="utf-8")
    scores = read(folder / "scores.json")
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["base_model"] == "tiny-bert"
    assert {"ner", method} <= set(head["tags"])
    main = scores["main"]
    value, low, high = (f"{100 * main[name]:.2f}" for name in ("value", "low", "high"))
    assert f"| test | 30 | Entity F1 | {value} | {low} to {high} |" in body
    assert f"{scores['cost']['trainable_params']:,} of {scores['cost']['total_params']:,}" in body
    for kind in ("LOC", "PER"):
        f1 = scores["reports"]["entity_f1"][0]["rows"][kind]["F1"]
        assert any(line.startswith(f"| {kind} |") and f"{100 * f1:.2f}" in line for line in body.splitlines())


def test_the_card_verifies_and_says_what_the_model_was_made_of(folder, method, tiny_bert):
    from adapters.artifacts import artifact
    from adapters.core.files import digest_file

    card = artifact.verify(folder / "artifact")
    scores = read(folder / "scores.json")
    assert card["method"]["name"] == method
    assert card["task"]["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert card["base"]["name"] == "tiny-bert"
    assert card["base"]["weights_sha256"] == digest_file(tiny_bert / "model.safetensors")
    assert card["base"]["tokenizer_sha256"] == digest_file(tiny_bert / "tokenizer.json")
    assert card["scores"]["value"] == scores["main"]["value"]
    assert card["label_digest"] == scores["label_digest"]
    present = {
        str(path.relative_to(folder / "artifact")) for path in (folder / "artifact").rglob("*") if path.is_file()
    }
    assert set(card["files"]) | {"card.json"} == present
    assert WEIGHTS[method] in card["tensors"]
    assert (folder / "artifact" / "adapter_config.json").is_file() == (method in ("lora", "prefix"))


def test_no_file_of_an_artifact_holds_the_place_of_the_base(folder, tiny_bert):
    for path in (folder / "artifact").rglob("*"):
        if path.is_file():
            assert str(tiny_bert).encode() not in path.read_bytes(), path.name


def test_one_flipped_bit_is_noticed(folder, method, tmp_path):
    from adapters.artifacts import artifact
    from adapters.core.errors import ArtifactError

    shutil.copytree(folder / "artifact", tmp_path / "artifact")
    path = tmp_path / "artifact" / WEIGHTS[method]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged or modified"):
        artifact.verify(tmp_path / "artifact")


# Seeds


def dev_scores(folder):
    """Losses and dev scores of a run, without the time that they took."""
    scores = read(folder / "scores.json")["training"]["dev_scores"]
    return [{name: value for name, value in score.items() if name != "seconds"} for score in scores]


def test_the_same_seed_gives_the_same_scores_and_the_same_bytes(runs, method):
    one, other = runs(method), runs(method, again=True)
    assert one != other
    for name in ("quality", "reports", "settings_digest"):
        assert read(one / "scores.json")[name] == read(other / "scores.json")[name], name
    assert dev_scores(one) == dev_scores(other)
    assert (one / "predictions.jsonl").read_bytes() == (other / "predictions.jsonl").read_bytes()
    weights = f"artifact/{WEIGHTS[method]}"
    assert (one / weights).read_bytes() == (other / weights).read_bytes()


def test_another_seed_gives_another_model(runs, method):
    one, other = runs(method), runs(method, seed=1)
    weights = f"artifact/{WEIGHTS[method]}"
    assert (one / weights).read_bytes() != (other / weights).read_bytes()
    assert dev_scores(one) != dev_scores(other)
    assert read(one / "scores.json")["settings_digest"] != read(other / "scores.json")["settings_digest"]


# Other programs


def stock_logits(model: Any, base: Path) -> Any:
    """Logits of a sentence from a model and a tokenizer that transformers loaded without this project."""
    import torch
    from transformers import AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(base)(TEXT, return_tensors="pt")
    with torch.inference_mode():
        return model.eval()(**inputs).logits


def test_stock_peft_loads_the_lora_artifact_and_gives_the_same_logits(runs, tiny_bert):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    from adapters.artifacts import loading

    folder = runs("lora") / "artifact"
    bare = AutoModelForTokenClassification.from_pretrained(tiny_bert, num_labels=5)
    before = stock_logits(bare, tiny_bert)
    stock = PeftModel.from_pretrained(bare, folder)
    ours = loading.load(folder, base=str(tiny_bert)).predictor.model
    found = stock_logits(stock, tiny_bert)
    assert found.shape == (1, 8, 5)
    assert torch.allclose(found, stock_logits(ours, tiny_bert), rtol=0, atol=1e-6)
    assert not torch.allclose(found, before, rtol=0, atol=1e-2), "the adapter has changed what the base says"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "PeftModel" in block]
    names: dict[str, Any] = {}
    exec(code.replace("this/folder", str(folder)).replace(f'"{tiny_bert.name}"', f'"{tiny_bert}"'), names)
    assert torch.equal(stock_logits(names["model"], tiny_bert), found)
    assert names["base"].config.id2label == dict(enumerate(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]))


def test_stock_transformers_loads_the_full_artifact_and_gives_the_same_logits(runs):
    import torch
    from transformers import AutoModelForTokenClassification

    from adapters.artifacts import loading

    folder = runs("full") / "artifact"
    stock = AutoModelForTokenClassification.from_pretrained(folder)
    ours = loading.load(folder).predictor.model
    assert stock.config.id2label == dict(enumerate(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]))
    assert torch.allclose(stock_logits(stock, folder), stock_logits(ours, folder), rtol=0, atol=1e-6)


# From Python


def test_python_needs_three_lines(runs):
    from adapters.artifacts.loading import load

    ner = load(runs("full") / "artifact")
    (answer,) = ner.answer([TEXT])
    assert set(answer) == {"id", "task", "output", "truncated"}
    output = answer["output"]
    assert output["text"] == TEXT
    assert output["tokens"] == ["Ada", "Lovelace", "lived", "in", "London", "."]
    assert len(output["tags"]) == 6
    assert output["entities"]
    for entity in output["entities"]:
        assert TEXT[entity["start"] : entity["end"]] == entity["text"]
        assert entity["label"] in ("LOC", "PER")


def test_the_loaded_artifact_predicts_what_the_run_predicted(folder, loaded, data):
    words = [
        [line.split("\t")[0] for line in block.splitlines()]
        for block in (data / "test.conll").read_text().strip().split("\n\n")
    ]
    answers = loaded.answer([{"tokens": sentence} for sentence in words])
    assert [a["output"]["tags"] for a in answers] == [
        line["prediction"] for line in lines(folder / "predictions.jsonl")
    ]


def test_an_artifact_is_refused_on_another_base(folder, other_bert):
    from adapters.artifacts import loading
    from adapters.core.errors import ArtifactError

    with pytest.raises(ArtifactError, match=r"trained on tiny-bert .* not on other-bert"):
        loading.load(folder / "artifact", base=str(other_bert))


# From the command line


@pytest.fixture
def command(folder: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command("predict", …)`: run `taskswap` on the artifact -> exit code, stdout, stderr."""
    from adapters.cli.main import main

    def call(name: str, *words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        base = ["--base", str(tiny_bert)] if name == "predict" else []
        try:
            code = main([name, str(folder / "artifact"), *map(str, words), *base])
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def marked(output: dict[str, Any]) -> str:
    """A text with each entity in brackets, its type behind it."""
    text = output["text"]
    for entity in reversed(output["entities"]):
        inside = f"[{entity['text']} {entity['label']}]"
        text = text[: entity["start"]] + inside + text[entity["end"] :]
    return text


def test_predict_prints_the_text_with_its_entities_marked(command, loaded):
    code, out, _ = command("predict", TEXT)
    assert code == 0
    (answer,) = loaded.answer([TEXT])
    assert answer["output"]["entities"]
    assert out == marked(answer["output"]) + "\n"


def test_predict_prints_text_as_it_is_even_where_it_looks_like_markup(command, loaded):
    texts = ["the old town [/bold] was [red]near[/red] " + "x " * 60, "", ":smile: \u4f60\u597d"]
    code, out, _ = command("predict", *texts)
    assert code == 0
    assert out.split("\n") == [*(marked(answer["output"]) for answer in loaded.answer(texts)), ""]


def test_predict_prints_json_where_it_is_asked_to(command, loaded):
    code, out, _ = command("predict", TEXT, "in Oslo", "--json")
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["output"] for answer in answers] == [a["output"] for a in loaded.answer([TEXT, "in Oslo"])]
    assert answers[0]["id"] != answers[1]["id"]


def test_predict_keeps_ids_and_order_of_a_file(command, loaded, tmp_path):
    requests = [
        {"id": "b", "inputs": {"text": TEXT}},
        {"id": "a", "text": "Marie Curie worked in Paris."},
        {"inputs": {"tokens": ["Rosa", "Parks"]}},
        "Niels Bohr wrote.",
        {"id": 7, "text": "near Rome"},
        {"id": "ü\u2028", "text": "", "adapter": "ner"},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    code, out, err = command("predict", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")
    assert (code, out) == (0, "")
    assert "6 answered, 0 of them with an error" in err
    answers = lines(tmp_path / "y.jsonl")
    assert [answers[i]["id"] for i in (0, 1, 5)] == ["b", "a", "ü\u2028"]
    assert len({str(answer["id"]) for answer in answers}) == 6
    texts = [answer["output"]["text"] for answer in answers]
    assert texts == [TEXT, "Marie Curie worked in Paris.", "Rosa Parks", "Niels Bohr wrote.", "near Rome", ""]
    assert answers[0]["output"] == loaded.answer([TEXT])[0]["output"]
    assert {path.name for path in tmp_path.iterdir()} >= {"x.jsonl", "y.jsonl"}
    assert not list(tmp_path.glob(".y.jsonl*"))


def test_predict_gives_an_id_back_as_it_was_given(command, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"id": 7, "text": "near Rome"}\n')
    assert command("predict", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")[0] == 0
    assert lines(tmp_path / "y.jsonl")[0]["id"] == 7


def test_one_bad_line_gets_an_error_and_the_rest_an_answer(command, tmp_path):
    bad = ["{not json", '{"id": "n", "inputs": {"text": 5}}', '{"id": "e"}', "[1, 2]", "null"]
    good = json.dumps({"id": "good", "text": TEXT})
    (tmp_path / "x.jsonl").write_text("\n".join([good, *bad, "", good]) + "\n")
    code, _, err = command("predict", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")
    assert code == 0
    assert "7 answered, 5 of them with an error" in err
    answers = lines(tmp_path / "y.jsonl")
    assert ["error" in answer for answer in answers] == [False, True, True, True, True, True, False]
    assert answers[0]["output"] == answers[-1]["output"]
    assert [answers[i]["id"] for i in (2, 3)] == ["n", "e"]
    assert "{'text': string}" in answers[2]["error"]


def test_the_error_of_a_line_that_is_no_json_names_its_place(command, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "near Rome"}\n{not json\n')
    assert command("predict", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")[0] == 0
    error = lines(tmp_path / "y.jsonl")[1]["error"]
    assert "x.jsonl:2" in error and "not JSON" in error


def test_a_line_with_broken_bytes_spoils_no_other(command, tmp_path):
    content = b'{"id": "1", "text": "near Rome"}\n{"id": "2", "text": "\xff\xfe"}\n{"id": "3", "text": "a\\ud800b"}\n'
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    code, _, _ = command("predict", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")
    assert code == 0
    answers = lines(tmp_path / "y.jsonl")
    assert [answer["id"] for answer in answers] == ["1", "2", "3"]
    assert answers[0]["output"]["text"] == "near Rome"


def test_predict_reads_a_txt_file_line_by_line(command, tmp_path):
    (tmp_path / "x.txt").write_bytes(f'{TEXT}\r\n\n{{"text": 1}}\nnear\u2028Rome'.encode())
    code, _, _ = command("predict", "--input", tmp_path / "x.txt", "--output", tmp_path / "y.jsonl")
    assert code == 0
    answers = lines(tmp_path / "y.jsonl")
    assert [answer["output"]["text"] for answer in answers] == [TEXT, "", '{"text": 1}', "near\u2028Rome"]
    assert [answer["id"] for answer in answers] == ["1", "2", "3", "4"]


def test_ids_of_texts_stay_apart_over_many_batches(command, monkeypatch):
    monkeypatch.setattr("adapters.cli.predict.CHUNK", 2)
    _, out, _ = command("predict", "in Oslo", "in Rome", "in Paris", "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["output"]["text"] for answer in answers] == ["in Oslo", "in Rome", "in Paris"]
    assert len({answer["id"] for answer in answers}) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Give texts, or --input"),
        (("a text", "--input", "x.txt"), "one of the two"),
        (("--input", "missing.jsonl"), "no such file"),
        (("--input", "folder"), "is a folder"),
        (("a text", "--output", "folder"), "folder"),
        (("a text", "--output", "missing/y.jsonl"), "does not exist"),
    ],
)
def test_predict_says_what_is_wrong_with_its_input(command, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.txt").write_text("a\n")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = command("predict", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_predict_reads_a_pipe_as_it_reads_a_file(command, tmp_path):
    """`--input /dev/stdin` and `--input <(…)` are pipes: they exist, though they are no regular files."""
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with (tmp_path / "pipe").open("w") as stream:
            stream.write('{"id": "a", "text": "near Rome"}\n')

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    code, out, err = command("predict", "--input", tmp_path / "pipe")
    assert "no such file" not in err
    assert code == 0
    assert json.loads(out)["id"] == "a"


def test_the_answers_of_an_interrupted_predict_are_absent_not_half(command, tmp_path, monkeypatch):
    from adapters.artifacts.loaded import LoadedArtifact

    (tmp_path / "x.txt").write_text("near Rome\n" * 4)
    answer, calls = LoadedArtifact.answer, []

    def stopped(self: Any, requests: Any) -> Any:
        calls.append(len(requests))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, requests)

    monkeypatch.setattr(LoadedArtifact, "answer", stopped)
    monkeypatch.setattr("adapters.cli.predict.CHUNK", 2)
    (tmp_path / "old.jsonl").write_text("kept\n")
    for name in ("y.jsonl", "old.jsonl"):
        calls.clear()
        code, _, err = command("predict", "--input", tmp_path / "x.txt", "--output", tmp_path / name)
        assert (code, calls) == (130, [2, 2])
        assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.jsonl", "x.txt"]
    assert (tmp_path / "old.jsonl").read_text() == "kept\n"


def test_predict_refuses_another_base_and_a_damaged_artifact(folder, tiny_bert, other_bert, tmp_path, capsys):
    from adapters.cli.main import main

    assert main(["predict", str(folder / "artifact"), TEXT, "--base", str(other_bert)]) == 2
    told = capsys.readouterr().err
    assert "trained on tiny-bert" in told and "Use it with tiny-bert" in told
    shutil.copytree(folder / "artifact", tmp_path / "artifact")
    (tmp_path / "artifact" / "extra.bin").write_bytes(b"x")
    assert main(["predict", str(tmp_path / "artifact"), TEXT]) == 2
    assert "none is ever read" in capsys.readouterr().err
    assert main(["predict", str(folder), TEXT, "--base", str(tiny_bert)]) == 0, "the folder of the run will do, too"
    capsys.readouterr()
    assert main(["inspect", str(folder / "artifact"), "--base", str(tiny_bert)]) == 0
    assert f"that the artifact was trained on; in {tiny_bert}" in capsys.readouterr().out


def test_inspect_prints_what_is_in_an_artifact(command, folder, method):
    code, out, _ = command("inspect")
    assert code == 0
    scores = read(folder / "scores.json")
    assert f"{method} for ner on tiny-bert" in out
    assert "labels: O, B-LOC, I-LOC, B-PER, I-PER" in out
    assert f"{100 * scores['main']['value']:.2f}" in out
    assert f"{WEIGHTS[method]}: " in out and " tensors, " in out
    assert "verified" in out


# Data without a dev or a test split


def test_without_a_test_split_the_scores_are_named_dev(tiny_bert, data, tmp_path):
    files = ["--train_file", str(data / "train.conll"), "--max_train_steps", "2"]
    folder = run("lora", tmp_path / "run", tiny_bert, data, *files)
    scores = read(folder / "scores.json")
    assert scores["dataset"]["split"] == "dev"
    sizes = scores["dataset"]["sizes"]
    assert sizes["train"] + sizes["validation"] == 120
    assert scores["dataset"]["n"] == sizes["validation"] > 0
    assert "dev Entity F1" in (folder / "report.txt").read_text()


def test_examples_that_stand_in_train_and_test_are_counted(tiny_bert, data, tmp_path):
    shown = (data / "train.conll").read_text().split("\n\n")
    shown[0] = shown[0].upper()  # which is the same to an uncased base
    (tmp_path / "both.conll").write_text("\n\n".join([*shown[:3], (data / "test.conll").read_text()]))
    files = [str(data / "train.conll"), str(data / "dev.conll"), str(tmp_path / "both.conll")]
    flags = [
        word for pair in zip(("--train_file", "--validation_file", "--test_file"), files, strict=True) for word in pair
    ]
    folder = run("lora", tmp_path / "run", tiny_bert, data, *flags, "--max_train_steps", "2")
    scores = read(folder / "scores.json")
    assert scores["overlap"]["count"] == 3
    assert scores["overlap"]["first"][0]["test"].endswith("both.conll:1")
    assert scores["overlap"]["equal"] == 2
    report = " ".join((folder / "report.txt").read_text().split())
    assert "note: 3 examples of test are in train too, as the tokenizer sees texts; to the letter: 2" in report
