"""Which task an example is of, where it does not say so, and what that does to scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.evaluation.evaluate import evaluate
from adapters.experiments.continual.sequence import TASK_INCREMENTAL, SequenceTask
from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.serving.bank.router import Router
from adapters.tasks.base.example import Example, Prediction


def published_router(run: SequenceRun) -> Router:
    """The router to all tasks, which refuses a share of the dev texts."""
    router = _router(run, run.tasks)
    if run.settings.none_rate > 0:
        router.set_threshold({one.name: run.features.of(one.dev) for one in run.tasks}, run.settings.none_rate)
    return router


def _router(run: SequenceRun, tasks: Sequence[SequenceTask]) -> Router:
    return Router.fit(run.settings.routing, {one.name: run.features.of(one.train) for one in tasks})


def routes(run: SequenceRun) -> bool:
    """Whether a router chooses among the run's adapters."""
    return run.strategy.routed and run.settings.routing != "none" and len(run.tasks) > 1


def found_share(run: SequenceRun, known: Sequence[SequenceTask], tasks: Sequence[SequenceTask]) -> float:
    """The mean share of dev examples of some tasks that a router to the known tasks sends to their own."""
    router = _router(run, known)
    shares = [
        np.mean([routed.adapter == one.name for routed in router.choose(run.features.of(one.dev))]) for one in tasks
    ]
    return float(np.mean(shares))


class Answers:
    """Predictions that are there already, as a predictor: the evaluator scores no other."""

    def __init__(self, predictions: list[Prediction]) -> None:
        """Args: predictions: of the examples that will be scored, in their order."""
        self.predictions = predictions

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example."""
        return self.predictions


def routed_scores(run: SequenceRun) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores after each task with adapters that the router chose, and counts after the last one.

    An answer of another task's adapter is wrong where tasks have outputs of their own, even if the label has the same
    name; where they share labels it is compared as any other.
    """
    tasks, scenario = run.tasks, run.settings.scenario
    names = [one.name for one in tasks]
    answers = _all_answers(run)
    matrix, accuracy, counts = [], [], dict[str, np.ndarray]()
    confusion: dict[str, dict[str, int]] = {}
    router = Router(run.settings.routing)
    for number in range(len(tasks)):
        learned = tasks[: number + 1]
        router.add(tasks[number].name, run.features.of(tasks[number].train))
        row: list[dict[str, float] | None] = [None] * len(tasks)
        right = []
        for j, one in enumerate(learned):
            chosen = [routed.adapter for routed in router.choose(run.features.of(one.scored()))]
            right.append(float(np.mean([name == one.name for name in chosen])))
            confusion[one.name] = {name: chosen.count(name) for name in names if name in chosen}
            metric, scored = run.metric(one), one.scored()
            routed_answers = Answers(_picked(one, chosen, answers, scenario))
            found = evaluate(routed_answers, scored[:], [metric], split=scored.name, seed=run.settings.seed)
            row[j] = dict(found.main)
            counts[f"routed/{one.name}"] = found.counts[metric.name]
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
        f"without task identity ({run.settings.routing}): {accuracy[-1]:.1%} of the examples find their task, mean "
        f"score {np.mean([one['value'] for one in matrix[-1] if one is not None]):.1%}"
    )
    return record, counts


def _all_answers(run: SequenceRun) -> dict[tuple[str, str], list[Prediction]]:
    """What each task's own model says of each task's test examples."""
    predictors = {one.name: run.predictor_of(one) for one in run.tasks}
    return {(name, one.name): own.predict(one.scored()[:]) for name, own in predictors.items() for one in run.tasks}


def _picked(
    one: SequenceTask,
    chosen: Sequence[str | None],
    answers: dict[tuple[str, str], list[Prediction]],
    scenario: str,
) -> list[Prediction]:
    """The predictions of the chosen models."""
    shared = scenario != TASK_INCREMENTAL
    return [
        answers[name, one.name][i] if name is not None and (shared or name == one.name) else _wrong(example.gold)
        for i, (name, example) in enumerate(zip(chosen, one.scored(), strict=True))
    ]


def _wrong(gold: Any) -> Prediction:
    """An answer that no metric takes for right: of tags none, of a label none."""
    return Prediction(value=["O"] * len(gold) if isinstance(gold, list) else None)
