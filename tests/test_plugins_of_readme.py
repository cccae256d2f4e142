"""The five files of README's section *Add your own* are a method, a task, a metric, a reader and a prompt that work."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import FILLERS, FIRST, REPOSITORY, build_tiny_bert

from adapters import discovery
from adapters.comparison.cells import clean_environment
from adapters.prompting import template

SECTION = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## Add your own\n")[2].partition("\n## ")[0]
FILES = re.compile(r"`mine/(?P<path>[\w/.]+)`[^`]*```(?:python|toml)\n(?P<body>.*?)```", re.DOTALL)
COMMANDS = shlex.split(SECTION.partition("```bash\n")[2].partition("```")[0].replace("\n", " ; "))
LINES = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with README's files, data that they read, and tiny bases."""
    folder = tmp_path_factory.mktemp("plugins")
    for found in FILES.finditer(SECTION):
        path = folder / "mine" / found["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["body"], encoding="utf-8")
    draw = random.Random(0)
    rows = [(f"{draw.choice(FIRST)} lived", " ".join(draw.choices(FILLERS, k=4)), draw.choice(["for", "against"]))
            for _ in range(60)]  # fmt: skip
    (folder / "claims.pipes").write_text("".join(" | ".join(row) + "\n" for row in rows))
    build_tiny_bert(folder / "bert")
    tiny.llama(folder / "llama")
    return folder


def run(words: list[str], place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    where = {"python": [sys.executable], "recipes": str(REPOSITORY / "recipes")}
    command = [
        *where["python"],
        *(str(REPOSITORY / word) if word.startswith("recipes/") else word for word in words[1:]),
    ]
    environment = {**clean_environment(os.environ), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *flags], cwd=place, env=environment, capture_output=True, text=True, check=False)


def commands() -> list[list[str]]:
    out: list[list[str]] = [[]]
    for word in COMMANDS:
        if word == ";":
            out.append([])
        else:
            out[-1].append(word)
    return [words for words in out if words]


def test_there_is_a_file_of_each_sort_and_none_is_long(place: Path) -> None:
    paths = sorted((place / "mine").rglob("*.*"))
    assert [path.relative_to(place / "mine").parts[0] for path in paths] == [
        "data", "methods", "metrics", "prompts", "tasks"
    ]  # fmt: skip
    assert all(len(path.read_text().splitlines()) <= LINES for path in paths)
    assert len(commands()) == 4


def test_each_is_found_by_its_name_in_that_folder_alone(place: Path) -> None:
    for folder, name in (
        ("methods", "last_layer"),
        ("tasks", "stance"),
        ("metrics", "first_letter"),
        ("data", "pipes"),
    ):
        assert name in discovery.names(folder, [str(place / "mine")]) and name not in discovery.names(folder)
    assert "classification_stance" in template.paths([str(place / "mine")])
    assert "classification_stance" not in template.paths()


@pytest.mark.parametrize(
    "words", commands(), ids=lambda words: words[words.index("--output_dir") + 1].rpartition("/")[2]
)
def test_the_commands_of_the_section_run(words: list[str], place: Path) -> None:
    flags = ["--model_name_or_path", "bert", "--mixed_precision", "no", "--num_train_epochs", "1"]
    if any("compare" in word for word in words):
        flags += ["--seeds", "1", "--prompt_model_name_or_path", "llama", "--also_on_prompt_base", "--shots", "1"]
    done = run(words, place, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    out = place / words[words.index("--output_dir") + 1]
    if "compare" in " ".join(words):
        methods = [row["method"] for row in json.loads((out / "comparison.json").read_text())["rows"]]
        assert methods == words[words.index("--methods") + 1].split(",")
        return
    record = json.loads((out / "scores.json").read_text())
    assert record["main"]["metric"] == "accuracy" and set(record["labels"]) == {"against", "for"}
    assert ("first_letter" in record["quality"]) == ("first_letter" in words)
    if "stance" in words:
        asked = place / "asked.jsonl"
        asked.write_text(json.dumps({"claim": "Ada lived", "text": "in a town"}) + "\n")
        more = ["--base", "bert", "--plugin_dir", "mine"]
        answer = run(["python", "-m", "adapters", "predict", f"{out}/artifact", "--input", str(asked), *more], place)
        assert json.loads(answer.stdout)["output"]["label"] in ("against", "for")
        assert run(["python", "-m", "adapters", "predict", f"{out}/artifact", "--input", str(asked)], place).returncode


def test_a_fault_in_the_file_of_a_readers_own_is_said_at_its_line(place: Path) -> None:
    (place / "bad.pipes").write_text("a | b | for\nc | against\n")
    words = [
        *commands()[0][:-4],
        "--train_file",
        "bad.pipes",
        "--output_dir",
        "runs/bad",
        "--model_name_or_path",
        "bert",
    ]
    done = run(words, place)
    assert done.returncode == 2 and "bad.pipes:2: 2 cells" in done.stderr
