"""All numbers of several conditions of a continual experiment: scores with intervals, forgetting, cost, tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from adapters.evaluation import mean_over_tasks
from adapters.evaluation.differences import Difference, differences, lower_bounds, row_error, row_interval
from adapters.evaluation.documents import Units
from adapters.evaluation.forgetting import Measures, measures
from adapters.evaluation.random_effects import Effects, moderated
from adapters.evaluation.significance import RESAMPLES
from adapters.experiments.comparison.summary import MARGIN, finite, test_records
from adapters.experiments.continual.results import ConditionRuns, Record, check_alike, units_of

STORED = ("base", "model", "memory", "other")
"""What a run keeps on disk: the base model, what was trained, remembered examples, anything else."""
ACROSS_RUNS = ("learning_accuracy", "forgetting", "backward", "forward", "intransigence")
"""Fields of `Measures` that are averaged over runs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The answers of a condition: as its runs give them, or without the task identity, by routing."""

    condition: ConditionRuns
    name: str
    routed: bool

    @property
    def first(self) -> Record:
        """What is the same in all runs is read from it."""
        return self.condition.records[0]

    @property
    def named(self) -> bool:
        """Whether the task identity is given with each example."""
        return not self.routed and self.first.named

    @property
    def at_once(self) -> bool:
        """Whether all tasks were learned in one stage: what intransigence is measured against."""
        return len(self.first.scores["stages"]) == 1 < len(self.first.order)


def summarise(
    conditions: Sequence[ConditionRuns],
    *,
    margin: float = MARGIN,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """All numbers of an experiment, as JSON.

    Args:
        conditions: at least one.
        margin: a strategy that scores less by no more than this is non-inferior.
        seed: of the resampling.
        resamples: number of resamples, drawn once for all rows and tests.

    Raises:
        ComparisonError: runs are not alike.
    """
    records = [record for condition in conditions for record in condition.records]
    check_alike(records)
    units = units_of(records)
    rows = [
        Row(condition=condition, name=f"routed {name}" if routed else name, routed=routed)
        for condition, name in zip(conditions, names(conditions), strict=True)
        for routed in ((False, True) if condition.routed else (False,))
    ]
    numbers = {draw: number for number, draw in enumerate(sorted({record.draw for record in records}))}
    counts = [row.condition.tasks(units, routed=row.routed) for row in rows]
    draws = [[numbers[record.draw] for record in row.condition.records] for row in rows]
    found = moderated([mean_over_tasks.effects(own, draws=of) for own, of in zip(counts, draws, strict=True)])
    resampled = mean_over_tasks.resampled_scores(counts, seed=seed, resamples=resamples)
    joint = _joint(rows)
    limits = mean_over_tasks.bounds(counts[0])
    table = [
        {**_row(row, conditions.index(row.condition), joint), **_scored(own, drawn, limits)}
        for row, own, drawn in zip(rows, found, resampled.T, strict=True)
    ]
    complete = [i for i, row in enumerate(rows) if not row.condition.incomplete]
    pairs = list(combinations(complete, 2))
    compared = dict(zip(pairs, differences(found, resampled, pairs, seed=seed, resamples=resamples), strict=True))
    first = records[0].scores
    about = first["tasks"]
    return {
        "task": first["task"],
        "base": first["base"],
        "scenario": first["scenario"],
        "title": first["main"]["title"],
        "tasks": {
            task: {**{k: v for k, v in about[task].items() if k != "label_names"}, "resampled": units[task].record()}
            for task in records[0].order
        },
        "orders": [
            {"order_number": number, "order": list(order)}
            for number, order in sorted({record.draw[0]: record.order for record in records}.items())
        ],
        "dataset": {
            "n": sum(task["n_test"] for task in about.values()),
            "on_dev": [name for name, task in about.items() if task["split"] != "test"],
        },
        "resampled": _resampled(units),
        "by_draw": True,
        "rows": table,
        "tests": test_records(table[0]["base"], compared, found),
        "advice": [one for named in (True, False) for one in _advice(table, compared, named=named, margin=margin)],
        "confusions": _confusions(rows),
        "machines": len({json.dumps(record.scores.get("hardware"), sort_keys=True) for record in records}),
        "versions": first.get("versions"),
        "hardware": first.get("hardware"),
    }


def names(conditions: Sequence[ConditionRuns]) -> list[str]:
    """A name for each condition: strategy, and method where there are several."""
    methods = {condition.scores["method"] for condition in conditions}
    out = []
    for condition in conditions:
        method = f" with {condition.scores['method']}" if len(methods) > 1 else ""
        out.append(f"{condition.scores['strategy']}{method}")
    return [f"{name} [{out[:i].count(name) + 1}]" if out.count(name) > 1 else name for i, name in enumerate(out)]


def _scored(effect: Effects, resampled: np.ndarray, limits: tuple[float, float]) -> dict[str, Any]:
    """The final average over tasks, the mean over runs, with its interval."""
    error = row_error(effect, resampled)
    low, high = row_interval(effect, error, limits)
    return {
        "value": effect.value,
        "values": effect.values.tolist(),
        "sd": float(effect.values.std(ddof=1)) if len(effect.values) > 1 else None,
        "low": low,
        "high": high,
        "of_one_model": effect.of_one_model,
        "standard_errors": {
            "examples": float(error.draws.std()),
            "runs": error.seeds,
            "freedom": finite(error.freedom),
        },
    }


def _row(row: Row, number: int, joint: Mapping[tuple[str, bool], Mapping[str, float]]) -> dict[str, Any]:
    """What was measured of a condition's runs, apart from the final average."""
    records, scores = row.condition.records, row.first.scores
    found = [_measures(record, row, joint) for record in records]
    tasks = len(row.first.order)
    stored = {part: _cost(records, partial(_stored, part=part)) for part in STORED}
    if row.routed and stored["other"] is not None:
        stored["other"] += float(np.mean([record.scores["routed"].get("bytes", 0) for record in records]))
    beyond = [stored[part] for part in STORED if part != "base"]
    return {
        "condition": number,
        "name": row.name,
        "strategy": scores["strategy"],
        "strategy_notes": scores.get("strategy_notes", {}),
        "method": scores["method"],
        "base": scores["base"],
        "size": "",
        "routed": row.routed,
        "named": row.named,
        "bound": row.first.bound,
        "incomplete": row.condition.incomplete,
        "runs": [str(record.folder) for record in records],
        "orders": [record.draw[0] for record in records],
        "seeds": [record.draw[1] for record in records],
        **{name: _mean([getattr(one, name) for one in found]) for name in ACROSS_RUNS},
        "by_run": {name: [getattr(one, name) for one in found] for name in ACROSS_RUNS},
        "averages": _by_stage([one.averages for one in found]),
        "gaps": sorted({gap for one in found for gap in one.gaps}),
        "by_task": _by_task(records, routed=row.routed),
        "matrices": _matrices(records, routed=row.routed),
        "routing": _routing(records) if row.routed else None,
        "stored_bytes": stored,
        "artifact_bytes": None if None in beyond else sum(part for part in beyond if part is not None),
        "peak_memory_bytes": _cost(records, lambda stages: max(stage["peak_memory_bytes"] for stage in stages)),
        "train_seconds": _cost(records, lambda stages: sum(stage["train_seconds"] for stage in stages) / tasks),
        "seconds": _cost(records, lambda stages: sum(stage["seconds"] for stage in stages) / tasks),
        "tokens": _cost(records, lambda stages: sum(stage["tokens"] for stage in stages)),
        "steps": _cost(records, lambda stages: sum(stage["steps"] for stage in stages)),
    }


