"""Which task an example is of, where it does not say so, and what that does to scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.evaluation.documents import chosen_units
from adapters.evaluation.significance import bootstrap
from adapters.experiments.continual.sequence import TASK_INCREMENTAL, SequenceTask
from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.serving.bank.router import Router
from adapters.tasks.base.example import Prediction


def published_router(run: SequenceRun) -> Router:
    """The router to all tasks, which refuses a share of the dev texts."""
    router = Router.fit(run.settings.routing, {one.name: run.features(one.train[:]) for one in run.tasks})
    if run.settings.none_rate > 0:
        router.set_threshold({one.name: run.features(one.dev[:]) for one in run.tasks}, run.settings.none_rate)
    return router


def routes(run: SequenceRun) -> bool:
    """Whether a router chooses among the run's adapters."""
    return run.strategy.routed and run.settings.routing != "none" and len(run.tasks) > 1


def found_share(run: SequenceRun, tasks: Sequence[SequenceTask]) -> float:
    """The mean share of dev examples of some tasks that the router to all of the run's tasks sends to their own."""
    router = Router.fit(run.settings.routing, {one.name: run.features(one.train[:]) for one in run.tasks})
    shares = [
        np.mean([routed.adapter == one.name for routed in router.choose(run.features(one.dev[:]))]) for one in tasks
    ]
    return float(np.mean(shares))


def routed_scores(run: SequenceRun) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores after each task with adapters that the router chose, and counts after the last one.

    An answer of another task's adapter is wrong where tasks have outputs of their own, even if the label has the same
    name; where they share labels it is compared as any other.
    """
    tasks, scenario = run.tasks, run.settings.scenario
    features = {one.name: run.features(one.scored()[:]) for one in tasks}
    names = [one.name for one in tasks]
    answers = _all_answers(run)
    matrix, accuracy, counts = [], [], dict[str, np.ndarray]()
    confusion: dict[str, dict[str, int]] = {}
    router = Router(run.settings.routing)
    for number in range(len(tasks)):
        learned = tasks[: number + 1]
        router.add(tasks[number].name, run.features(tasks[number].train[:]))
        row: list[dict[str, float] | None] = [None] * len(tasks)
        right = []
        for j, one in enumerate(learned):
            chosen = [routed.adapter for routed in router.choose(features[one.name])]
            right.append(float(np.mean([name == one.name for name in chosen])))
            confusion[one.name] = {name: chosen.count(name) for name in names if name in chosen}
            metric = run.metric(one)
            golds, predictions = _compared(one, chosen, answers, scenario)
            found = metric.count_all(golds, [prediction.value for prediction in predictions])
            units = chosen_units(one.scored().documents())
            low, high = bootstrap(metric, units.summed(found), seed=run.settings.seed)[metric.main]
            value = float(metric.scores(found.sum(0))[metric.main])
            row[j] = {"value": value, "low": low, "high": high}
            counts[f"routed/{one.name}"] = found
        matrix.append(row)
        accuracy.append(float(np.mean(right)))
    record = {
        "kind": run.settings.routing,
        "matrix": matrix,
        "accuracy": accuracy,
        "confusion": confusion,
        "bytes": router.bytes,
    }
    run.say(
        f"without the task's name ({run.settings.routing}): {accuracy[-1]:.1%} of the examples find their task, mean "
        f"score {np.mean([one['value'] for one in matrix[-1] if one is not None]):.1%}"
    )
    return record, counts


def _all_answers(run: SequenceRun) -> dict[tuple[str, str], list[Prediction]]:
    """What each task's own model says of each task's test examples."""
    predictors = {one.name: run.predictor_of(one) for one in run.tasks}
    return {(name, one.name): own.predict(one.scored()[:]) for name, own in predictors.items() for one in run.tasks}


def _compared(
    one: SequenceTask,
    chosen: Sequence[str | None],
    answers: dict[tuple[str, str], list[Prediction]],
    scenario: str,
) -> tuple[list[Any], list[Prediction]]:
    """Gold answers, and the predictions of the chosen models."""
    golds = [example.gold for example in one.scored()]
    shared = scenario != TASK_INCREMENTAL
    picked = [
        answers[name, one.name][i] if name is not None and (shared or name == one.name) else _wrong(golds[i])
        for i, name in enumerate(chosen)
    ]
    return golds, picked


def _wrong(gold: Any) -> Prediction:
    """An answer that no metric takes for right: of tags none, of a label none."""
    return Prediction(value=["O"] * len(gold) if isinstance(gold, list) else None)
