"""How far the tests of a comparison can be trusted: simulations in which the truth is known.

    python tests/benchmarks/seeds.py                       # all conditions, about 40 minutes on two cores
    python tests/benchmarks/seeds.py --repeats 20          # a try
    python tests/benchmarks/seeds.py --only alarms         # or power, non_inferior, documents, few

Methods of equal (or known) quality answer examples of their own difficulty, with seeds of their own luck and an
interaction of both. Counted are: pairs and families (six methods, all pairs, Holm) in which a difference is called
significant at 5 %, intervals of differences that hold the truth, and methods called non-inferior though their true
difference is exactly the margin. Next to each: the same by resampling examples alone. For documents, two methods
answer examples of which those of one document are alike; next to whole documents, single ones are resampled. For few
different answers, two methods are nearly always right, without seeds. Prints a Markdown table and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from adapters.core.holm import holm
from adapters.evaluation.differences import Difference, differences, lower_bounds, row_error
from adapters.evaluation.documents import chosen_units
from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.evaluation.random_effects import effects, moderated, resampled_scores

RESAMPLES = 1000
MEASURES = ("alarms", "power", "non_inferior", "documents", "few")
RATE = 0.8
FEW = ((50, 1.0), (100, 1.0), (200, 0.0), (250, 0.0), (300, 0.0), (300, 1.0), (500, 1.0), (1000, 1.0))
"""Examples, and the percentage that only one of two methods gets wrong; the other method is wrong on a point more."""
UNEQUAL = (0.0, 0.5, 1.0, 1.7, 3.0, 6.8)
"""Spreads of six methods over seeds, in points."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A world to draw from: `spreads` in points, one for each method."""

    metric: str
    examples: int
    seeds: int
    spreads: tuple[float, ...]
    paired: bool = False
    """Whether runs of one number share their draw of training examples, which moves all methods by as much as a seed of
    their own does."""


def conditions() -> list[Condition]:
    """Equal and unequal spreads, 3 to 10 seeds, 200 to 3,453 examples."""
    found = []
    for metric in ("accuracy", "entity_f1"):
        for examples in (200, 1000, 3453):
            for seeds in (3, 5, 10):
                for spread in (0.0, 0.5, 1.0, 3.0):
                    found.append((metric, examples, seeds, (spread,) * 6))
                found.append((metric, examples, seeds, UNEQUAL))
    out = [Condition(metric=m, examples=n, seeds=s, spreads=p) for m, n, s, p in found]
    shared = [("accuracy", 200), ("accuracy", 3453), ("entity_f1", 1000)]
    spreads = ((1.0,) * 6, UNEQUAL)
    return out + [
        Condition(metric=m, examples=n, seeds=s, spreads=p, paired=True)
        for m, n in shared
        for s in (3, 5, 10)
        for p in spreads
    ]


def draw(
    generator: np.random.Generator, condition: Condition, losses: Sequence[float]
) -> tuple[Metric, list[np.ndarray]]:
    """Counts `[seeds, examples, width]` of each method; `losses`: by how many points each is worse in expectation."""
    difficulty = generator.standard_normal(condition.examples)
    metric = load_metric(condition.metric, ("a", "b") if condition.metric == "accuracy" else ("O", "B-X", "I-X"))
    gold = 1 + generator.poisson(0.5, condition.examples)
    together = generator.standard_normal((condition.seeds, 1))
    out = []
    for spread, loss in zip(condition.spreads, losses, strict=True):
        at = scipy.stats.norm.ppf(RATE - loss / 100)
        luck = spread / 100 * np.sqrt(2) / scipy.stats.norm.pdf(at)
        own = generator.standard_normal((condition.seeds, 1))
        moved = (own + together) / np.sqrt(2) if condition.paired else own
        latent = at * np.sqrt(2 + luck**2) + difficulty + luck * moved
        right = latent + generator.standard_normal((condition.seeds, condition.examples)) > 0
        if condition.metric == "accuracy":
            out.append(_accuracy(metric, right))
            continue
        hits = gold * right  # as many entities predicted as there are: F1 is a ratio of sums, and unbiased
        out.append(np.stack([hits, np.broadcast_to(gold, hits.shape), np.broadcast_to(gold, hits.shape)], axis=2))
    return metric, out


def _accuracy(metric: Metric, right: np.ndarray) -> np.ndarray:
    """Counts of answers `a` and `b` to examples whose answer is `a`."""
    either = np.stack([metric.counts("a", "b"), metric.counts("a", "a")])
    return either[right.astype(int)]


