"""What is cached of a plugin's work is not read again when its code has changed."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FILLERS, forget_accelerate
from doc_pages import plugin_files

import adapters
from adapters.cli.main import main
from adapters.core import discovery
from adapters.data.readers import csv


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugins of the pages, and a file that they read."""
    for name, body in plugin_files().items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
    draw = random.Random(0)
    rows = [f"{' '.join(draw.choices(FILLERS, k=3))} | {row} | {'for' if row % 2 else 'against'}" for row in range(40)]
    (tmp_path / "claims.pipes").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(base: Path, out: str) -> Any:
    """A run as a new process would make it; the number of tokens that it learned from, and the first inputs."""
    for name in [name for name in sys.modules if name.startswith("taskswap_plugin_")]:
        del sys.modules[name]
    forget_accelerate()
    flags = {
        "--task": "stance",
        "--method": "full",
        "--plugin_dir": "mine",
        "--train_file": "claims.pipes",
        "--test_file": "claims.pipes",  # a row that is edited may be cut to another dev split
        "--model_name_or_path": base,
        "--output_dir": out,
        "--mixed_precision": "no",
        "--max_train_steps": 1,
    }
    assert main(["train", *(str(word) for pair in flags.items() for word in pair)]) == 0
    scores = json.loads(Path(out, "scores.json").read_text())
    first = json.loads(Path(out, "predictions.jsonl").read_text().splitlines()[0])
    return scores["training"]["tokens"], first["inputs"]


def test_rows_are_read_again_with_an_edited_reader_and_learned_again_with_an_edited_task(
    tiny_bert: Path, place: Path
) -> None:
    tokens, inputs = run(tiny_bert, "first")
    again, same = run(tiny_bert, "again")
    assert again == tokens and same == inputs
    reader = place / "mine/data/readers/pipes.py"
    reader.write_text(reader.read_text().replace("cell.strip() for", "cell.strip().upper() for"))
    _, edited = run(tiny_bert, "reader")
    assert edited != inputs and {name: value.lower() for name, value in edited.items()} == inputs
    task = place / "mine/tasks/stance.py"
    task.write_text(task.read_text().replace('texts_of(examples, "claim"), texts', '["a"] * len(examples), texts'))
    fewer, _ = run(tiny_bert, "task")
    assert fewer < 0.9 * tokens, "claims are one token now"


def test_a_plugins_version_is_that_of_its_whole_folder_and_ours_is_the_version_of_taskswap(place: Path) -> None:
    plugins = [str(place / "mine")]
    kind = discovery.load("metrics", "first_letter", plugins).Metric
    before = discovery.code_version(kind)
    assert before == discovery.code_version(kind) == discovery.files_version(plugins) != adapters.__version__
    (place / "mine/evaluation/metrics/_shared.py").write_text("VALUE = 1\n")
    assert discovery.code_version(kind) != before
    assert discovery.code_version(csv.CsvSource) == discovery.files_version([]) == adapters.__version__
