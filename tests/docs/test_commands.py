"""The commands and Python blocks of README and docs/ are run, in the order of the pages, at two steps' size.

They run in this process, in a folder where tiny models and data have the names of the aliases (a local path comes
before an alias), so that nothing is fetched and each takes a second. Processes are started only for the first command
of README, which is run as it is, for `taskswap launch`, for the runs of three comparisons, and for a server.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import customers
import forked
import news
import pytest
import shop
import small_sources
import tiny
from conftest import FIRST, REPOSITORY, call_recipe
from doc_pages import PAGES, Block, all_blocks, blocks, marked, plugin_files

pytestmark = pytest.mark.slow

SMALL = [
    "--max_train_steps",
    "2",
    "--max_train_samples",
    "40",
    "--max_eval_samples",
    "10",
    "--max_predict_samples",
    "10",
    "--mixed_precision",
    "no",
    "--overwrite_output_dir",
]
REAL = SMALL[:-3]
"""For the first command of README, on its real model and data."""
TOKEN = "admin-token-of-the-pages"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def plain(words: list[str]) -> list[str]:
    """A command without what starts it: a recipe's file or a subcommand, and the flags."""
    starts = (["accelerate", "launch"], ["taskswap"], ["python", "-m", "adapters"], ["python"])
    start = next(start for start in starts if words[: len(start)] == start)
    return words[len(start) :]


