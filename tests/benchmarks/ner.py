"""Named entities for real: the recipes as users run them, on conll2003 and wnut17, and how soon they begin.

    python tests/benchmarks/ner.py                     # everything, three to four hours on two cores
    python tests/benchmarks/ner.py --only default      # each training recipe with no flags, on conll2003
    python tests/benchmarks/ner.py --only wnut17 --data ../shared/data/wnut17
    python tests/benchmarks/ner.py --only causal       # the same methods on smollm2, 2,000 training sentences
    python tests/benchmarks/ner.py --only prompted     # smollm2 asked, the first 300 test sentences
    python tests/benchmarks/ner.py --only startup

Prints a Markdown table as it goes and one JSON line last. Run it with nothing else on the machine; with --folder, runs
are kept, and those that have ended are not run again (the seconds of their commands are then unknown).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import bench

TRAINING = ["full_ner", "head_ner", "lora_ner", "prefix_ner"]
CAUSAL_RATES = {"full_ner": "1e-4", "head_ner": "1e-2", "lora_ner": "1e-3", "prefix_ner": "1e-2"}
FEW = ["--max_eval_samples", "8", "--max_predict_samples", "8"]


def run_recipe(recipe: str, folder: Path | None, *flags: str) -> tuple[dict[str, Any], float | None]:
    """Run a recipe by `accelerate launch`; returns its scores.json and the seconds of the whole command.

    The seconds are None where the folder had the run already.
    """
    there = folder is not None and folder.exists()
    begin = time.perf_counter()
    record = bench.recorded("-m", "accelerate.commands.launch", f"recipes/{recipe}.py", *flags, folder=folder)
    return record, None if there else time.perf_counter() - begin


def row(name: str, scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
    """What is recorded of a run."""
    main, cost = scores["main"], scores["cost"]
    dev = max((epoch["score"] for epoch in scores["training"].get("dev_scores", ())), default=float("nan"))
    found = {
        "name": name,
        "seed": scores["seed"],
        "dev_f1": round(100 * dev, 2),
        "test_f1": round(100 * main["value"], 2),
        "low": round(100 * main["low"], 2),
        "high": round(100 * main["high"], 2),
        "command_seconds": None if seconds is None else round(seconds, 1),
        "train_seconds": cost["train_seconds"],
        "tokens_per_second": cost["train_tokens_per_second"],
        "peak_memory_gib": round(cost["peak_memory_bytes"] / 1024**3, 2),
        "trainable_params": cost["trainable_params"],
        "artifact_mb": round(cost["artifact_bytes"] / 1e6, 1),
        "precision": scores["precision"],
        "parse_failures": scores["parse_failures"],
        "shots_dropped": scores["shots_dropped"],
        "examples_per_second": cost["examples_per_second"],
    }
    runs = [found[key] for key in ("name", "seed", "dev_f1", "test_f1")] + [f"{found['low']} to {found['high']}"]
    runs += [found[key] for key in ("trainable_params", "train_seconds", "tokens_per_second", "peak_memory_gib")]
    print("| " + " | ".join(map(str, [*runs, found["command_seconds"]])) + " |", flush=True)
    return found


def header() -> None:
    """The table's head."""
    names = ["run", "seed", "dev F1", "test F1", "95 % interval", "trained", "train s", "tokens/s", "GiB", "command s"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)


def table(name: str, recipes: list[str], seeds: list[int], runs: Path | None, *flags: str) -> list[dict[str, Any]]:
    """Each recipe with some flags and each seed; mean and deviation over seeds. Runs are kept in `runs`, if given."""
    rows: list[dict[str, Any]] = []
    for recipe in recipes:
        own = []
        for seed in seeds:
            folder = None if runs is None else runs / f"{recipe}-{name.replace(' ', '-')}-{seed}"
            own.append(row(f"{recipe} {name}", *run_recipe(recipe, folder, *flags, "--seed", str(seed))))
        scores = [found["test_f1"] for found in own]
        if len(scores) > 1:
            print(f"{recipe} {name}: {statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f}", flush=True)
        rows += own
    return rows


def causal(recipes: list[str], seeds: list[int], runs: Path | None, more: list[str]) -> list[dict[str, Any]]:
    """smollm2 with a token head on the first 2,000 training sentences, at rates chosen on dev."""
    flags = ["--model_name_or_path", "smollm2", "--max_train_samples", "2000", "--max_eval_samples", "500"]
    rates = {recipe: ["--learning_rate", CAUSAL_RATES[recipe]] for recipe in recipes}
    rows = []
    for recipe in recipes:
        rows += table("smollm2", [recipe], seeds, runs, *flags, *rates[recipe], *more)
    return rows


def prompted(seeds: list[int], runs: Path | None, more: list[str]) -> list[dict[str, Any]]:
    """smollm2 asked with no shots and with five, over the prompts that come with the project."""
    rows = table("zero_shot", ["prompt_ner"], [0], runs, "--method", "zero_shot", *more)
    for prompt in ("ner_few", "ner_json", "ner_inline"):
        rows += table(f"few_shot {prompt}", ["prompt_ner"], seeds, runs, "--prompt", prompt, *more)
    return rows


def startup(rounds: int, more: list[str]) -> dict[str, float]:
    """Seconds of --help, and to the end of the first training step from the command, caches warm; best of some."""
    helps, steps = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        bench.command("recipes/lora_ner.py", "--help")
        helps.append(time.perf_counter() - begin)
        before = time.time()
        record = bench.recorded("recipes/lora_ner.py", "--max_train_steps", "1", *FEW, *more)
        steps.append(record["training"]["first_step_at"] - before)
    found = {"help_seconds": round(min(helps), 2), "first_step_seconds": round(min(steps), 2)}
    print(f"--help {found['help_seconds']} s; first training step after {found['first_step_seconds']} s", flush=True)
    return found


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["default", "wnut17", "causal", "prompted", "startup"])
    parser.add_argument("--data", default=str(bench.DATA / "wnut17"), help="folder of wnut17, or an alias")
    parser.add_argument("--seeds", type=int, nargs="*", help="default: 0 1 2; on smollm2 with a head: 0")
    parser.add_argument("--recipes", nargs="*", default=TRAINING)
    parser.add_argument("--rounds", type=int, default=3, help="of the start")
    parser.add_argument("--folder", type=Path, help="kept, and taken up again (default: a temporary one)")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="last: further flags of every run")
    given = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "ner"}
    if given.only in (None, "startup"):
        result["startup"] = startup(given.rounds, given.more)
    header()
    seeds, runs = given.seeds or [0, 1, 2], given.folder
    if given.only in (None, "default"):
        result["default"] = table("conll2003", given.recipes, seeds, runs, *given.more)
    if given.only in (None, "wnut17"):
        data = bench.dataset(given.data)
        result["wnut17"] = table("wnut17", given.recipes, seeds, runs, "--dataset_name", data, *given.more)
    if given.only in (None, "causal"):
        result["causal"] = causal(given.recipes, given.seeds or [0], runs, given.more)
    if given.only in (None, "prompted"):
        result["prompted"] = prompted(seeds, runs, given.more)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