def _measures(record: Record, row: Row, joint: Mapping[tuple[str, bool], Mapping[str, float]]) -> Measures:
    """The numbers of a run's matrix; a model that learned all tasks at once is not held against itself."""
    reference = None if row.at_once else joint.get((record.scores["method"], row.named))
    untrained = None if row.routed else record.untrained()
    return measures(
        record.matrix(routed=row.routed),
        learned=record.learned,
        untrained=None if untrained is None else untrained.tolist(),
        joint=None if reference is None else [reference[task] for task in record.order],
        names=record.order,
    )


def _joint(rows: Sequence[Row]) -> dict[tuple[str, bool], dict[str, float]]:
    """By method, and by whether the task identity is given: each task's score by a model that learned all at once.

    Where there are several such conditions, that of the highest average.
    """
    out: dict[tuple[str, bool], dict[str, float]] = {}
    for row in rows:
        if row.at_once and not row.condition.incomplete:
            own = _by_task(row.condition.records, routed=row.routed)
            key = (str(row.first.scores["method"]), row.named)
            if key not in out or sum(own.values()) > sum(out[key].values()):
                out[key] = own
    return out


def _by_task(records: Sequence[Record], *, routed: bool) -> dict[str, float]:
    """Each task's final score, the mean over runs."""
    ends = [dict(zip(record.order, record.matrix(routed=routed)[-1].tolist(), strict=True)) for record in records]
    return {task: float(np.mean([own[task] for own in ends])) for task in records[0].order}