def compare(
    metric: Metric, counts: Sequence[np.ndarray], seed: int, *, paired: bool = False
) -> tuple[dict[tuple[int, int], Difference], dict[tuple[int, int], float]]:
    """The differences of all pairs, and their p-values by resampling examples alone."""
    draws = range(len(counts[0])) if paired else ()
    rows = moderated([effects(metric, own, metric.main, draws=draws) for own in counts])
    resampled = resampled_scores(metric, counts, metric.main, seed=seed, resamples=RESAMPLES)
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    found = dict(zip(pairs, differences(rows, resampled, pairs, seed=seed, resamples=RESAMPLES), strict=True))
    alone = {}
    for i, j in pairs:
        error = (rows[i].influence - rows[j].influence).std() / np.sqrt(len(rows[i].influence))
        alone[i, j] = 2 * float(scipy.stats.norm.sf(abs(found[i, j].difference) / max(error, 1e-12)))
    return found, alone


def alarms(generator: np.random.Generator, condition: Condition, repeats: int) -> dict[str, float]:
    """Equal methods: false alarms of the first pair that seeds move, of families, and coverage."""
    single = family = covered = before = before_family = total = 0
    for repeat in range(repeats):
        found, alone = compare(
            *draw(generator, condition, [0.0] * len(condition.spreads)), repeat, paired=condition.paired
        )
        single += sum(test.p < 0.05 for test in found.values())
        covered += sum(0.025 <= test.around.below(-test.difference) <= 0.975 for test in found.values())
        before += sum(p < 0.05 for p in alone.values())
        total += len(found)
        family += min(holm([test.p for test in found.values()])) < 0.05
        before_family += min(holm(list(alone.values()))) < 0.05
    return {
        "single": round(100 * single / total, 1),
        "family": round(100 * family / repeats, 1),
        "coverage": round(100 * covered / total, 1),
        "single_examples_alone": round(100 * before / total, 1),
        "family_examples_alone": round(100 * before_family / repeats, 1),
    }


def power(generator: np.random.Generator, condition: Condition, repeats: int, loss: float) -> dict[str, float]:
    """The first method is worse by `loss` points: how often it is found, adjusted over all pairs."""
    losses = [loss, *[0.0] * (len(condition.spreads) - 1)]
    hits = before = total = 0
    for repeat in range(repeats):
        found, alone = compare(*draw(generator, condition, losses), repeat, paired=condition.paired)
        true = [number for number, (i, _) in enumerate(found) if i == 0]
        hits += sum(np.array(holm([test.p for test in found.values()]))[true] < 0.05)
        before += sum(np.array(holm(list(alone.values())))[true] < 0.05)
        total += len(true)
    return {
        "loss": loss,
        "power": round(100 * hits / total, 1),
        "power_examples_alone": round(100 * before / total, 1),
    }


def non_inferior(generator: np.random.Generator, condition: Condition, repeats: int, margin: float) -> dict[str, float]:
    """All methods but one are worse by exactly the margin: how often any of them is called non-inferior."""
    losses = [0.0, *[margin] * (len(condition.spreads) - 1)]
    wrong = equal = 0
    for repeat in range(repeats):
        found, _ = compare(*draw(generator, condition, losses), repeat, paired=condition.paired)
        bounds = lower_bounds(range(len(losses)), found)
        wrong += any(bounds[i] > -margin / 100 for i in range(1, len(losses)))
        found, _ = compare(*draw(generator, condition, [0.0] * len(losses)), repeat, paired=condition.paired)
        equal += any(bound > -margin / 100 for bound in lower_bounds(range(len(losses)), found).values())
    return {
        "margin": margin,
        "wrong": round(100 * wrong / repeats, 1),
        "advised_if_equal": round(100 * equal / repeats, 1),
    }


def documents(
    generator: np.random.Generator, number: int, correlation: float, seeds: int, repeats: int
) -> dict[str, float]:
    """Two equal methods, documents of 5 to 20 examples: false alarms and coverage of the first one's interval.

    Args:
        generator: of the draws.
        number: of documents.
        correlation: of two examples of one document, before they are judged right or wrong.
        seeds: runs of each method, alike in what they find difficult.
        repeats: simulated comparisons.
    """
    metric, at = load_metric("accuracy", ("a", "b")), scipy.stats.norm.ppf(RATE)
    alarms, covered = dict.fromkeys(("documents", "examples"), 0), dict.fromkeys(("documents", "examples"), 0)
    for repeat in range(repeats):
        of = np.repeat(np.arange(number), generator.integers(5, 21, number))
        latent = np.sqrt(correlation) * generator.standard_normal((2, 1, number))[..., of]
        latent = latent + np.sqrt((1 - correlation) / 2) * generator.standard_normal((2, 1, len(of)))
        latent = latent + np.sqrt((1 - correlation) / 2) * generator.standard_normal((2, seeds, len(of)))
        counts = [_accuracy(metric, right) for right in latent < at]
        for how in alarms:
            units = chosen_units([str(name) for name in of], how)
            drawn = [units.summed(own) for own in counts]
            rows = [effects(metric, own, metric.main) for own in drawn]
            resampled = resampled_scores(metric, drawn, metric.main, seed=repeat, resamples=RESAMPLES)
            (found,) = differences(rows, resampled, [(0, 1)], seed=repeat, resamples=RESAMPLES)
            alarms[how] += found.p < 0.05
            covered[how] += 0.025 <= row_error(rows[0], resampled[:, 0]).below(RATE - rows[0].value) <= 0.975
    return {
        "single": round(100 * alarms["documents"] / repeats, 1),
        "coverage": round(100 * covered["documents"] / repeats, 1),
        "single_examples_alone": round(100 * alarms["examples"] / repeats, 1),
        "coverage_examples_alone": round(100 * covered["examples"] / repeats, 1),
    }


