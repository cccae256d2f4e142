"""Test explanations of a model: do they add up, are they true of it, and do they agree with people?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from adapters.artifacts.explaining.base import attribution
from adapters.artifacts.explaining.base.attribution import MAX_ERROR, Attribution, Options, chosen
from adapters.artifacts.explaining.base.explain import answered
from adapters.artifacts.explaining.base.explanation import relative_error
from adapters.artifacts.explaining.base.marked_examples import MarkedExample
from adapters.artifacts.explaining.base.subject import Answer
from adapters.core.errors import DataError, Faults, ModelError, SettingsError, UserError
from adapters.core.files import FORMAT
from adapters.core.progress import ProgressBar
from adapters.core.settings import require
from adapters.evaluation import explanations as measures
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import Task

RANDOM, LENGTH = "random", "length"
BASELINES = (RANDOM, LENGTH)
"""Attributions that know nothing of the model: random ones, and the lengths of the words."""


@runtime_checkable
class Randomisable(Protocol):
    """A predictor of which there is one with random weights."""

    def with_random_weights(self, seed: int) -> Predictor:
        """The same with the values of each of its tensors in a random order."""


def evaluate(
    predictor: Predictor,
    task: Task,
    examples: Sequence[MarkedExample],
    *,
    model: str,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    options: Options | None = None,
    random_weights: bool = True,
    seed: int = 0,
    plugin_dirs: Sequence[str] = (),
) -> dict[str, Any]:
    """Measures of each attribution method and of the two baselines, each with its interval over examples.

    Args:
        predictor: what answers.
        task: of it.
        examples: what is explained, and what people marked in it.
        model: name of the method that made the predictor.
        methods: names of attribution methods of words. Default: all that suit the answer to the first example.
        target: what is explained in every answer. Default: what is answered.
        options: of the attributions.
        random_weights: whether to explain the same targets with random weights, too (Adebayo et al. 2018,
            arXiv:1810.03292): an explanation that stays the same does not explain the model.
        seed: of the random weights, the random baseline and the resampling.
        plugin_dirs: folders with attribution methods of your own.

    Returns:
        `{format, task, model, examples, marked, skipped, reasons, methods: {name: {measure: {value, low, high, n}}}}`.
        `skipped` examples had no answer to explain, or one that a method does not suit, so that all methods are judged
        by the same examples; `reasons` says why. A measure that has nothing to judge is absent:
        comprehensiveness, sufficiency: AOPC; auprc, token_f1: against people's marks; completeness: the share of
        examples whose attributions add up within 5 %, and completeness_error the mean relative error; random_weights:
        the rank correlation with the explanation of random weights; seconds: of one explanation.

    Raises:
        SettingsError: a method is unknown or is not of words, or there are too few steps.
        DataError, ModelError: no example could be explained; the error is that of the first.
    """
    options = options or Options()
    check(methods or (), options, plugin_dirs)
    names = methods or suiting(predictor, task, examples, target, plugin_dirs)
    other = predictor.with_random_weights(seed) if random_weights and isinstance(predictor, Randomisable) else None
    shares = [float(one.marked.mean()) for one in examples if one.marked is not None and one.marked.any()]
    share = float(np.mean(shares)) if shares else math.nan
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*names, *BASELINES)}
    faults, first = Faults(""), None
    with ProgressBar("explaining", len(examples), shown=len(examples) > 1) as bar:
        for number, one in enumerate(examples):
            try:
                rows = _measured(
                    predictor, other, task, one, names, target, options, share, [seed, number], plugin_dirs
                )
            except (DataError, ModelError) as error:  # no entity, no answer; or a method does not suit this one
                first, rows = first or error, {}
                faults.add(one.example.where or one.example.id, str(error))
            for name, row in rows.items():
                found[name].append(row)
            bar.step("")
    if first is not None and faults.count == len(examples):
        raise first
    return {
        "format": FORMAT,
        "task": task.name,
        "model": model,
        "examples": len(examples),
        "marked": len(shares),
        "skipped": faults.count,
        "reasons": faults.shown,
        "methods": {name: _summary(rows, seed) for name, rows in found.items()},
    }


def check(names: Sequence[str], options: Options, plugin_dirs: Sequence[str] = ()) -> None:
    """Raises SettingsError for methods that are unknown or are not of words, and for too few steps."""
    for name in names:
        if attribution.load(name, plugin_dirs).of != "word":
            raise SettingsError(
                f"--method {name}: explains the shots of a prompt, not words, which is what can be tested. Choose "
                f"from {', '.join(one.name for one in _of_words(plugin_dirs))}."
            )
    require(options.steps >= 2, "steps", options.steps, "at least 2")


def _of_words(plugin_dirs: Sequence[str]) -> list[Attribution]:
    """The methods that explain words, preferred first."""
    every = (attribution.load(name, plugin_dirs) for name in attribution.names(plugin_dirs))
    return sorted((one for one in every if one.of == "word"), key=lambda one: one.preference)


def suiting(
    predictor: Predictor, task: Task, examples: Sequence[MarkedExample], target: str | None, plugin_dirs: Sequence[str]
) -> list[str]:
    """Names of the methods by which words of the first answer that has a target can be explained, preferred first.

    Raises DataError, ModelError, the first of them, where no answer can be explained.
    """
    first: UserError | None = None
    for one in examples:
        try:
            with answered(predictor, task, one.example, target) as answer:
                fitting = [each.name for each in _of_words(plugin_dirs) if not each.misfit(answer)]
        except DataError as error:
            first = first or error
            continue
        if fitting:
            return fitting
        first = first or ModelError("No attribution method suits the answers of this model.")
    raise first or DataError("There is no example to explain.")


def _measured(
    predictor: Predictor,
    other: Predictor | None,
    task: Task,
    one: MarkedExample,
    names: Sequence[str],
    target: str | None,
    options: Options,
    share: float,
    seeds: Sequence[int],
    plugin_dirs: Sequence[str],
) -> dict[str, dict[str, float]]:
    """The measures of one example, by method."""
    rows = {}
    with ExitStack() as models:
        answer = models.enter_context(answered(predictor, task, one.example, target))
        changed = None if other is None else models.enter_context(answered(other, task, one.example, answer.target))
        for method in [chosen(answer, name, plugin_dirs) for name in names]:  # all, before the first takes its time
            begin = time.perf_counter()
            values = method.attribute(answer, options)
            row = {"seconds": time.perf_counter() - begin, **_sum(answer, method, values)}
            by_chance = None if changed is None else _known(partial(method.attribute, changed, options))
            if by_chance is not None:
                row["random_weights"] = measures.rank_correlation(values, by_chance)
            rows[method.name] = row | _faithful(answer, values) | _plausible(one, values, share)
        for name in BASELINES:
            values = _baseline(name, answer, seeds)
            rows[name] = _faithful(answer, values) | _plausible(one, values, share)
    return rows


def _sum(answer: Answer, method: Attribution, values: np.ndarray) -> dict[str, float]:
    """How well the attributions add up, of a method that says so and of a score that is known apart from it."""
    score = _known(lambda: answer.score.value)
    if not method.complete or score is None:
        return {}
    error = relative_error(float(values.sum()), score - method.base(answer))
    return {"completeness": float(error <= MAX_ERROR), "completeness_error": error}


def _faithful(answer: Answer, values: np.ndarray) -> dict[str, float]:
    """Comprehensiveness and sufficiency, where the answer has a probability."""
    whole = _known(lambda: answer.score.probability)
    if whole is None:
        return {}
    highest = measures.top_shares(values)
    scores = _known(lambda: answer.without(np.concatenate([highest, ~highest])))
    if scores is None:
        return {}
    found = [float(score.probability or 0.0) for score in scores]
    return {
        "comprehensiveness": measures.aopc(whole, found[: len(highest)]),
        "sufficiency": measures.aopc(whole, found[len(highest) :]),
    }


def _known(work: Callable[[], Any]) -> Any:
    """What is computed; None where the model does not tell."""
    try:
        return work()
    except ModelError:
        return None


def _plausible(one: MarkedExample, values: np.ndarray, share: float) -> dict[str, float]:
    """Agreement with what people marked, where they marked something."""
    if one.marked is None or not one.marked.any():
        return {}
    return {
        "auprc": measures.auprc(one.marked, values),
        "token_f1": measures.token_f1(one.marked, values, share),
    }


def _baseline(name: str, answer: Answer, seeds: Sequence[int]) -> np.ndarray:
    """Attributions that know nothing of the model."""
    if name == LENGTH:
        return np.array([word.end - word.start for word in answer.words], np.float64)
    return np.random.default_rng(seeds).random(len(answer.words))


def _summary(rows: Sequence[dict[str, float]], seed: int) -> dict[str, Any]:
    """Each measure over the examples that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    every = {name: measures.mean_with_interval([row[name] for row in rows if name in row], seed=seed) for name in names}
    return {name: found for name, found in every.items() if found is not None}
