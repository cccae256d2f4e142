"""How quick the statistics of a comparison are: 6 methods of 3 seeds, 3,453 sentences, 10,000 resamples.

    python tests/benchmarks/compare.py
    python tests/benchmarks/compare.py --sentences 100      # a try

Prints seconds of the resampling that all rows and tests share, and of all 15 tests, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from adapters.evaluation.differences import differences
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.random_effects import effects, moderated, resampled_scores
from adapters.evaluation.significance import RESAMPLES

METHODS, SEEDS = 6, 3
LABELS = ("O", *(f"{prefix}-{kind}" for kind in ("LOC", "MISC", "ORG", "PER") for prefix in "BI"))


def main() -> None:
    """Measure, best of three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=3453)
    sentences = parser.parse_args().sentences
    metric = load_metric("entity_f1", LABELS)
    generator = np.random.default_rng(0)
    gold = generator.poisson(0.4, (sentences, 4))
    counts = []
    for method in range(METHODS):
        hits = generator.binomial(gold, 0.85 - 0.01 * method, (SEEDS, *gold.shape))
        counts.append(np.concatenate([hits, hits + generator.poisson(0.05, hits.shape), [gold] * SEEDS], axis=2))
    pairs = [(i, j) for i in range(METHODS) for j in range(i + 1, METHODS)]
    intervals, tests = [], []
    for _ in range(3):
        begin = time.perf_counter()
        resampled = resampled_scores(metric, counts, "f1", seed=0, resamples=RESAMPLES)
        intervals.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        rows = moderated([effects(metric, own, "f1") for own in counts])
        differences(rows, resampled, pairs, seed=0, resamples=RESAMPLES)
        tests.append(time.perf_counter() - begin)
    found = {
        "benchmark": "compare",
        "bootstrap_seconds": round(min(intervals), 2),
        "tests_seconds": round(min(tests), 2),
    }
    size = f"{METHODS} methods x {SEEDS} seeds x {sentences:,} sentences x {RESAMPLES:,} resamples"
    print(f"{size}: {found['bootstrap_seconds']} s; all {len(pairs)} tests: {found['tests_seconds']} s")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
