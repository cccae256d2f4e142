"""How fast rows are read: opened, checked by the task and stored, with an empty cache; and the memory that takes.

    python tests/benchmarks/data.py
    python tests/benchmarks/data.py --rows 2000 --rounds 1      # a try
    python tests/benchmarks/data.py --data reviews.csv --task classification
    git worktree add --detach ../before fba27c2
    python tests/benchmarks/data.py --baseline ../before        # the same passes with that checkout's code, in turns

Makes files of two columns as CSV and as JSON lines, and tagged sentences as a column file. Each pass is a process of
its own; importing the libraries is not counted. Rows/s are those of the median pass; rows per CPU second are less
affected by what else the machine does. Bytes a row are the growth of the process's peak memory (RSS) between a fifth of
the rows and all of them. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import bench

WORDS = ("the", "a", "film", "that", "is", "of", "and", "story", "moving", "slow", "bright", "quiet,", '"odd"', "dull")
LABELS = ("good", "bad", "neutral")
FILES = {"csv": "classification", "jsonl": "classification", "conll": "ner"}
NEEDED, AIM, BYTES = 3, 100_000, 32


def main() -> None:
    """Measure each file, with this code and with the baseline's in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each file; of sentences, a tenth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", help="a file of yours, instead of those that are made")
    parser.add_argument("--task", default="classification", help="the task of --data")
    parser.add_argument("--baseline", help="a checkout of another commit")
    parser.add_argument("--read", nargs=2, metavar=("FILE", "TASK"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        print(json.dumps(one_pass(*given.read)))
        return
    if given.data and not Path(given.data).is_file():
        raise SystemExit(f"No data at {given.data}. Give --data a file, or leave it out: files are then made.")
    with tempfile.TemporaryDirectory() as folder:
        found = dict(measured(given, Path(folder)))
    print(table(found))
    print(json.dumps({"benchmark": "data", **found}))


def measured(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was measured, by file."""
    files = {Path(given.data).suffix.lstrip(".") or "file": given.task} if given.data else FILES
    for kind, task in files.items():
        count = given.rows // 10 if kind == "conll" else given.rows
        whole = Path(given.data).resolve() if given.data else made(folder / f"whole.{kind}", count)
        checkouts = [None, given.baseline] if given.baseline else [None]
        passes: list[list[dict[str, Any]]] = [[] for _ in checkouts]
        for _ in range(given.rounds):
            for number, checkout in enumerate(checkouts):
                passes[number].append(started(whole, task, checkout))
        ours, *theirs = ([p["rows"] / p["seconds"] for p in each] for each in passes)
        cpu, *their_cpu = ([p["rows"] / p["cpu_seconds"] for p in each] for each in passes)
        out = {
            "rows": passes[0][0]["rows"],
            "rows_per_second": round(median(ours)),
            "rows_per_cpu_second": round(median(cpu)),
            "peak_mb": round(max(p["peak_bytes"] for p in passes[0]) / 1e6),
        }
        if not given.data:
            fifth = started(made(folder / f"fifth.{kind}", max(count // 5, 1)), task, None)
            grown = min(p["peak_bytes"] for p in passes[0]) - fifth["peak_bytes"]
            out["bytes_per_row"] = round(grown / max(out["rows"] - fifth["rows"], 1), 1)
        if theirs:
            out["baseline_rows_per_second"] = round(median(theirs[0]))
            out["times_baseline"] = round(median(a / b for a, b in zip(ours, theirs[0], strict=True)), 2)
            out["times_baseline_cpu"] = round(median(a / b for a, b in zip(cpu, their_cpu[0], strict=True)), 2)
        yield kind, out


def made(path: Path, rows: int) -> Path:
    """A file of so many rows; always the same."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        if path.suffix == ".csv":
            csv.writer(stream).writerow(["text", "label"])
        for number in range(rows):
            words = [*draw.choices(WORDS, k=draw.randint(6, 24)), str(number)]
            text, label = " ".join(words), draw.choice(LABELS)
            if path.suffix == ".csv":
                csv.writer(stream).writerow([text, label])
            elif path.suffix == ".jsonl":
                stream.write(json.dumps({"text": text, "label": label}) + "\n")
            else:
                tags = ["B-PER", "I-PER", *["O"] * (len(words) - 2)]
                stream.write("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n")
    return path


def started(path: Path, task: str, checkout: str | None) -> dict[str, Any]:
    """A pass in a process of its own, with this repository's code or a checkout's."""
    words = [str(Path(__file__).resolve()), "--read", str(path), task]
    if checkout is None:
        done = bench.command(*words)
    else:
        place = Path(checkout).resolve()
        environment = {**os.environ, "PYTHONPATH": str(place)}
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        bench.checked(words, done)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_pass(file: str, task: str) -> dict[str, Any]:
    """Read the file for a task, with an empty cache; seconds from opening it to the end of storing its rows."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TASKSWAP_CACHE"] = cache
        import datasets
        import pyarrow.compute  # noqa: F401

        from adapters.core import discovery
        from adapters.tasks.base.examples import read_named

        discovery.load("tasks", task)  # imports what reading needs, which is not counted
        datasets.Dataset.from_dict({"a": ["b"]})
        dev = Path(cache) / f"dev{Path(file).suffix}"  # a few rows, so that none are cut from the file
        with Path(file).open("rb") as stream:
            dev.write_bytes(b"".join(stream.readlines(4000)))
        both = {"train_file": file, "validation_file": str(dev)}
        began, cpu = time.perf_counter(), time.process_time()
        _, splits = read_named(task, [], **both)
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "rows": len(splits["train"]),
            "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


def table(found: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        f"| file | rows | rows/s (aim {AIM:,}) | rows per CPU second | baseline, rows/s | times baseline (at least "
        f"{NEEDED}) | by CPU seconds | peak, MB | bytes a row (at most {BYTES}) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, out in found.items():
        names = ("rows", "rows_per_second", "rows_per_cpu_second", "baseline_rows_per_second", "times_baseline")
        names += ("times_baseline_cpu", "peak_mb", "bytes_per_row")
        cells = [f"{out[name]:,}" if name in out else "–" for name in names]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
