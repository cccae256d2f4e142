"""Records of continual runs: read, checked, and gathered into the conditions that are compared."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core.errors import ComparisonError, SettingsError, cause
from adapters.core.files import FORMAT
from adapters.evaluation.documents import Units, chosen_units
from adapters.evaluation.mean_over_tasks import TaskCounts
from adapters.evaluation.metrics.base.metric import Metric, main_metric
from adapters.experiments.continual.sequence import SCENARIOS
from adapters.experiments.continual.state import read_arrays

NEEDED = (
    "task",
    "method",
    "base",
    "strategy",
    "scenario",
    "order",
    "order_number",
    "seed",
    "tasks",
    "matrix",
    "stages",
    "main",
    "settings",
    "row_digest",
)
"""Keys that a record must have."""
OF_TASK = ("n_test", "n_train", "digest", "metric", "score", "label_names")
"""Keys of each of its tasks, which must be equal in all records that are compared."""
ROUNDING = 1e-4
"""How far a written score may be from that of the counts."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run's scores.json and counts.npz.

    Attributes:
        folder: of the run.
        scores: contents of scores.json.
        counts: `[n, width]` by `final/TASK`, of the metric after the last stage; by `routed/TASK`, the same of answers
            without the task identity; and int64 `[n]` by `documents/TASK`, the number of each example's document.
    """

    folder: Path
    scores: Mapping[str, Any]
    counts: Mapping[str, np.ndarray]

    @property
    def order(self) -> tuple[str, ...]:
        """The tasks in the order learned."""
        return tuple(self.scores["order"])

    @property
    def draw(self) -> tuple[int, int]:
        """What the runs of all conditions with the same numbers have in common: the order, and the seed."""
        return int(self.scores["order_number"]), int(self.scores["seed"])

    @property
    def learned(self) -> tuple[int, ...]:
        """The stage in which each task was learned."""
        return _learned(self.scores)

    @property
    def routed(self) -> bool:
        """Whether it has answers without the task identity, too."""
        return bool(self.scores.get("routed"))

    @property
    def named(self) -> bool:
        """Whether the scores of `matrix` are of answers with the task identity given.

        Said by the strategy (`strategy_notes`, `named`). Else: in a task-incremental run the name chooses among the
        labels, and a run that routes has it before routing.
        """
        told = self.scores.get("strategy_notes", {}).get("named")
        return bool(told) if told is not None else self.scores["scenario"] == "task-incremental" or self.routed

    @property
    def bound(self) -> str:
        """How it differs from sequential learning, in words; empty where it does not.

        Said by the strategy (`strategy_notes`, `bound`); a run of several tasks in one stage has all at once.
        """
        at_once = "all tasks at once" if len(self.scores["stages"]) == 1 < len(self.order) else ""
        return str(self.scores.get("strategy_notes", {}).get("bound", "") or at_once)

    def matrix(self, *, routed: bool = False, end: str = "value") -> np.ndarray:
        """Scores `[stages, tasks]`, nan where not scored; or the `low` or `high` ends of their intervals."""
        return _matrix(self.scores["routed"]["matrix"] if routed else self.scores["matrix"], end)

    def untrained(self) -> np.ndarray | None:
        """`[tasks]`, the scores of the model before it learned anything, nan where not known."""
        found = self.scores.get("untrained")
        return None if not found else np.array([np.nan if value is None else value for value in found], np.float64)


@dataclass(frozen=True, kw_only=True)
class ConditionRuns:
    """Runs of one strategy with one method, which differ in the order of the tasks and in the seed."""

    records: Sequence[Record]
    planned: int = 0
    """Runs that were to be made; some may have failed."""

    @property
    def scores(self) -> Mapping[str, Any]:
        """Of the first run, for what all have in common."""
        return self.records[0].scores

    @property
    def incomplete(self) -> bool:
        """Whether runs are missing: the mean of the others would flatter the strategy."""
        return len(self.records) < self.planned

    @property
    def routed(self) -> bool:
        """Whether all runs have answers without the task identity, too."""
        return all(record.routed for record in self.records)

    def tasks(self, units: Mapping[str, Units], *, routed: bool = False) -> list[TaskCounts]:
        """The counts of each task after the last stage, summed over what is resampled."""
        kind = "routed" if routed else "final"
        return [
            TaskCounts(
                metric=metric_of(self.scores["tasks"][task]),
                score=self.scores["tasks"][task]["score"],
                counts=own.summed(np.stack([record.counts[f"{kind}/{task}"] for record in self.records])),
            )
            for task, own in units.items()
        ]


def metric_of(task: Mapping[str, Any]) -> Metric:
    """The metric of a task of a record. Raises SettingsError where there is none of that name."""
    return main_metric(task["metric"], task["label_names"])


def load(folder: Path) -> Record:
    """The record of a run's folder. Raises ComparisonError where no run has finished, or its record is damaged."""
    if not (folder / "scores.json").is_file():
        raise ComparisonError(
            f"{folder}: has no scores.json: no run has finished there. Give folders of finished runs."
        )
    try:
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        counts = read_arrays(folder / "counts.npz")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ComparisonError(
            f"{folder}: scores.json or counts.npz is damaged ({cause(error)}). Run it again."
        ) from error
    faults = list(_faults(scores, counts))
    if faults:
        raise ComparisonError(
            "\n  ".join([f"{folder}: this is no record of a continual run that can be read:", *faults])
            + "\nRun it again with this version, or leave it out."
        )
    return Record(folder=folder, scores=scores, counts=counts)


