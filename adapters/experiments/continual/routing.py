"""Which task an example is of, where it does not say so, and what that does to scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.core.progress import say
from adapters.data.tag_schemes import entity_types, spans, tags_of
from adapters.evaluation.evaluate import evaluate, main_score
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


def routed_dev_scores(run: SequenceRun, tasks: Sequence[SequenceTask]) -> list[float]:
    """Dev scores of some of the run's tasks, by the adapters that the published router chooses among all of them.

    What it sends to none of them is answered wrongly.
    """
    router, predictors = published_router(run), {one.name: run.predictor_of(one) for one in run.tasks}
    scores = []
    for one in tasks:
        chosen, examples = [routed.adapter for routed in router.choose(run.features.of(one.dev))], one.dev[:]
        answers: dict[tuple[str, int], Prediction] = {}
        for name in {name for name in chosen if name is not None}:
            own = [i for i, found in enumerate(chosen) if found == name]
            found = predictors[name].predict([examples[i] for i in own])
            answers |= {(name, i): answer for i, answer in zip(own, found, strict=True)}
        picked = _picked(one, examples, chosen, answers, run.settings.scenario)
        scores.append(main_score(Answers(picked), one.dev, run.metric(one)))
    return scores


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
    name: entities that it finds are counted as found, and none as right. Where tasks share labels it is compared as
    any other.
    """
    tasks, scenario = run.tasks, run.settings.scenario
    names = [one.name for one in tasks]
    router, choices = Router(run.settings.routing), []
    for number, learned in enumerate(tasks):
        router.add(learned.name, run.features.of(learned.train))
        choices.append(
            {
                one.name: [routed.adapter for routed in router.choose(run.features.of(one.scored()))]
                for one in tasks[: number + 1]
            }
        )
    answers = _answers(run, choices)
    matrix, accuracy, counts = [], [], dict[str, np.ndarray]()
    confusion: dict[str, dict[str, int]] = {}
    for chosen_by_task in choices:
        row: list[dict[str, float] | None] = [None] * len(tasks)
        right = []
        for j, (one, chosen) in enumerate(zip(tasks, chosen_by_task.values(), strict=False)):
            right.append(float(np.mean([name == one.name for name in chosen])))
            confusion[one.name] = {name: chosen.count(name) for name in names if name in chosen}
            metric, scored = run.metric(one), one.scored()
            picked = Answers(_picked(one, scored[:], chosen, answers[one.name], scenario))
            found = evaluate(picked, scored[:], [metric], split=scored.name, seed=run.settings.seed)
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
    say(
        f"without task identity ({run.settings.routing}): {accuracy[-1]:.1%} of the examples find their task, mean "
        f"score {np.mean([one['value'] for one in matrix[-1] if one is not None]):.1%}"
    )
    return record, counts


def _answers(
    run: SequenceRun, choices: Sequence[Mapping[str, Sequence[str | None]]]
) -> dict[str, dict[tuple[str, int], Prediction]]:
    """By task, what each adapter says of each of its test examples (numbered) for which it was ever chosen.

    Args:
        run: with an adapter for each task.
        choices: after each task, by task the adapter chosen for each of its examples.
    """
    found: dict[str, dict[tuple[str, int], Prediction]] = {one.name: {} for one in run.tasks}
    for own in run.tasks:
        predictor = run.predictor_of(own)
        for one in run.tasks:
            chosen = [stage[one.name] for stage in choices if one.name in stage]
            asked = sorted({i for stage in chosen for i, name in enumerate(stage) if name == own.name})
            if asked:
                examples = one.scored()[:]
                said = predictor.predict([examples[i] for i in asked])
                found[one.name] |= {(own.name, i): answer for i, answer in zip(asked, said, strict=True)}
    return found


def _picked(
    one: SequenceTask,
    examples: Sequence[Example],
    chosen: Sequence[str | None],
    answers: Mapping[tuple[str, int], Prediction],
    scenario: str,
) -> list[Prediction]:
    """The predictions of the chosen models for a task's examples; where none was chosen, one that is wrong.

    Args:
        one: the task.
        examples: of it.
        chosen: an adapter for each example.
        answers: of adapters, each with the number of the example.
        scenario: of the sequence.
    """
    shared = scenario != TASK_INCREMENTAL
    types = entity_types(one.task.labels) if one.task.answer == "tags" else ()
    picked = []
    for i, (name, example) in enumerate(zip(chosen, examples, strict=True)):
        if name is None:
            picked.append(_wrong(example.gold, [], types))
        elif shared or name == one.name:
            picked.append(answers[name, i])
        else:
            picked.append(_wrong(example.gold, answers[name, i].value, types))
    return picked


def _wrong(gold: Any, answer: Any, types: Sequence[str]) -> Prediction:
    """The answer of another task's adapter, as a metric of this task takes it: for wrong, and for no less than it says.

    A label is none of this task's. An entity that was found is one of this task's types that the gold entity with its
    boundaries, if there is one, has not. With a single type there is no other: it is then left out.

    Args:
        gold: of the example: a label, or tags.
        answer: of the other adapter: a label, or as many tags.
        types: the entity types of this task.
    """
    if not isinstance(gold, list):
        return Prediction(value=None)
    right = {(begin, end): kind for kind, begin, end in spans(gold)}
    found = []
    for kind, begin, end in spans(answer):
        others = [other for other in types if other != right.get((begin, end))]
        if others:
            found.append((kind if kind in others else others[0], begin, end))
    return Prediction(value=tags_of(found, len(gold)))