def commands() -> list[list[str]]:
    """Every command that is run here, once: those of unmarked blocks, and the one that README begins with."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            found += block.commands() if not block.mark else []
            found += block.commands()[-1:] if block.mark == "command: main" else []
    first: dict[tuple[str, ...], list[str]] = {}
    for words in found:
        first.setdefault(tuple(plain(words)), words)
    return list(first.values())


def python_blocks() -> list[Block]:
    """Those that are no plugin files and need no server."""
    return [block for block in all_blocks("python", "") if not block.plugin]


EVERY = commands()
PYTHON = python_blocks()


def write_chinese(folder: Path) -> None:
    """What the page about Chinese reads."""
    reviews = [f"{'很好' if n % 2 else '太差'}，第{n}次买,{'好评' if n % 2 else '差评'}" for n in range(40)]
    (folder / "reviews_zh.csv").write_text("\n".join(["text,label", *reviews]) + "\n", encoding="utf-8")
    pairs = [{"sentence1": f"今天{n}度", "sentence2": f"有{n}度吗", "label": str(n % 2)} for n in range(40)]
    (folder / "pairs_zh.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    tagged = "曹 B-PER\n雪 M-PER\n芹 E-PER\n在 O\n京 S-LOC\n{} O\n"
    (folder / "people_zh.bmes").write_text("\n".join(tagged.format(n) for n in range(40)), encoding="utf-8")
    asked = [
        {
            "id": f"q{n}",
            "question": "谁？",
            "context": f"曹雪芹写了{n}回",
            "answers": {"text": ["曹雪芹"], "answer_start": [0]},
        }
        for n in range(40)
    ]
    (folder / "questions_zh.json").write_text(json.dumps(asked))
    (folder / "train.zh").write_text("".join(f"狗在跑{n}\n" for n in range(40)), encoding="utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipes, README's plugin, and all that the commands name, tiny."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("recipes", "accelerate_configs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    small_sources.write(folder)
    tiny.roberta(folder / "e5")  # bytes: it reads Chinese
    for path in (folder / "conll2003").iterdir():
        shutil.copy(path, folder)
    for name in ("reviews", "more"):
        small_sources.write_reviews(folder / f"{name}.csv")
    for file in ("pairs", "more_pairs"):
        pairs = [f"{name} lived in Oslo {n}\t{FIRST[0]} lived\t{n % 6}.0" for n, name in enumerate(FIRST * 5)]
        (folder / f"{file}.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *pairs]) + "\n")
    lives = [
        f"<e1>{name}</e1> {'lived in' if n % 2 else 'or'} <e2>Oslo</e2> {n},{'lives_in' if n % 2 else 'no_relation'}"
        for n, name in enumerate(FIRST * 5)
    ]
    (folder / "relations.csv").write_text("\n".join(["text,relation", *lives]) + "\n")
    ratings = [f"A film for {name} {n},{1 + n % 5}" for n, name in enumerate(FIRST * 5)]
    (folder / "ratings.csv").write_text("\n".join(["text,stars", *ratings]) + "\n")
    notes = [{"text": "Ada lived in Paris.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}] * 20
    notes += [
        {"text": f"Alan wrote {n} notes.", "entities": [{"start": 0, "end": 4, "label": "PER"}]} for n in range(40)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    for name in ("train", "test"):
        for language, sentence in (("en", "A dog runs."), ("de", "Ein Hund rennt.")):
            (folder / f"{name}.{language}").write_text("".join(f"{sentence} {n}\n" for n in range(40)))
    answers = [{"text": "Angela", "answer_start": 0}]
    paragraphs = [
        {
            "context": f"Angela visited Paris {n} times.",
            "qas": [{"id": f"q{n}", "question": "Who visited Paris?", "answers": answers}],
        }
        for n in range(40)
    ]
    (folder / "questions.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    write_chinese(folder)
    texts = [("id", "text"), *((f"t{n}", "Angela Merkel visited Paris.") for n in range(3))]
    (folder / "texts.csv").write_text("".join(f"{id},{text}\n" for id, text in texts))
    for name in ("news", "support"):
        rows = [f"{'Goals' if n % 2 else 'Votes'} of day {n},{'sports' if n % 2 else 'politics'}" for n in range(40)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    for block in [
        *blocks("docs/comparing.md", "toml"),
        *blocks("docs/continual.md", "toml"),
        *blocks("docs/customer_service.md", "toml"),
    ]:
        (name,) = re.findall(r"`(\w+\.toml)`", block.intro)
        (folder / name).write_text(block.body)
    customers.company(folder / "company")
    (folder / "company" / "handbook").rename(folder / "handbook")
    asked = [[row.get(name) or "" for name in customers.COLUMNS] for row in customers.rows(12, 1)]
    (folder / "questions.csv").write_text("".join(",".join(row) + "\n" for row in [[*customers.COLUMNS], *asked]))
    news.write(folder / "news.jsonl", news.rows(30))
    of_pages = {"item_id": "m1", "title": "Jaws", "tags": ["sea"], "price": 3, "published": "1975-06-20"}
    shop.write(Path(shop.files(folder)["items_file"]), [*shop.items(), of_pages])
    (marked_text,) = blocks("docs/explaining.md", "json")
    (folder / "marked.jsonl").write_text(marked_text.body * 3)
    for path, body in plugin_files("README.md").items():
        (folder / "mine" / path).parent.mkdir(parents=True)
        (folder / "mine" / path).write_text(body, encoding="utf-8")
    return folder


@pytest.fixture
def here(clone: Path, monkeypatch: pytest.MonkeyPatch, runs_in_process: None) -> Path:
    monkeypatch.chdir(clone)
    return clone


def smaller(words: list[str]) -> list[str]:
    """A command without what starts it, and with flags that make it small.

    The runs of two comparisons are run: those of the recipe's defaults, and those of `taskswap compare`. The others are
    checked, planned, and written down for a scheduler that there is not.
    """
    words = plain(words)
    what = " ".join(words)
    learns = words[0] == "customer_service" and "--ask" not in words
    finished = "--tasks" in words and ".toml" not in what
    compares = "compare" in words[0] and ("--task" in what or words[0].startswith("recipes/")) and not finished
    if words[0] == "continual" and "--tasks" in words:
        return [*words, *SMALL]
    if words[0] == "recipes/recommend.py":  # small as it is
        return words
    if not (compares or words[0].startswith("recipes/") or words[0] in ("train", "lab") or learns):
        return words
    more = [*SMALL]
    if any(name in what for name in ("few_shot", "zero_shot", "prompt", "compare", "--task translation")):
        more += ["--max_new_tokens", "8"]
    if "prompt_lab" in what or words[0] == "lab":
        more += ["--shots", "0,1", "--seeds", "1"]
    if "prompt_lab" in what:
        more += ["--prompts", "classification_few"]
    if compares:
        more += ["--seeds", "1", "--tuning_trials", "0"]
        if "--methods" not in words:
            more += ["--methods", "head,few_shot", "--also_on_prompt_base"]
        elif words[0] != "compare":
            more += ["--launcher", "slurm"]
    return [*words, *more]


def run_here(words: list[str]) -> int:
    """Run a recipe or a subcommand in this process; its exit code."""
    from adapters.cli.main import main

    return call_recipe(Path(words[0]), words[1:]) if words[0].startswith("recipes/") else main(words)


@pytest.fixture
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python blocks train and compare, at two steps' size too."""
    import adapters

    for name, given in (("train", {}), ("compare", {"seeds": 1})):
        call = partial(getattr(adapters, name), max_train_steps=2, mixed_precision="no", **given)
        monkeypatch.setattr(adapters, name, call)