def _by_stage(averages: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Averages after each stage, the mean over runs; none where runs have different numbers of stages."""
    if len({len(own) for own in averages}) > 1:
        return []
    return [_mean(stage) for stage in zip(*averages, strict=True)]


def _matrices(records: Sequence[Record], *, routed: bool) -> list[dict[str, Any]]:
    """By order, the mean matrix of its runs; of one run, with intervals."""
    out = []
    for number in sorted({record.draw[0] for record in records}):
        own = [record for record in records if record.draw[0] == number]
        first = own[0]
        ends = {
            end: first.matrix(routed=routed, end=end) if len(own) == 1 else np.full((0, 0), np.nan)
            for end in ("low", "high")
        }
        value = np.mean([record.matrix(routed=routed) for record in own], axis=0)
        out.append(
            {
                "order_number": number,
                "order": list(first.order),
                "learned": list(first.learned),
                "stages": [list(stage["tasks"]) for stage in first.scores["stages"]],
                "seeds": [record.draw[1] for record in own],
                "matrix": _listed(value),
                **{end: _listed(found) for end, found in ends.items()},
            }
        )
    return out


def _listed(matrix: np.ndarray) -> list[list[float | None]]:
    """As JSON has it: null where nothing was scored."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]


def _routing(records: Sequence[Record]) -> dict[str, Any]:
    """The share of examples that were sent to their own task, after each stage, and the final one."""
    shares = [record.scores["routed"].get("accuracy") or [None] for record in records]
    return {
        "kind": records[0].scores["routed"].get("kind"),
        "accuracy": _by_stage(shares),
        "final": _mean([own[-1] for own in shares]),
    }


def _confusions(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of each routed condition's first run, which task's examples were sent where."""
    found = [(row.name, row.first.scores["routed"].get("confusion")) for row in rows if row.routed]
    return [{"name": name, "confusion": confusion} for name, confusion in found if confusion]


def _resampled(units: Mapping[str, Units]) -> dict[str, Any]:
    """What is resampled of all tasks together: documents where it is so in each task."""
    every = list(units.values())
    whole, known = all(own.of is not None for own in every), all(own.documents for own in every)
    return {
        "units": "documents" if whole else "examples",
        "examples": sum(own.examples for own in every),
        "documents": sum(own.documents for own in every) if known else None,
        "enough": all(own.enough for own in every),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean over runs; None where one does not have the number."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _stored(stages: Sequence[Mapping[str, Any]], part: str) -> float:
    """Bytes that are needed after the last stage."""
    return float(stages[-1]["stored_bytes"][part])


def _cost(records: Sequence[Record], of: Callable[[Sequence[Mapping[str, Any]]], float]) -> float | None:
    """The mean over runs of a number of their stages; None where it was not measured."""
    try:
        return float(np.mean([of(record.scores["stages"]) for record in records]))
    except (KeyError, TypeError):
        return None


def entered(table: Sequence[Mapping[str, Any]], *, named: bool) -> list[int]:
    """The complete rows that learn sequentially, with the task identity or without."""
    return [i for i, row in enumerate(table) if row["named"] == named and not row["bound"] and not row["incomplete"]]


def _advice(
    table: Sequence[Mapping[str, Any]],
    compared: Mapping[tuple[int, int], Difference],
    *,
    named: bool,
    margin: float,
) -> list[dict[str, Any]]:
    """Which strategies are non-inferior to every other, and the one of them that stores least beyond the base."""
    own = entered(table, named=named)
    if len(own) < 2:
        return []
    bounds = lower_bounds(own, compared)
    good = [i for i in own if bounds[i] > -margin]
    sized = [i for i in good if table[i]["artifact_bytes"] is not None]
    return [
        {
            "named": named,
            "margin": margin,
            "bounds": {str(i): bound if np.isfinite(bound) else None for i, bound in bounds.items()},
            "non_inferior": good,
            "chosen": min(sized, key=lambda i: table[i]["artifact_bytes"]) if sized else None,
        }
    ]
