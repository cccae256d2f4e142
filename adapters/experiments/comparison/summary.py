"""All numbers of a comparison: the scores of each row, the significance of differences, advice."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from adapters.core.holm import holm
from adapters.evaluation.differences import (
    LEVEL,
    MANY,
    Difference,
    differences,
    lower_bounds,
    row_error,
    row_interval,
    satterthwaite,
    with_power,
)
from adapters.evaluation.documents import chosen_units
from adapters.evaluation.metrics.base.any_metric import score_title
from adapters.evaluation.metrics.base.metric import Metric, main_metric
from adapters.evaluation.random_effects import Effects, effects, moderated, resampled_scores
from adapters.evaluation.significance import RESAMPLES, holm_levels
from adapters.experiments.comparison import curves
from adapters.experiments.comparison.results import Row, documents_of

MARGIN = 0.01
MOST_EXAMPLES, MOST_SEEDS = 10**8, 10**4
"""Numbers above which nobody is told how many would be needed."""
COSTS = {
    "storage": ("artifact_bytes", "the least storage for one more task"),
    "training": ("train_seconds", "the least time to train"),
    "latency": ("latency_p50_ms", "the least time to answer"),
    "memory": ("peak_memory_bytes", "the least memory"),
}
"""What a method costs, by the value of --cost: the row's key, and words."""


def summarise(
    rows: Sequence[Row],
    *,
    margin: float = MARGIN,
    cost: str = "storage",
    resample: str = "auto",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """All numbers of a comparison, as JSON.

    Args:
        rows: of records that are alike.
        margin: a method that scores less by no more than this is non-inferior.
        cost: a key of `COSTS`, by which one of several non-inferior methods is advised.
        resample: a value of --resample: whether whole documents are resampled.
        seed: of the resampling.
        resamples: number of resamples, drawn once for all rows and tests.

    Raises: DataError where whole documents are to be resampled, and are not known.
    """
    first = rows[0].records[0]
    main = first.scores["main"]
    metric, score = main_metric(main["metric"], first.scores["labels"]), main["score"]
    overlap = np.array([line.get("in_train", False) for line in first.lines], dtype=bool)
    for record in (record for row in rows for record in row.records):
        overlap |= np.array([line.get("in_train", False) for line in record.lines], dtype=bool)
    counts = [np.stack([record.counts(metric) for record in row.records]) for row in rows]
    units = chosen_units(documents_of([record for row in rows for record in row.records]), resample)
    drawn = [units.summed(own) for own in counts]
    resampled = resampled_scores(metric, drawn, score, seed=seed, resamples=resamples)
    found = [
        effects(metric, own, score, seeded=row.seeded, draws=row.draws or row.trained)
        for row, own in zip(rows, drawn, strict=True)
    ]
    by_base = {
        base: _moderated(found, rows, competing(rows, base)) for base in compared_bases(row.base for row in rows)
    }
    first_base = next(iter(by_base))
    table = [
        _row(row, metric, score, own, by_base[row.base or first_base][i], resampled[:, i], overlap)
        for i, (row, own) in enumerate(zip(rows, counts, strict=True))
    ]
    compare = partial(differences, resampled=resampled, seed=seed, resamples=resamples, bounds=metric.bounds)
    tests, advice = _tests(rows, by_base, table, compare, margin=margin, cost=cost)
    for more in (one["needed"] for one in advice if one.get("needed")):
        more[units.name] = more.pop("examples")
    if not units.enough:
        table = [{**row, "low": None, "high": None, "standard_errors": None} for row in table]
        tests, advice = [], []
    crossed = [by_base[row.base or first_base][i] for i, row in enumerate(rows)]
    crossings = curves.crossings(table, crossed, resampled, seed=seed) if units.enough else []
    machines = {json.dumps(record.scores["hardware"], sort_keys=True) for row in rows for record in row.records}
    return {
        "task": first.scores["task"],
        "metric": metric.name,
        "score": score,
        "title": score_title(metric),
        "dataset": {k: first.scores["dataset"][k] for k in ("name", "revision", "split", "n", "digest")},
        "overlap": {"count": int(overlap.sum()), "first": _first_overlap(rows)},
        "resampled": units.record(),
        "rows": table,
        "tests": tests,
        "advice": advice,
        "planned": any(row.planned for row in rows),
        "crossings": crossings,
        "machines": len(machines),
        "versions": first.scores["versions"],
        "hardware": first.scores["hardware"],
    }


def compared_bases(bases: Iterable[str]) -> list[str]:
    """The bases on each of which rows are compared; an empty name where no row has one."""
    return [base for base in dict.fromkeys(bases) if base] or [""]


def competing(rows: Sequence[Row], base: str) -> list[int]:
    """The rows that are compared on a base: its own, and those without a base, which compete on every one."""
    return [i for i, row in enumerate(rows) if row.base in (base, "")]


def _moderated(found: Sequence[Effects], rows: Sequence[Row], chosen: Sequence[int]) -> list[Effects]:
    """The effects of all rows, with those of some moderated together.

    A row that is incomplete is in no test, and so is its spread. What several rows have trained, as a run and its
    exports have, spreads once: each of them is moderated in the place of the first.
    """
    out, first = list(found), dict[tuple[str, ...], int]()
    complete = [i for i in chosen if not rows[i].incomplete]
    for i in complete:
        first.setdefault(rows[i].trained, i)
    for i, effect in zip(first.values(), moderated([found[i] for i in first.values()]), strict=True):
        out[i] = effect
    for i in (i for i in complete if i not in first.values()):
        family = [i if trained == rows[i].trained else one for trained, one in first.items()]
        out[i] = moderated([found[k] for k in family])[family.index(i)]
    return out


def _row(
    row: Row,
    metric: Metric,
    score: str,
    counts: np.ndarray,
    effect: Effects,
    resampled: np.ndarray,
    overlap: np.ndarray,
) -> dict[str, Any]:
    """Quality with intervals, and cost, of one row."""
    values = effect.values.tolist()
    error = row_error(effect, resampled)
    low, high = row_interval(effect, error, metric.bounds)
    without = values
    if overlap.any():
        without = np.asarray(metric.scores(counts[:, ~overlap].sum(1))[score], np.float64).tolist()
    first = row.records[0].scores
    return {
        "method": row.method,
        "base": row.base,
        "size": row.size,
        "seeds": [record.scores["seed"] for record in row.records],
        "incomplete": row.incomplete,
        "of_one_model": effect.of_one_model,
        "values": values,
        "value": effect.value,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "low": low,
        "high": high,
        "standard_errors": {
            "examples": float(error.draws.std()),
            "seeds": error.seeds,
            "freedom": finite(error.freedom),
        },
        "without_overlap": float(np.mean(without)),
        "trainable_params": row.cost("trainable_params"),
        "total_params": row.cost("total_params"),
        "train_examples": first["dataset"]["sizes"].get("train", 0),
        "labels": row.labels,
        "train_seconds": row.cost("train_seconds"),
        "train_tokens_per_second": row.cost("train_tokens_per_second") or None,  # 0: no tokens are counted
        "peak_memory_bytes": row.cost("peak_memory_bytes"),
        "artifact_bytes": row.cost("artifact_bytes"),
        "latency_p50_ms": row.cost("latency_ms", "p50"),
        "latency_p95_ms": row.cost("latency_ms", "p95"),
        "examples_per_second": row.cost("examples_per_second"),
        "parse_failures": float(np.mean([r.scores["parse_failures"] for r in row.records])),
        "parse_failure_share": float(
            np.mean([r.scores["parse_failures"] / max(r.scores["dataset"]["n"], 1) for r in row.records])
        ),
        "truncated": float(np.mean([r.scores["truncated"] for r in row.records])),
        "shots_dropped": float(np.mean([r.scores["shots_dropped"] for r in row.records])),
        "notes": first["method_notes"],
        "tuning": row.tuning,
        "tuning_seconds": None if row.tuning is None else row.tuning["seconds"],
        "warnings": list(dict.fromkeys(one for r in row.records for one in r.scores["training"].get("warnings", []))),
        "curve": first["training"].get("dev_scores", []),
        "curves": [record.scores["training"].get("dev_scores", []) for record in row.records],
        "by_label": _by_label(row, metric),
        "runs": [str(record.folder) for record in row.records],
    }


def finite(freedom: float) -> float | None:
    """Degrees of freedom as JSON has them: null for infinitely many."""
    return None if np.isinf(freedom) else round(float(freedom), 2)


def _by_label(row: Row, metric: Metric) -> dict[str, float]:
    """F1 of each class in the metric's first table, of counts summed over seeds; empty where that has no classes."""
    section = metric.sections(np.sum([r.counts(metric).sum(0) for r in row.records], axis=0))[0]
    if "F1" not in section.columns:
        return {}
    at = section.columns.index("F1")
    return {name: values[at] for name, values in section.rows if not name.endswith(" avg")}


def _first_overlap(rows: Sequence[Row]) -> list[Any]:
    found = [record.scores["overlap"]["first"] for row in rows for record in row.records]
    return max(found, key=len)


def _tests(
    rows: Sequence[Row],
    by_base: Mapping[str, Sequence[Effects]],
    table: Sequence[Mapping[str, Any]],
    compare: Callable[..., list[Difference]],
    *,
    margin: float,
    cost: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All pairs of a base that learned from the same data, Holm-adjusted together; and an advice for each base.

    A pair without a base is tested on every base, and adjusted with the pairs of each. `compare` is
    `differences.differences`, given the resamples.
    """
    tests, advice = [], []
    for base, found in by_base.items():
        complete = [i for i in competing(rows, base) if not rows[i].incomplete]
        pairs = [(i, j) for i in complete for j in complete if i < j and _same_training(rows[i], rows[j])]
        own = dict(zip(pairs, compare(found, pairs=pairs), strict=True))
        tests += test_records(base, own, found)
        entered = largest(table, base)
        if len(entered) > 1:
            advice.append(_advice(base, entered, own, found, rows, table, margin=margin, cost=cost))
    return tests, advice


def test_records(
    base: str, compared: Mapping[tuple[int, int], Difference], found: Sequence[Effects]
) -> list[dict[str, Any]]:
    """As JSON, the tests of a family of pairs, Holm-adjusted together.

    Intervals are at the levels of their tests. They are made by resampling and the tests by swaps, which may disagree
    where few units differ: an interval then reaches to 0 where its test is not significant.
    """
    p_values = [test.p for test in compared.values()]
    adjusted, levels = holm(p_values), holm_levels(p_values, LEVEL)
    intervals = [
        (low, high) if p < LEVEL else (min(low, 0.0), max(high, 0.0))
        for (low, high), p in zip(
            (test.interval(level) for test, level in zip(compared.values(), levels, strict=True)), adjusted, strict=True
        )
    ]
    return [
        {
            "base": base,
            "rows": [i, j],
            "difference": test.difference,
            "low": low,
            "high": high,
            "level": level,
            "p": test.p,
            "p_holm": p,
            "detectable": test.detectable(len(compared)),
            "differs": p < LEVEL,
            "of_one_model": found[i].of_one_model or found[j].of_one_model,
            "standard_errors": dict(zip(("examples", "seeds"), test.standard_errors, strict=True)),
        }
        for ((i, j), test), p, level, (low, high) in zip(compared.items(), adjusted, levels, intervals, strict=True)
    ]


def _same_training(one: Row, other: Row) -> bool:
    """Whether two rows learned from the same examples, or one of them from none."""
    untrained = not (one.cost("trainable_params") and other.cost("trainable_params"))
    return untrained or (one.size == other.size and one.training == other.training)


def largest(table: Sequence[Mapping[str, Any]], base: str) -> list[int]:
    """The complete rows that compete on a base with the most training examples, and those that train nothing."""
    own = [i for i, row in enumerate(table) if row["base"] in (base, "") and not row["incomplete"]]
    most = max((table[i]["train_examples"] for i in own if table[i]["size"]), default=None)
    return [i for i in own if most is None or not table[i]["size"] or table[i]["train_examples"] == most]


def _advice(
    base: str,
    entered: Sequence[int],
    compared: Mapping[tuple[int, int], Difference],
    found: Sequence[Effects],
    rows: Sequence[Row],
    table: Sequence[Mapping[str, Any]],
    *,
    margin: float,
    cost: str,
) -> dict[str, Any]:
    """Which methods are non-inferior to every other, and the cheapest of them; else what it would take to say so."""
    bounds = lower_bounds(entered, compared)
    good = [i for i in entered if bounds[i] > -margin]
    best = max(entered, key=lambda i: table[i]["value"])
    untested = any((i, j) not in compared for i in entered for j in entered if i < j)
    chosen, unknown = _cheapest(good, rows, table, cost)
    out: dict[str, Any] = {
        "base": base,
        "margin": margin,
        "cost": cost,
        "bounds": {str(i): bound if np.isfinite(bound) else None for i, bound in bounds.items()},
        "non_inferior": good,
        "untested": untested,
        "chosen": chosen,
        "unknown_cost": unknown,
    }
    if not good:
        others = [] if untested else [k for k in entered if k != best]
        tests = [(compared[min(best, k), max(best, k)], max(len(found[i].values) for i in (best, k))) for k in others]
        level, n = LEVEL / (len(entered) - 1), len(found[best].influence)
        out["needed"] = needed_together([needed(test, runs, level=level, margin=margin, n=n) for test, runs in tests])
    return out


def _cheapest(
    good: Sequence[int], rows: Sequence[Row], table: Sequence[Mapping[str, Any]], cost: str
) -> tuple[int | None, str]:
    """The row that costs least, of equal ones the best; none where costs cannot be compared, and why.

    A single row needs no comparison of costs.
    """
    key = COSTS[cost][0]
    machines = {json.dumps(record.scores["hardware"], sort_keys=True) for i in good for record in rows[i].records}
    if len(good) < 2:
        return (good[0] if good else None), ""
    if key != COSTS["storage"][0] and len(machines) > 1:
        return None, "measured on different machines"
    if missing := [i for i in good if table[i][key] is None]:
        return None, f"not measured of {', '.join(str(table[i]['method']) for i in missing)}"
    return min(good, key=lambda i: (table[i][key], -table[i]["value"])), ""


def needed(test: Difference, runs: int, *, level: float, margin: float, n: int) -> dict[str, int | None]:
    """Examples, or seeds, at which two equal methods would be called non-inferior with a power of 80 %.

    Of the other as many as now. None where no number is enough; nothing where those that there are would be.

    Args:
        test: of the two methods.
        runs: seeds of each.
        level: of the one-sided bound.
        margin: within which they would be non-inferior.
        n: examples.
    """
    from scipy import stats

    if not test.error.size:  # no unit tells them apart: Clopper and Pearson's bound has to fall below the margin
        enough = int(np.ceil(np.log(level) / np.log1p(-min(margin, 0.5)))) if margin else None
        return {} if enough is not None and enough <= n else {"examples": enough, "seeds": None}
    examples, seeds = (error**2 for error in test.standard_errors)

    def enough_with(units: int, draws: int) -> bool:
        freedom = test.error.freedom * (draws - 1) / max(runs - 1, 1)
        of_examples, of_seeds = examples * n / units, seeds * runs / draws
        size = np.sqrt(of_examples + of_seeds)
        whole = satterthwaite(size, np.sqrt(of_seeds), freedom)
        critical = stats.norm.isf(level) if whole > MANY else stats.t.isf(level, whole)
        return bool(size * with_power(critical, whole) <= margin)

    if enough_with(n, runs):
        return {}
    return {
        "examples": _least(n, MOST_EXAMPLES, lambda units: enough_with(units, runs)),
        "seeds": _least(runs, MOST_SEEDS, lambda draws: enough_with(n, draws)) if seeds else None,
    }


def _least(above: int, most: int, enough: Callable[[int], bool]) -> int | None:
    """The least number, above one and at most another, from which on there is enough; None if there is none."""
    if not enough(most):
        return None
    return above + 1 + bisect.bisect_left(range(above + 1, most), True, key=enough)


def needed_together(found: Sequence[Mapping[str, int | None]]) -> dict[str, int | None]:
    """What is enough for several pairs: of each kind the largest number, none where a pair has none."""
    limiting = [one for one in found if one]
    if not limiting:
        return {}
    return {
        kind: None if any(one[kind] is None for one in limiting) else max(one[kind] or 0 for one in limiting)
        for kind in ("examples", "seeds")
    }
