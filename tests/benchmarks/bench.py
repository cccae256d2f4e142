"""What the benchmarks share: a command in a process of its own, and the data they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
"""Where the datasets are looked for unless a flag says otherwise."""


def environment() -> dict[str, str]:
    """That of a server's process: all cores, and this clone."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def command(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with these words in the repository. Where it fails, the benchmark ends with what was on stderr."""
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    return checked(words, done)


def started(*words: str, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start Python with these words; a log takes what it says on stderr."""
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, *words], env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=stderr
        )


def checked(words: Sequence[str], done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended. Where it failed, the benchmark ends with what was on stderr."""
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed with {done.returncode}:\n{done.stderr[-3000:]}")
    return done


def alternating(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each of some ways to do a thing, which take turns: what else the machine does touches them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def recorded(*words: str, folder: Path | None = None) -> dict[str, Any]:
    """scores.json of a run that these words start, kept in a folder if one is given, or else in a temporary one."""
    if folder is not None:
        return kept(folder, *words)
    with tempfile.TemporaryDirectory() as folder:
        command(*words, "--output_dir", f"{folder}/run")
        record: dict[str, Any] = json.loads(Path(f"{folder}/run/scores.json").read_text())
        return record


def kept(folder: Path, *words: str) -> dict[str, Any]:
    """scores.json of a run in a folder of its own, which is run, or resumed, by these words unless it has ended."""
    folder = folder.resolve()  # the command's own directory is the repository
    if not (folder / "scores.json").is_file():
        resumed = ["--resume_from_checkpoint", "latest"] if folder.exists() else []
        command(*words, "--output_dir", str(folder), *resumed)
    record: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return record


XQUAD = {"train": ("en", 0, 28), "dev": ("en", 28, 34), "test_en": ("en", 34, 48), "test_zh": ("zh", 34, 48)}
"""XQuAD has one split of 48 articles, the same in every language: those of test are in neither train nor dev."""


def articles(data: Path, folder: Path) -> None:
    """XQuAD cut by whole articles: in English for training, and in English and in Chinese for test."""
    for name, (language, first, last) in XQUAD.items():
        found = json.loads((data / "xquad" / f"xquad.{language}.json").read_text())["data"]
        (folder / f"{name}.json").write_text(json.dumps({"version": "1.1", "data": found[first:last]}))


def launched(processes: int) -> list[str]:
    """The words before a script that start it in so many processes."""
    return ["-m", "adapters", "launch", "--num_processes", str(processes)] if processes > 1 else []


def dataset(given: str | Path, flag: str = "--data") -> str:
    """What --dataset_name takes: the whole path of a folder, or an alias. Ends the benchmark where there is neither."""
    if Path(given).exists():
        return str(Path(given).resolve())
    if str(given).isidentifier():
        return str(given)
    raise SystemExit(
        f"No data at {given}. Give {flag} a folder of that dataset, with its train, dev and test files, or an alias "
        "such as conll2003."
    )
