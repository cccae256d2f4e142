"""The files of docs/plugins.md are a method, a task, a metric, a reader, a strategy, an attribution method and a prompt
that work."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import tiny
from conftest import FILLERS, FIRST, REPOSITORY, build_tiny_bert
from doc_pages import marked, plugin_files

from adapters.core import discovery
from adapters.core.discovery import FOLDERS
from adapters.prompting import template

pytestmark = pytest.mark.slow

COMMANDS = marked("plugins").commands()
LINES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, the recipes, data that the files read, and tiny bases."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    for name, body in plugin_files().items():
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
    draw = random.Random(0)
    rows = [
        (f"{draw.choice(FIRST)} lived", " ".join(draw.choices(FILLERS, k=4)), draw.choice(["for", "against"]))
        for _ in range(60)
    ]
    (folder / "claims.pipes").write_text("".join(" | ".join(row) + "\n" for row in rows))
    for name in ("claims", "replies"):
        (folder / f"{name}.toml").write_text('task = "stance"\ntrain_file = "claims.pipes"\n')
    build_tiny_bert(folder / "bert")
    tiny.llama(folder / "llama")
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, runs_in_process: None) -> Path:
    monkeypatch.chdir(folder)
    return folder


def run(words: list[str], *flags: str) -> int:
    """Run a command of the page in this process; its exit code."""
    from adapters.cli.main import main

    before = sys.argv
    try:
        if words[0] == "taskswap":
            return main([*words[1:], *flags])
        sys.argv = [*words[1:], *flags]
        runpy.run_path(words[1], run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_there_is_a_file_of_each_kind_and_none_is_long(folder: Path) -> None:
    paths = {path: folder / "mine" / path for path in plugin_files()}
    assert sorted(path.rpartition("/")[0] for path in paths) == sorted([*FOLDERS.values(), "prompts"])
    assert all(path.is_file() and len(path.read_text().splitlines()) <= LINES for path in paths.values())
    assert len(COMMANDS) == 5


def test_each_is_found_by_its_name_in_that_folder_only(folder: Path) -> None:
    for kind, name in (
        ("methods", "last_layer"),
        ("tasks", "stance"),
        ("metrics", "first_letter"),
        ("readers", "pipes"),
        ("strategies", "rehearse_first"),
        ("explanations", "alone"),
        ("formats", "label_list"),
    ):
        assert name in discovery.names(kind, [str(folder / "mine")]) and name not in discovery.names(kind)
    assert "classification_stance" in template.paths([str(folder / "mine")])
    assert "classification_stance" not in template.paths()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: after(words, "--output_dir").rpartition("/")[2])
def test_the_commands_of_the_page_run(words: list[str], here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--model_name_or_path", "bert", "--mixed_precision", "no", "--num_train_epochs", "1"]
    compares = "compare" in " ".join(words)
    if compares:
        flags += ["--seeds", "1", "--prompt_model_name_or_path", "llama", "--also_on_prompt_base", "--shots", "1"]
        flags += ["--tuning_trials", "0"]
    assert run(words, *flags) == 0, capfd.readouterr().err[-2000:]
    out = here / after(words, "--output_dir")
    if compares:
        methods = [row["method"] for row in json.loads((out / "comparison.json").read_text())["rows"]]
        assert methods == after(words, "--methods").split(",")
        return
    if "continual" in words:
        (row,) = json.loads((out / "continual.json").read_text())["rows"]
        assert row["strategy"] == "rehearse_first"
        return
    record = json.loads((out / "scores.json").read_text())
    assert record["main"]["metric"] == "accuracy" and set(record["labels"]) == {"against", "for"}
    assert ("first_letter" in record["quality"]) == ("first_letter" in words)


def test_an_artifact_of_a_plugin_answers_where_the_folder_is_named_and_only_there(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command before has left it."""
    (artifact,) = here.glob("runs/stance/artifact")
    (here / "requests.jsonl").write_text(json.dumps({"claim": "Ada lived", "text": "in a town"}) + "\n")
    words = ["taskswap", "export", str(artifact), "--format", "label_list", "--output_dir", "labels"]
    assert run(words, "--plugin_dir", "mine") == 0 and "2 labels in labels" in capfd.readouterr().out
    assert (here / "labels" / "labels.txt").read_text() == "against\nfor\n"
    words = ["taskswap", "predict", str(artifact), "--input", "requests.jsonl"]
    assert run(words, "--base", "bert", "--plugin_dir", "mine") == 0
    assert json.loads(capfd.readouterr().out)["output"]["label"] in ("against", "for")
    assert run(words) == 2


def test_an_answer_is_explained_by_the_attribution_method_of_the_page(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A command before has left the artifact."""
    words = ["taskswap", "explain", "runs/letters/artifact", "in a town", "--base", "bert", "--json"]
    assert run(words, "--plugin_dir", "mine", "--method", "alone") == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["method"], [part["text"] for part in record["parts"]]) == ("alone", ["in", "a", "town"])
    assert any(part["value"] for part in record["parts"])
    assert run(words, "--method", "alone") == 2


def test_a_fault_that_a_plugin_reader_finds_is_reported_at_its_line(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.pipes").write_text("a | b | for\nc | against\n")
    flags = ["--train_file", "bad.pipes", "--output_dir", "runs/bad", "--model_name_or_path", "bert"]
    assert run(COMMANDS[0][:-4], *flags) == 2
    assert "bad.pipes:2: 2 cells" in capfd.readouterr().err
