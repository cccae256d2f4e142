"""Every command of README is run, at two steps' size; those that need the Hub are read and dry-run on a local file."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, write_tagged

SMALL = [
    "--max_train_steps", "2", "--max_train_samples", "40", "--max_eval_samples", "10", "--max_predict_samples", "10",
]  # fmt: skip
FEW = ["--seeds", "1", "--methods", "head,lora,few_shot", "--max_new_tokens", "4", "--also_on_prompt_base"]
"""A comparison of three cells; test_compare_recipe.py runs all six methods at tiny size."""
GRID = ["--prompts", "classification_few", "--shots", "0,1", "--orders", "1"]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)


def blocks(name: str, kind: str) -> list[tuple[str, list[str]]]:
    """(mark, lines) of each fenced block of a kind in a README."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return [(m["mark"] or "", m["body"].strip().splitlines()) for m in BLOCK.finditer(text) if m["kind"] == kind]


def marked(mark: str) -> list[str]:
    """The lines of the block behind a mark."""
    found = [lines for name, lines in blocks("README.md", "bash") if name == mark]
    assert len(found) == 1, mark
    return found[0]


def commands(*, hub: bool) -> list[list[str]]:
    """Commands of the unmarked blocks, or of those that need the Hub."""
    wanted = "needs: hub" if hub else ""
    return [shlex.split(line) for mark, lines in blocks("README.md", "bash") if mark == wanted for line in lines]


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a README command with this environment's own python and accelerate."""
    names = {"python": [sys.executable], "accelerate": [sys.executable, "-m", "accelerate.commands.accelerate_cli"]}
    return subprocess.run(
        [*names[command[0]], *command[1:]], cwd=cwd, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipes and the files that README's commands name."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    for name in ("train", "dev", "test"):
        write_tagged(folder / f"{name}.conll", 40)
    notes = [{"text": "Ada lived in Paris.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}] * 20
    notes += [
        {"text": f"Alan wrote {n} notes.", "entities": [{"start": 0, "end": 4, "label": "PER"}]} for n in range(40)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    for name in ("reviews", "more"):
        lines = [f"{'Good' if n % 2 else 'Bad'} film {n},{'fresh' if n % 2 else 'rotten'}" for n in range(40)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    for name in ("train", "test"):
        for language, text in (("en", "A dog runs."), ("de", "Ein Hund rennt.")):
            (folder / f"{name}.{language}").write_text("".join(f"{text} {n}\n" for n in range(40)))
    answers = [{"text": "Angela", "answer_start": 0}]
    paragraphs = [{"context": f"Angela visited Paris {n} times.", "qas": [
        {"id": f"q{n}", "question": "Who visited Paris?", "answers": answers}]} for n in range(40)]  # fmt: skip
    (folder / "questions.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    texts = [{"id": f"t{n}", "text": "Angela Merkel visited Paris."} for n in range(3)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    return folder


MAIN = shlex.split(marked("command: main")[-1])
EVERY = [MAIN, *commands(hub=False)]


def test_readme_begins_with_the_reference_case() -> None:
    assert MAIN == ["accelerate", "launch", "recipes/lora_ner.py"] and len(EVERY) >= 10


@pytest.mark.network
@pytest.mark.parametrize("number", range(len(EVERY)), ids=[" ".join(command[1:4]) for command in EVERY])
def test_every_command_of_readme_runs_at_two_steps_size(clone: Path, number: int) -> None:
    """In their order: some take what those before them leave."""
    command = EVERY[number]
    recipe = any(word.startswith("recipes/") or word == "run" for word in command)
    several = any(word.startswith("recipes/compare_") for word in command)
    more = [*(FEW if several else GRID if "recipes/prompt_lab.py" in command else [])]
    more += ["--max_new_tokens", "8"] if "few_shot" in command or "recipes/prompt_ner.py" in command else []
    done = run([*command, *(SMALL if recipe else []), *more], clone)
    assert done.returncode == 0, (command, done.stderr[-2000:])
    assert done.stdout.strip() or "--output" in command, command


@pytest.mark.network
def test_what_the_commands_of_readme_leave(clone: Path) -> None:
    answers = [json.loads(line) for line in (clone / "answers.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == ["t0", "t1", "t2"]
    (snippet,) = ["\n".join(lines) for _, lines in blocks("README.md", "python") if "AdapterBank(" in "".join(lines)]
    done = run(["python", "-c", snippet + "\nprint(len([a for a in answers if 'output' in a]))"], clone)
    assert done.stdout.split()[-1] == "2", done.stderr[-2000:]
    report = (clone / "runs/lora_ner/report.txt").read_text()
    assert "Entities" in report and "95 % interval" in report


@pytest.mark.network
def test_the_three_lines_of_python_and_the_lines_of_stock_peft_run(clone: Path, minilm_folder: Path) -> None:
    if not (clone / "runs/lora_ner/artifact").is_dir():
        assert run(["python", "recipes/lora_ner.py", *SMALL], clone).returncode == 0
    snippets = ["\n".join(lines) for _, lines in blocks("README.md", "python")][:2]  # more: test_plugins_of_readme.py
    assert all("import" in snippet and "artifact" in snippet for snippet in snippets)
    for snippet in snippets:
        local = snippet.replace("sentence-transformers/all-MiniLM-L6-v2", str(minilm_folder))
        done = run(["python", "-c", local], clone)
        assert done.returncode == 0, done.stderr[-2000:]


def test_commands_that_need_the_hub_name_flags_that_exist_and_run_on_local_files(
    run_recipe, tagged: Path, tiny_bert: Path
) -> None:
    every = commands(hub=True)
    assert every
    for command in every:
        assert command[0] == "python" and (REPOSITORY / command[1]).is_file(), command
        local = {"bert-base-cased": str(tiny_bert), "tomaarsen/conll2003": str(tagged)}
        flags = [local.get(word, word) for word in command[2:]]
        flags[flags.index("--output_dir") + 1] = str(tagged / "run")
        assert run_recipe(Path(command[1]).stem, *flags, *SMALL) == 0, command


def test_the_prompt_of_readme_is_one(tmp_path: Path) -> None:
    from adapters.labels import tag_labels
    from adapters.prompting import template
    from adapters.tasks.ner import Task

    (_, lines), *_ = blocks("README.md", "toml")
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    prompt = template.read(tmp_path / "mine.toml", Task(tag_labels(["PER", "LOC"])))
    assert prompt.names == {"PER": "person"} and prompt.query.startswith("Text: {{text}}")


def test_the_translation_has_the_same_commands_and_numbers() -> None:
    assert blocks("README.zh-CN.md", "bash") == blocks("README.md", "bash")
    assert blocks("README.zh-CN.md", "python") == blocks("README.md", "python")
    assert blocks("README.zh-CN.md", "text")[:2] == blocks("README.md", "text")[:2]
    texts = [(REPOSITORY / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")]
    english, chinese = (re.findall(r"\d+\.\d+", text) for text in texts)
    assert sorted(english) == sorted(chinese)
    headings = [len(re.findall(r"^## ", text, re.MULTILINE)) for text in texts]
    assert headings[0] == headings[1] > 5


def test_ci_runs_the_test_command_of_readme() -> None:
    awk = (REPOSITORY / ".ci/run").read_text()
    assert "command_of_readme tests" in awk
    lines = marked("command: tests")
    assert lines[-1].startswith("python -m pytest")
    assert 'pip install -q -e ".[test]"' in lines
