"""What a trained predictor says on dev, for the `reference` of its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.artifacts.reference import Reference
from adapters.evaluation.evaluate import Evaluation
from adapters.experiments.run_state import FittedModel
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.observation import observe

MOST = 1000
"""Dev examples that are counted: a random sample, the same in every run."""


def dev_reference(fitted: FittedModel, dev: Sequence[Example], evaluation: Evaluation, max_length: int) -> Any:
    """The reference as JSON; None without dev, and for a method that only prompts. Of several processes, all call it.

    Dev is predicted once more unless it is what was scored. A base that writes its answers takes too long for that, and
    has neither labels nor confidence: of it, tokens alone are counted.

    Args:
        fitted: the trained predictor.
        dev: the dev examples; none where there is no such split.
        evaluation: the scores of the run.
        max_length: tokens of a window.
    """
    if not len(dev) or not fitted.method.trains:
        return None
    numbers = _sample(len(dev))
    chosen = [dev[i] for i in numbers]
    predictions: Sequence[Prediction | None] = [None] * len(chosen)
    if fitted.task.has_head:
        scored = evaluation.split == "dev" and len(evaluation.predictions) == len(dev)
        predictions = [evaluation.predictions[i] for i in numbers] if scored else list(fitted.predictor.predict(chosen))
    if fitted.base is None:
        found = observe(fitted.task, predictions)
    else:
        tokenizer = fitted.base.word_tokenizer
        encoded = fitted.task.encode(chosen, tokenizer, fitted.method.budget(fitted.base, max_length))
        found = observe(fitted.task, predictions, encoded, tokenizer)
    return Reference.of(found, fitted.task.label_names()).record()


def _sample(size: int) -> list[int]:
    """Numbers of the examples that are counted, in order."""
    if size <= MOST:
        return list(range(size))
    drawn: list[int] = np.sort(np.random.default_rng(0).choice(size, MOST, replace=False)).tolist()
    return drawn
