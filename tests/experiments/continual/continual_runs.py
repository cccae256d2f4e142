"""Folders of continual runs with known numbers, as far as what reads them needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.evaluation.metrics.base.metric import load_metric
from adapters.experiments.continual.results import ConditionRuns, Record, load

TASKS = {"trec": 50, "agnews": 200, "dbpedia": 120}
"""Test examples of each task."""
LABELS = ["a", "b", "c"]
METRIC = load_metric("accuracy", LABELS)


def answers(task: str, n: int, rate: float, *, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """int64 `[n, 9]`, counts of answers of which exactly a share is right: mostly the easy examples of the task."""
    easy = np.random.default_rng(sum(map(ord, task))).standard_normal(n)
    own = np.random.default_rng((seed, n)).standard_normal(n)
    right = np.zeros(n, bool)
    right[np.argsort(-(easy + noise * own))[: round(rate * n)]] = True
    gold = [LABELS[i % 3] for i in range(n)]
    found = [label if ok else LABELS[(LABELS.index(label) + 1) % 3] for label, ok in zip(gold, right, strict=True)]
    return METRIC.count_all(gold, found)


def score(value: float | None) -> dict[str, float] | None:
    return None if value is None else {"value": value, "low": max(value - 0.05, 0), "high": min(value + 0.05, 1)}


def conditions(runs: Sequence[Path], *, planned: int = 0) -> list[ConditionRuns]:
    """Conditions of finished runs that differ only in order and seed, in the order of their first runs."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in map(load, runs):
        key = (record.scores["method"], record.scores["strategy"], record.scores["row_digest"])
        groups.setdefault(key, []).append(record)
    return [ConditionRuns(records=own, planned=planned) for own in groups.values()]


def write_run(
    folder: Path,
    strategy: str,
    *,
    ends: Mapping[str, float],
    method: str = "lora",
    order: Sequence[str] = tuple(TASKS),
    number: int = 0,
    seed: int = 0,
    fresh: float = 0.9,
    at_once: bool = False,
    routed: float | None = None,
    stored: int = 1000,
    sizes: Mapping[str, int] = TASKS,
    notes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A finished run.

    Args:
        folder: of the run.
        strategy: its name.
        ends: each task's final score.
        method: the same.
        order: of the tasks.
        number: of the order.
        seed: of the run.
        fresh: score of a task directly after it is learned; from there it falls evenly to its end.
        at_once: whether all tasks are learned in one stage.
        routed: what share of the score is left without the task identity; None: it is not routed.
        stored: bytes beyond the base.
        sizes: test examples of each task.
        notes: of the strategy.
        settings: of the run.
        changes: keys of scores.json.
    """
    counts = {f"final/{task}": answers(task, sizes[task], ends[task], seed=seed) for task in order}
    final = {task: float(METRIC.scores(counts[f"final/{task}"].sum(0))["accuracy"]) for task in order}
    last = len(order) - 1
    matrix = [[final[task] for task in order]]
    if not at_once:
        matrix = [
            [
                None if i < j else final[task] if i == last else fresh + (final[task] - fresh) * (i - j) / (last - j)
                for j, task in enumerate(order)
            ]
            for i in range(len(order))
        ]
    learned = [list(order)] if at_once else [[task] for task in order]
    stages = [
        {
            "tasks": tasks, "train_seconds": 30.0, "seconds": 40.0, "tokens": 1000, "steps": 50,
            "peak_memory_bytes": 2**30, "learning_rate": 1e-3,
            "stored_bytes": {"base": 90_000_000, "model": stored, "memory": 0, "other": 0},
        }
        for tasks in learned
    ]  # fmt: skip
    through = None
    if routed is not None:
        counts |= {f"routed/{task}": answers(task, sizes[task], routed * ends[task], seed=seed) for task in order}
        sent = {task: float(METRIC.scores(counts[f"routed/{task}"].sum(0))["accuracy"]) for task in order}
        rows = [[score(None if v is None else routed * v) for v in row] for row in matrix]
        rows[-1] = [score(sent[task]) for task in order]
        confusion = {one: {other: 40 if one == other else 3 for other in order} for one in order}
        shares = [1.0, *([routed] * last)][: len(matrix)]
        through = {"matrix": rows, "accuracy": shares, "kind": "means", "confusion": confusion}
    scores: dict[str, Any] = {
        "format": 1,
        "task": "classification",
        "method": method,
        "base": "an-organisation/minilm",
        "strategy": strategy,
        "strategy_notes": dict(notes or {}),
        "scenario": "task-incremental",
        "order": list(order),
        "order_number": number,
        "seed": seed,
        "tasks": {
            task: {
                "n_test": sizes[task], "split": "test", "n_train": 500, "labels": 3, "digest": f"digest of {task}",
                "metric": "accuracy", "score": "accuracy", "label_names": LABELS, "documents": False,
            }
            for task in order
        },
        "matrix": [[score(value) for value in row] for row in matrix],
        "routed": through,
        "untrained": [None] * len(order),
        "stages": stages,
        "main": {
            "metric": "accuracy", "score": "accuracy", "title": "Accuracy",
            "value": float(np.mean([final[task] for task in order])),
        },
        "settings": {"learning_rate": 1e-3, **(settings or {})},
        "settings_digest": "s",
        "row_digest": f"{strategy}-{method}-{json.dumps(settings or {}, sort_keys=True)}",
        "versions": {"python": "3"},
        "hardware": {"cpu": "a"},
    }  # fmt: skip
    scores.update(changes)
    folder.mkdir(parents=True)
    with (folder / "counts.npz").open("wb") as stream:
        np.savez(stream, **counts)
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder
