"""Named entities for real: the recipes as users run them, on conll2003 and wnut17, and how soon they begin.

    python tests/benchmarks/ner.py                    # everything, about an hour on two cores
    python tests/benchmarks/ner.py --only default     # lora_ner.py and full_ner.py with no flags
    python tests/benchmarks/ner.py --only wnut17 --data ../shared/data/wnut17
    python tests/benchmarks/ner.py --only startup

Prints a Markdown table as it goes and one JSON line last. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def run_recipe(recipe: str, *flags: str) -> tuple[dict[str, Any], float]:
    """Run a recipe by `accelerate launch`; returns its scores.json and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "accelerate.commands.launch", f"recipes/{recipe}.py", "--output_dir", str(out)]
        begin = time.perf_counter()
        done = subprocess.run([*command, *flags], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(f"{recipe} failed with {done.returncode}:\n{done.stderr[-3000:]}")
        return json.loads((out / "scores.json").read_text()), seconds


def row(name: str, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What README records of a run."""
    main, cost = scores["main"], scores["cost"]
    dev = max(epoch["score"] for epoch in scores["training"]["dev_scores"])
    found = {
        "name": name,
        "seed": scores["seed"],
        "dev_f1": round(100 * dev, 2),
        "test_f1": round(100 * main["value"], 2),
        "low": round(100 * main["low"], 2),
        "high": round(100 * main["high"], 2),
        "command_seconds": round(seconds, 1),
        "train_seconds": cost["train_seconds"],
        "pieces_per_second": cost["train_pieces_per_second"],
        "peak_memory_gib": round(cost["peak_memory_bytes"] / 1024**3, 2),
        "trainable_params": cost["trainable_params"],
        "artifact_mb": round(cost["artifact_bytes"] / 1e6, 1),
        "precision": scores["precision"],
    }
    cells = [found[key] for key in ("name", "seed", "dev_f1", "test_f1")] + [f"{found['low']} to {found['high']}"]
    cells += [found[key] for key in ("trainable_params", "train_seconds", "pieces_per_second", "peak_memory_gib")]
    print("| " + " | ".join(map(str, [*cells, found["command_seconds"]])) + " |", flush=True)
    return found


def header() -> None:
    """The table's head."""
    names = ["run", "seed", "dev F1", "test F1", "95 % interval", "trained", "train s", "pieces/s", "GiB", "command s"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)


def default(seeds: list[int], recipes: list[str]) -> list[dict[str, Any]]:
    """The recipes with no flag but the seed."""
    return [
        row(f"{recipe} conll2003", *run_recipe(recipe, "--seed", str(seed))) for recipe in recipes for seed in seeds
    ]


def wnut17(folder: str, seeds: list[int], recipes: list[str]) -> list[dict[str, Any]]:
    """The recipes on wnut17, and mean and deviation over seeds."""
    rows: list[dict[str, Any]] = []
    for recipe in recipes:
        flags = ["--dataset_name", str(Path(folder).resolve())]
        own = [row(f"{recipe} wnut17", *run_recipe(recipe, *flags, "--seed", str(seed))) for seed in seeds]
        scores = [found["test_f1"] for found in own]
        if len(scores) > 1:
            print(f"{recipe} wnut17: {statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f}", flush=True)
        rows += own
    return rows


def startup() -> dict[str, float]:
    """Seconds of --help, and to the end of the first training step from the command, caches warm; best of three."""
    recipe = [sys.executable, "recipes/lora_ner.py"]
    helps, steps = [], []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([*recipe, "--help"], cwd=REPOSITORY, capture_output=True, check=True)
        helps.append(time.perf_counter() - begin)
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--max_train_steps", "1", "--max_eval_samples", "8", "--max_predict_samples", "8"]
            before = time.time()
            out = Path(folder) / "run"
            subprocess.run([*recipe, *flags, "--output_dir", str(out)], cwd=REPOSITORY, capture_output=True, check=True)
            steps.append(json.loads((out / "scores.json").read_text())["training"]["first_step_at"] - before)
    found = {"help_seconds": round(min(helps), 2), "first_step_seconds": round(min(steps), 2)}
    print(f"--help {found['help_seconds']} s; first training step after {found['first_step_seconds']} s", flush=True)
    return found


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["default", "wnut17", "startup"])
    parser.add_argument("--data", default=str(REPOSITORY.parent / "shared/data/wnut17"), help="folder of wnut17")
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--recipes", nargs="*", default=["lora_ner", "full_ner"])
    given = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "ner"}
    if given.only in (None, "startup"):
        result["startup"] = startup()
    header()
    if given.only in (None, "default"):
        result["default"] = default(given.seeds or [0], given.recipes)
    if given.only in (None, "wnut17"):
        result["wnut17"] = wnut17(given.data, given.seeds or [0, 1, 2], given.recipes)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