def on_one_core() -> None:
    """Let this process run on one core: threads for all of them wait for those of the tests that run beside it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def test_the_front_page_begins_with_the_reference_case() -> None:
    first = marked("command: main").commands()
    assert first[-1] == ["accelerate", "launch", "recipes/lora_ner.py"]
    assert first[-2] == ["pip", "install", "-e", "."]
    assert len(EVERY) >= 35 and len(PYTHON) >= 5


@pytest.mark.network
def test_the_first_command_of_the_front_page_runs_on_its_own_model_and_data(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "recipes", tmp_path / "recipes")
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli"]
    words = [*launcher, *marked("command: main").commands()[-1][1:], *REAL]
    done = subprocess.run(
        words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, preexec_fn=on_one_core
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Entities" in done.stdout and "95 % interval" in done.stdout
    card = json.loads((tmp_path / "runs/lora_ner/artifact/card.json").read_text())
    assert card["base"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize("number", range(len(EVERY)), ids=[" ".join(plain(words)[:4]) for words in EVERY])
def test_every_command_runs_at_two_steps_size(
    here: Path, number: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In their order: some use what those before them leave."""
    words = EVERY[number]
    if plain(words)[0] == "launch":  # it becomes the launcher, which tests/recipes starts
        _, flag, processes, *recipe = plain(words)
        assert flag == "--num_processes"
        assert "Entities" in forked.launched(int(processes), [*recipe, *SMALL], tmp_path, cwd=here)
        return
    code = run_here(smaller(words))
    said = capfd.readouterr()
    assert code == 0, (words, said.err[-2000:])
    assert said.out.strip() or "--output" in words, words


