"""Every method on four tasks: how far its defaults stay behind full fine-tuning, and what share of the base it trains.

    python tests/benchmarks/defaults.py                                   # full and lora, seeds 0 1 2: some two hours
    python tests/benchmarks/defaults.py --methods prefix,ia3 --seeds 0    # others
    python tests/benchmarks/defaults.py --sets trec banking77 --more --learning_rate 1e-3
    python tests/benchmarks/defaults.py --jobs 14                         # on a GPU: some two minutes

Sets are folders of --data; conll2003 is the alias where it is none of them. Prints a Markdown table as it goes and one
JSON line last. Run it with nothing else on the machine, or `taskset -c 0` it to a core.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bench

SETS = {
    "conll2003": ["--task", "ner"],
    "sst2": ["--task", "classification"],
    "trec": ["--task", "classification", "--encoding", "latin-1", "--label_column_name", "coarse"],
    "banking77": ["--task", "classification"],
}
"""Flags of each dataset beside its place."""
EPOCHS = {"trec": "5", "banking77": "5"}
"""Passes over the training examples where three are too few for every method: 77 classes of 130 questions each."""


def run(data: str, method: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own; returns its scores.json."""
    folder = Path(given.data) / data
    where = data if data == "conll2003" and not folder.exists() else bench.dataset(folder)
    flags = ["--dataset_name", where, "--method", method, "--seed", str(seed)]
    flags += ["--num_train_epochs", EPOCHS[data]] if data in EPOCHS else []
    runs = None if given.folder is None else given.folder / f"{data}-{method}-{seed}"
    return bench.recorded("-m", "adapters", "train", *SETS[data], *flags, *given.more, folder=runs)


def row(data: str, method: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What is recorded of a method on a dataset."""
    tests = [100 * record["main"]["value"] for record in records]
    best = [max(epoch["score"] for epoch in record["training"]["dev_scores"]) for record in records]
    cost = records[0]["cost"]
    found = {
        "data": data,
        "method": method,
        "dev": [round(100 * value, 2) for value in best],
        "test": [round(value, 2) for value in tests],
        "mean": round(statistics.mean(tests), 2),
        "sd": round(statistics.stdev(tests), 2) if len(tests) > 1 else None,
        "trained_share": round(100 * cost["trainable_params"] / cost["total_params"], 2),
        "train_seconds": round(statistics.mean(record["cost"]["train_seconds"] for record in records), 1),
    }
    spread = "" if found["sd"] is None else f" ± {found['sd']}"
    runs = [data, method, ", ".join(map(str, found["dev"])), ", ".join(map(str, found["test"])),
             f"{found['mean']}{spread}", found["trained_share"], found["train_seconds"]]  # fmt: skip
    print("| " + " | ".join(map(str, runs)) + " |", flush=True)
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="full,lora", help="names, between commas")
    parser.add_argument("--sets", nargs="*", choices=[*SETS], default=[*SETS])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--data", default=str(bench.DATA), help="folder of the sets")
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; more than one for a GPU with many cores")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every run")
    given = parser.parse_args()
    names = ["data", "method", "dev", "test", "mean ± sd", "% trained", "train s"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)
    rows = []
    wanted = [(data, method) for data in given.sets for method in given.methods.split(",")]
    with ThreadPoolExecutor(given.jobs) as pool:
        begun = {pair: [pool.submit(run, *pair, seed, given) for seed in given.seeds] for pair in wanted}
        for pair, runs in begun.items():
            rows.append(row(*pair, [found.result() for found in runs]))
    print(json.dumps({"benchmark": "defaults", "rows": rows}))


if __name__ == "__main__":
    main()
