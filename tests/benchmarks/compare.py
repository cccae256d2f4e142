"""How quick the statistics of a comparison are: 6 methods, 3,453 sentences, 10,000 resamples.

    python tests/benchmarks/compare.py
    python tests/benchmarks/compare.py --sentences 100      # a try

Prints seconds of the bootstrap of all six methods together and of one paired test, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.significance import RESAMPLES, paired, resampled_sums

METHODS = 6
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
        hit = generator.binomial(gold, 0.85 - 0.01 * method)
        counts.append(np.concatenate([hit, hit + generator.poisson(0.05, gold.shape), gold], axis=1))
    intervals, tests = [], []
    for _ in range(3):
        begin = time.perf_counter()
        drawn = resampled_sums(np.hstack(counts), seed=0, resamples=RESAMPLES)
        width = metric.width
        for method in range(METHODS):
            np.percentile(metric.scores(drawn[:, method * width : (method + 1) * width])["f1"], [2.5, 97.5])
        intervals.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        paired(metric, counts[0], counts[1])
        tests.append(time.perf_counter() - begin)
    found = {
        "benchmark": "compare",
        "bootstrap_seconds": round(min(intervals), 2),
        "test_seconds": round(min(tests), 2),
    }
    print(f"{METHODS} methods x {sentences:,} sentences x {RESAMPLES:,} resamples: {found['bootstrap_seconds']} s "
          f"(asked: under 3); a paired test: {found['test_seconds']} s")  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