def test_what_the_commands_leave(here: Path) -> None:
    answers = [json.loads(line) for line in (here / "answers.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == ["t0", "t1", "t2"]
    assert "Entities" in (here / "runs/lora_ner/report.txt").read_text()
    assert {path.name for path in (here / "runs/lora_ner").iterdir() if not path.name.startswith(".")} >= {
        "settings.json",
        "artifact",
        "predictions.jsonl",
        "scores.json",
        "report.txt",
        "curve.svg",
    }
    rows = json.loads((here / "runs/compare_ner/comparison.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["head", "few_shot"]
    assert (here / "runs/sizes/runs.sbatch").is_file()


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, object]]:
    """The names of each page's Python blocks so far, as a notebook keeps them."""
    return {}


@pytest.mark.filterwarnings("ignore:.*no card:UserWarning")
@pytest.mark.parametrize(
    "number", range(len(PYTHON)), ids=[f"{b.page}:{b.body.split(chr(10))[-2][:30]}" for b in PYTHON]
)
def test_python_blocks_run_in_order(
    here: Path, small_calls: None, number: int, cells: dict[str, dict[str, object]]
) -> None:
    block = PYTHON[number]
    names = cells.setdefault(block.page, {"__name__": "__main__"})
    code = block.body.replace("sentence-transformers/all-MiniLM-L6-v2", "minilm")
    exec(compile(code, block.page, "exec"), names)
    answers = names.get("answers", [])
    assert isinstance(answers, list) and all("output" in answer for answer in answers), answers


@pytest.fixture(scope="module")
def url(clone: Path) -> Iterator[str]:
    """The address of the server that README starts."""
    with served(clone, "--adapter_root") as address:
        yield address


@pytest.fixture(scope="module")
def writing_url(clone: Path) -> Iterator[str]:
    """The address of the server that writes."""
    with served(clone, "smollm2") as address:
        yield address


@pytest.fixture(scope="module")
def desk_url(clone: Path) -> Iterator[str]:
    """The address of the server of customer service."""
    with served(clone, "customer_service=runs/customer_service") as address:
        yield address


@contextmanager
def served(clone: Path, word: str) -> Iterator[str]:
    """The server whose command has a word, on a port that is free."""
    from adapters.serving.http.client import Client

    (words,) = [words for words in serving_commands() if words[:2] == ["taskswap", "serve"] and word in words]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, environment = [*words[1:], "--port", port], {"TASKSWAP_ADMIN_TOKEN": TOKEN}
    process = forked.Forked(words, clone / "server.log", cwd=clone, environment=environment)
    try:
        with Client(f"http://127.0.0.1:{port}", retries=0) as client:
            limit = time.monotonic() + 120
            while not client.ready():
                assert process.poll() is None and time.monotonic() < limit
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def serving_commands() -> list[list[str]]:
    found = [words for block in all_blocks("bash", "serving") for words in block.commands()]
    return list(map(list, dict.fromkeys(map(tuple, found))))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_is_answered_by_the_server_of_the_pages(url: str) -> None:
    (said,) = said_by_curl("/v1/predict", url)
    assert [answer["task"] for answer in json.loads(said)] == ["ner", "classification"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_has_texts_written(writing_url: str) -> None:
    whole, streamed = said_by_curl("/v1/generate", writing_url)
    assert json.loads(whole)["output"]["completion_tokens"] <= 8
    *parts, last = map(json.loads, streamed.splitlines())
    assert "".join(part["text"] for part in parts) == last["output"]["completion"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_has_an_answer_explained(url: str) -> None:
    (said,) = map(json.loads, said_by_curl("/v1/explain", url))
    assert [part["text"] for part in said["explanation"]["parts"]] == ["A", "joy", "."]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_loads_a_version_and_returns_to_the_former_one(url: str) -> None:
    loaded, back = map(json.loads, said_by_curl("/v1/adapters", url))
    assert (loaded["version"], back["version"], back["folder"]) == (2, 3, loaded["folder"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_talks_with_customer_service(desk_url: str) -> None:
    answer, history = map(json.loads, said_by_curl("/v1/conversations", desk_url))
    assert [(turn["asked"], turn["text"]) for turn in history] == [("Where is my card?", answer["text"])]


@pytest.fixture(scope="module")
def shop_url(clone: Path) -> Iterator[str]:
    """The address of the server of recommendations."""
    with served(clone, "recommendation=runs/recommend") as address:
        yield address


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_of_the_pages_is_recommended_items_and_tells_an_event(shop_url: str) -> None:
    answer, taken = map(json.loads, said_by_curl("/v1/recommend", shop_url))
    assert len(answer["items"]) == 3 and answer["basis"] == "history" and taken == {"events": 1}


def said_by_curl(path: str, url: str) -> list[str]:
    """What a server answers to the commands of the pages for a path."""
    found = [words for words in serving_commands() if words[0] == "curl" and any(path in word for word in words)]
    return [
        subprocess.run(
            [
                *(word.replace("http://127.0.0.1:8000", url).replace("$TASKSWAP_ADMIN_TOKEN", TOKEN) for word in words),
                "-sS",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for words in found
    ]


def test_the_client_of_the_pages_is_answered(url: str, writing_url: str) -> None:
    found = list(all_blocks("python", "needs: server"))
    assert len(found) >= 2
    for block in found:
        names: dict[str, Any] = {}
        address = writing_url if "generate" in block.body else url
        exec(compile(block.body.replace("http://127.0.0.1:8000", address), block.page, "exec"), names)
        assert all("output" in answer for answer in names.get("answers", [names.get("answer")]))


def test_the_other_commands_of_serving_name_what_there_is() -> None:
    words = [word for command in serving_commands() for word in command]
    assert "docs/deploy/Dockerfile" in words
    (build,) = [word for word in words if ":build" in word]
    path = build.partition(":")[0].replace(".", "/")
    assert "def build(" in (REPOSITORY / f"{path}.py").read_text()


def test_commands_that_need_the_hub_run_on_local_files(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    every = [words for block in all_blocks("bash", "needs: hub") for words in block.commands()]
    assert every
    local = {"bert-base-cased": "minilm", "tomaarsen/conll2003": "conll2003"}
    for words in every:
        assert run_here(smaller([local.get(word, word) for word in words])) == 0, (words, capfd.readouterr().err)


def test_commands_of_launch_name_what_there_is_and_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    for name in ("WORLD_SIZE", "TASKSWAP_NUM_PROCESSES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    started: list[list[str]] = []

    def take_over(program: str, command: list[str], environment: dict[str, str]) -> None:
        started.append(command)
        raise SystemExit(7)  # as the launcher would end in this process's place

    monkeypatch.setattr(os, "execve", take_over)
    monkeypatch.chdir(REPOSITORY)
    every = marked("launch").commands()
    assert len(every) == 6
    for words in every:
        if words[0] == "accelerate":
            given = launch_command_parser().parse_args(words[2:])
            _validate_launch_command(given)
            assert Path(given.training_script).is_file() and Path(given.config_file).is_file(), words
        else:
            assert run_here(plain(words)) == 7
    assert ["recipes/lora_ner.py" in command for command in started] == [True, False]


def test_commands_for_clusters_are_understood(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    every = marked("cluster").commands()
    (slurm,) = [words for words in every if "slurm" in words]
    ray = next(words for words in every if "ray" in words)
    for words in (slurm, [*ray[1:], "--launcher", "slurm"]):  # ray itself is run in tests/experiments
        small = smaller([word.replace("/shared", "runs/shared") for word in words])
        assert run_here(small) == 0, (words, capfd.readouterr().err)
    script = every[-1][-1].replace("/shared", "runs/shared")
    assert Path(script).is_file() and every[-1][0] == "sbatch"


def test_the_prompt_of_the_pages_is_one(tmp_path: Path) -> None:
    from adapters.data.tag_schemes import tag_labels
    from adapters.prompting import template
    from adapters.tasks.ner import Task

    (block,) = blocks("docs/prompting.md", "toml")
    (tmp_path / "mine.toml").write_text(block.body)
    prompt = template.read(tmp_path / "mine.toml", Task(tag_labels(["PER", "LOC"])))
    assert prompt.verbalizer == {"PER": "person"} and prompt.query.startswith("Text: {{text}}")
