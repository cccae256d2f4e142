"""The record of a finished sequence: what it published, and scores.json."""

from __future__ import annotations

import dataclasses
import math
import time
from itertools import zip_longest
from typing import Any

import numpy as np

from adapters.core import arguments, discovery
from adapters.core.environment import hardware, versions
from adapters.core.files import digest_value, write_json
from adapters.core.settings import lasting
from adapters.evaluation.metrics.base.any_metric import score_title
from adapters.experiments.continual import publish, routing, state
from adapters.experiments.continual.sequence import TASK_INCREMENTAL
from adapters.experiments.continual.sequence_run import SequenceRun


def finish(run: SequenceRun) -> dict[str, Any]:
    """Route where the strategy does, publish, and write scores.json, the last. Returns its contents."""
    number = 1 if run.strategy.together else len(run.tasks)
    stages = [state.read_stage(run.folder, i) for i in range(number)]
    matrix = [[stage["row"].get(one.name) for one in run.tasks] for stage in stages]
    counts = state.read_counts(run.folder, number - 1)
    routed = None
    if routing.routes(run) and not run.trial:
        routed, more = routing.routed_scores(run)
        counts |= more
    for one in run.tasks:
        documents = one.scored(trial=run.trial).documents()
        if "" not in documents:
            counts[f"documents/{one.name}"] = np.unique(documents, return_inverse=True)[1]
    final = [score["value"] for score in matrix[-1] if score is not None]
    first = run.tasks[0]
    settings = lasting(arguments.as_dict(run.settings))
    varied = {k: v for k, v in settings.items() if k not in ("seed", "tasks", "order_number")}
    record = {
        "task": run.task_name,
        "method": run.method_name,
        "base": run.session.base.name,
        "base_digest": run.session.base.digest,
        "given": run.given,
        "strategy": run.strategy.name,
        "strategy_notes": strategy_notes(run),
        "shared": run.strategy.shared,
        "scenario": run.settings.scenario,
        "order": [one.name for one in run.tasks],
        "order_number": run.settings.order_number,
        "seed": run.settings.seed,
        "tasks": {one.name: {**one.record(trial=run.trial), "label_names": run.label_names(one)} for one in run.tasks},
        "matrix": matrix,
        "routed": routed,
        "untrained": [one for one, _ in zip_longest(stages[0].get("untrained", ()), run.tasks)],  # later ones: None
        "stages": [{k: v for k, v in stage.items() if k not in ("row", "untrained")} for stage in stages],
        "main": {
            "metric": first.metric.name,
            "score": first.metric.main,
            "title": score_title(first.metric),
            "value": float(np.mean(final)) if final else math.nan,
        },
        "labels": list(first.task.labels.names),
        "training": {"tokens": sum(stage["tokens"] for stage in stages)},
        "seconds": round(time.perf_counter() - run.begun, 1),
        "settings": settings,
        "settings_digest": digest_value(settings),
        "row_digest": digest_value(varied),
        "processes": run.session.accelerator.num_processes,
        "precision": run.session.precision,
        "versions": versions(),
        "hardware": hardware(),
    }
    if run.settings.publish and not run.trial:
        published = publish.publish(run, run.folder, former={})
        if run.session.accelerator.is_main_process:
            write_json(run.folder / "published.json", {"adapters": published})
            publish.point(run.folder, published)
    if run.session.accelerator.is_main_process:
        state.write_counts(run.folder / "counts.npz", counts)
        if run.trial:
            state.remove(run.folder)
        write_json(run.folder / "scores.json", record)
    run.session.accelerator.wait_for_everyone()
    return record


def strategy_notes(run: SequenceRun) -> dict[str, Any]:
    """The strategy's own settings; what it is a bound of; whether the task identity is known when it answers."""
    own = discovery.load("strategies", run.strategy.name, run.settings.plugin_dir).Settings
    notes = {field.name: getattr(run.settings, field.name) for field in dataclasses.fields(own)}
    notes |= {"bound": run.strategy.bound} if run.strategy.bound else {}
    named = not run.strategy.shared or run.settings.scenario == TASK_INCREMENTAL
    return {**notes, "named": named}