def few(generator: np.random.Generator, examples: int, both: float, repeats: int) -> dict[str, float]:
    """Two methods that differ on few answers: one worse by a point called non-inferior within it, and false alarms.

    Args:
        generator: of the draws.
        examples: number of them.
        both: percentage that the better one alone gets wrong; the worse one alone, a point more.
        repeats: simulated comparisons.
    """
    metric, wrong, alarmed = load_metric("accuracy", ("a", "b")), 0, 0
    for repeat in range(repeats):
        for worse in (both + 1, both + 0.5):
            better = both if worse == both + 1 else worse  # a point apart; then as good as each other
            shares = [worse / 100, better / 100]
            kind = generator.choice(3, examples, p=[*shares, 1 - sum(shares)])
            counts = [_accuracy(metric, (kind != own)[None]) for own in (0, 1)]
            rows = [effects(metric, own, metric.main, seeded=False) for own in counts]
            resampled = resampled_scores(metric, counts, metric.main, seed=repeat, resamples=RESAMPLES)
            (found,) = differences(rows, resampled, [(0, 1)], seed=repeat, resamples=RESAMPLES)
            wrong += worse > better and found.lower_bound(0.05) > -0.01
            alarmed += worse == better and found.p < 0.05
    return {"margin": 1.0, "wrong": round(100 * wrong / repeats, 1), "single": round(100 * alarmed / repeats, 1)}


def main() -> None:
    """Simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=MEASURES)
    parser.add_argument("--conditions", type=int, help="only the first so many")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = given.only or MEASURES
    results: list[dict[str, Any]] = []
    print("| measure | metric | examples | seeds | spreads | found |\n|---|---|---|---|---|---|")
    for condition in conditions()[: given.conditions]:
        generator = np.random.default_rng(given.seed)
        spread = condition.spreads
        small = (
            not condition.paired
            and condition.examples == 3453
            and condition.seeds in (3, 10)
            and spread[0] == spread[1] == 0.5
        )
        for measure in (one for one in chosen if one not in ("documents", "few")):
            if measure == "alarms":
                found = alarms(generator, condition, given.repeats)
            elif not small and given.conditions is None:
                continue
            elif measure == "power":
                found = power(generator, condition, given.repeats, 2.0)
            else:
                found = non_inferior(generator, condition, given.repeats, 1.0)
            shown = ", ".join(f"{name} {value}" for name, value in found.items())
            words = f"{condition.metric} | {condition.examples} | {condition.seeds} | {spread[0]} to {spread[-1]}"
            words += " (paired)" if condition.paired else ""
            print(f"| {measure} | {words} | {shown} |", flush=True)
            results.append({"measure": measure, **vars(condition), **found})
    for number in (40, 100, 200) if "documents" in chosen else ():
        for correlation in (0.1, 0.3):
            found = documents(np.random.default_rng(given.seed), number, correlation, 3, given.repeats)
            shown = ", ".join(f"{name} {value}" for name, value in found.items())
            words = f"accuracy | {number} documents | 3 | alike by {correlation}"
            print(f"| documents | {words} | {shown} |", flush=True)
            results.append({"measure": "documents", "documents": number, "correlation": correlation, **found})
    for examples, both in FEW[: given.conditions] if "few" in chosen else ():
        found = few(np.random.default_rng(given.seed), examples, both, given.repeats)
        shown = ", ".join(f"{name} {value}" for name, value in found.items())
        print(f"| few | accuracy | {examples} | – | {both} % and {both + 1} % wrong alone | {shown} |", flush=True)
        results.append({"measure": "few", "examples": examples, "both": both, **found})
    moved = [one for one in results if one["measure"] == "alarms" and min(one["spreads"]) >= 0.5]
    every = [one for one in results if one["measure"] == "alarms"]
    summary = {
        "single": [
            min((one["single"] for one in moved), default=None),
            max((one["single"] for one in moved), default=None),
        ],
        "family": max((one["family"] for one in every), default=None),
        "coverage": min((one["coverage"] for one in every), default=None),
    }
    print(json.dumps({"benchmark": "seeds", "repeats": given.repeats, "summary": summary, "results": results}))


if __name__ == "__main__":
    main()