def _faults(scores: Any, counts: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with a record, in words; what cannot be read ends the list."""
    if not isinstance(scores, Mapping):
        yield f"scores.json: must be an object, is {type(scores).__name__}"
        return
    missing = [name for name in NEEDED if name not in scores]
    if missing or scores.get("format") != FORMAT:
        yield f"scores.json: has format {scores.get('format')} (needed: {FORMAT}) and lacks {', '.join(missing) or '–'}"
        return
    try:
        yield from _shape_faults(scores)
        for task in scores["order"]:
            yield from _count_faults(task, scores, counts)
        last = _matrix(scores["matrix"])[-1]
        if not abs(last.mean() - scores["main"]["value"]) <= ROUNDING:
            yield f"main: is {scores['main']['value']}, but the mean of the last row is {last.mean():.6f}"
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, SettingsError) as error:
        yield f"scores.json: cannot be read: {type(error).__name__}: {error}"


def _shape_faults(scores: Mapping[str, Any]) -> Iterator[str]:
    """Whether order, tasks, stages and matrices belong together."""
    order, stages = list(scores["order"]), scores["stages"]
    if scores["scenario"] not in SCENARIOS:
        yield f"scenario: is {scores['scenario']}, must be {' or '.join(SCENARIOS)}"
    if len(set(order)) < len(order) or set(order) != set(scores["tasks"]):
        yield f"order: has {', '.join(order)}, but tasks has {', '.join(scores['tasks'])}"
    learned = [task for stage in stages for task in stage["tasks"]]
    if sorted(learned) != sorted(order):
        yield f"stages: learn {', '.join(learned)}; each task of the order must be learned once"
    for name, rows in (("matrix", scores["matrix"]), ("routed", (scores.get("routed") or {}).get("matrix"))):
        if rows is None:
            continue
        if len(rows) != len(stages) or any(len(row) != len(order) for row in rows):
            shape = f"{len(rows)} rows of {', '.join(sorted({str(len(row)) for row in rows}))}"
            yield f"{name}: has {shape} scores, must have {len(stages)} rows (stages) of {len(order)} (tasks)"
        elif np.isnan(_matrix(rows)[-1]).any():
            yield f"{name}: after the last stage, each task must be scored"
    if len(scores.get("untrained") or order) != len(order):
        yield f"untrained: has {len(scores['untrained'])} scores, must have {len(order)}"


def _count_faults(task: str, scores: Mapping[str, Any], counts: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Whether the counts of a task give the scores of the last row."""
    about = scores["tasks"][task]
    lacking = [name for name in OF_TASK if name not in about]
    if lacking:
        yield f"tasks: {task} lacks {', '.join(lacking)}"
        return
    metric, n = metric_of(about), int(about["n_test"])
    kinds = {"final": scores["matrix"], **({"routed": scores["routed"]["matrix"]} if scores.get("routed") else {})}
    for kind, rows in kinds.items():
        found = counts.get(f"{kind}/{task}")
        if found is None or found.shape != (n, metric.width):
            shape = "is missing" if found is None else f"has the shape {found.shape}"
            yield f"counts.npz: {kind}/{task} {shape}, must have {(n, metric.width)} ({about['metric']})"
            continue
        told = _matrix(rows)[-1, list(scores["order"]).index(task)]
        value = float(metric.scores(found.sum(0))[about["score"]])
        if not abs(value - told) <= ROUNDING:
            yield f"counts.npz: {kind}/{task} gives {value:.6f}, but its score after the last stage is {told:.6f}"
    if about.get("documents") and counts.get(f"documents/{task}", np.zeros(0)).shape != (n,):
        yield f"counts.npz: documents/{task} must have the number of each example's document, [{n}]"


def _matrix(rows: Sequence[Sequence[Mapping[str, float] | None]], end: str = "value") -> np.ndarray:
    """float64 `[stages, tasks]` of written scores; nan where there is none."""
    return np.array([[np.nan if cell is None else cell[end] for cell in row] for row in rows], np.float64)


def _learned(scores: Mapping[str, Any]) -> tuple[int, ...]:
    stage_of = {task: number for number, stage in enumerate(scores["stages"]) for task in stage["tasks"]}
    return tuple(stage_of[task] for task in scores["order"])


def check_alike(records: Sequence[Record]) -> None:
    """Raises ComparisonError, with all differences, unless records have the same tasks, data, metrics and base."""
    first, faults = records[0], []
    orders: dict[int, Record] = {}
    for other in records:
        same = orders.setdefault(other.draw[0], other)
        if same.order != other.order:
            faults.append(
                f"order {other.draw[0]}: {', '.join(same.order)} in {same.folder}, {', '.join(other.order)} in "
                f"{other.folder}"
            )
    for other in records[1:]:
        for key in ("task", "base", "scenario"):
            if first.scores[key] != other.scores[key]:
                told = f"{first.scores[key]} in {first.folder}, {other.scores[key]} in {other.folder}"
                faults.append(f"{key}: {told}")
        if set(first.order) != set(other.order):
            faults.append(f"tasks: {_listed(first)} in {first.folder}, {_listed(other)} in {other.folder}")
            continue
        faults += [fault for task in first.order for fault in _task_differences(task, first, other)]
    if faults:
        raise ComparisonError(
            "These runs cannot be compared, as they did not learn, or were not scored on, the same tasks:\n  "
            + "\n  ".join(dict.fromkeys(faults))
            + "\nCompare runs of one sequence of tasks and one base model, made by one version."
        )


def _listed(record: Record) -> str:
    return ", ".join(sorted(record.order))


def _task_differences(task: str, one: Record, other: Record) -> Iterator[str]:
    """What two records say differently of a task."""
    for key in OF_TASK:
        a, b = one.scores["tasks"][task][key], other.scores["tasks"][task][key]
        if a != b:
            a, b = (f"{len(value)} labels" if isinstance(value, list) else str(value)[:20] for value in (a, b))
            yield f"{task}, {key}: {a} in {one.folder}, {b} in {other.folder}"
    a, b = (record.counts.get(f"documents/{task}") for record in (one, other))
    if a is not None and b is not None and not np.array_equal(a, b):
        yield f"{task}: its examples are of other documents in {one.folder} and {other.folder}"


def units_of(records: Sequence[Record]) -> dict[str, Units]:
    """What is resampled of each task, by name: whole documents where they are known and not too few, else examples."""
    out = {}
    for task in records[0].order:
        known = (record.counts.get(f"documents/{task}") for record in records)
        documents = next((found for found in known if found is not None), None)
        n = int(records[0].scores["tasks"][task]["n_test"])
        out[task] = chosen_units([""] * n if documents is None else [str(number) for number in documents])
    return out
