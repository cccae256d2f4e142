"""How often a comparison finds a difference between a method and itself, on real runs (an A/A test).

    python tests/benchmarks/repeats.py                    # 30 runs of head, lora and tfidf on sst2; about an hour
    python tests/benchmarks/repeats.py --data sst2 --methods tfidf --seeds 30 --splits 10000

Each run learns from a draw of its own of 300 training examples. Three of a method's runs are compared with three others
as two methods would be; there is no difference to find. The interval of the rate is by a jackknife over the runs, which
the splits share. Ends with exit code 1 where a rate's interval lies above 7 %. Prints a Markdown table, and one JSON
line last.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from bench import DATA, dataset

from adapters.evaluation.differences import LEVEL, differences
from adapters.evaluation.metrics.base.metric import main_metric
from adapters.evaluation.random_effects import effects, resampled_scores
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.many_runs.record import Record

RUNS = 3
"""Of each side of a split."""
HIGHEST = 0.07


def alarms(
    counts: np.ndarray, metric: Any, score: str, *, splits: int, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each random split, which runs are in it (bool `[splits, runs]`), and whether it was called significant."""
    generator = np.random.default_rng(0)
    inside, found = np.zeros((splits, len(counts)), bool), np.zeros(splits, bool)
    for number in range(splits):
        drawn = generator.choice(len(counts), 2 * RUNS, replace=False)
        sides = [counts[drawn[:RUNS]], counts[drawn[RUNS:]]]
        rows = [effects(metric, side, score) for side in sides]
        resampled = resampled_scores(metric, sides, score, seed=number, resamples=resamples)
        (test,) = differences(rows, resampled, [(0, 1)], seed=number, resamples=resamples)
        inside[number, drawn], found[number] = True, test.p < LEVEL
    return inside, found


def rate(inside: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """The rate of alarms, and its 95 % interval by a jackknife over the runs."""
    runs = inside.shape[1]
    without = np.array([found[~inside[:, run]].mean() for run in range(runs)])
    error = float(np.sqrt((runs - 1) / runs * ((without - without.mean()) ** 2).sum()))
    far, value = float(scipy.stats.t.ppf(0.975, runs - 1)) * error, float(found.mean())
    return value, max(value - far, 0.0), min(value + far, 1.0)


def main() -> None:
    """Run what is missing, split, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sst2", help="a name below shared/data, or a folder")
    parser.add_argument("--methods", nargs="+", default=["head", "lora", "tfidf"])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--examples", type=int, default=300, help="training examples of a run")
    parser.add_argument("--splits", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--folder", default="runs/repeats")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="flags for every run")
    given = parser.parse_args()
    assert given.seeds > 2 * RUNS
    words = [
        *("--dataset_name", dataset(given.data if Path(given.data).exists() else DATA / given.data)),
        *("--methods", *given.methods, "--seeds", str(given.seeds), "--redraw", "train", "--tuning_trials", "0"),
        *("--max_train_samples", str(given.examples), "--max_eval_samples", "200", "--max_predict_samples", "1000"),
        *("--max_tokens_per_batch", "256", "--num_train_epochs", "5", "--output_dir", given.folder, *given.more),
    ]
    comparison = Comparison(None, task="classification", defaults={}, argv=words)
    comparison.check()
    comparison.run_all()
    found = []
    print("| method | runs | mean | sd of runs | false alarms | 95 % interval |\n|---|---:|---:|---:|---:|---|")
    for method in given.methods:
        records = [Record.load(one.folder) for one in comparison.outcomes if one.run.method == method]
        main = records[0].scores["main"]
        metric = main_metric(main["metric"], records[0].scores["labels"])
        counts = np.stack([record.counts(metric) for record in records])
        scores = np.array([record.scores["main"]["value"] for record in records])
        inside, alarm = alarms(counts, metric, main["score"], splits=given.splits, resamples=given.resamples)
        value, low, high = rate(inside, alarm)
        found.append({"method": method, "runs": len(records), "rate": value, "low": low, "high": high})
        cells = f"{100 * scores.mean():.1f} | {100 * scores.std(ddof=1):.1f} | {100 * value:.1f} %"
        print(f"| {method} | {len(records)} | {cells} | {100 * low:.1f} to {100 * high:.1f} % |", flush=True)
    print(json.dumps({"benchmark": "repeats", "splits": given.splits, "results": found}))
    if any(one["low"] > HIGHEST for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
