"""The fit of a method without a base model: no trainer, no checkpoints, seconds instead of minutes."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adapters.experiments.run_state import FittedModel

if TYPE_CHECKING:
    from adapters.evaluation.metrics.base.any_metric import AnyMetric
    from adapters.methods.base.classical import ClassicalMethod
    from adapters.tasks.base.example import Example
    from adapters.tasks.base.task import Task


def fit(
    task: Task,
    method: ClassicalMethod,
    metrics: list[AnyMetric],
    train: Sequence[Example],
    say: Callable[[str], None],
) -> FittedModel:
    """Let the method learn, and measure how long it takes. Raises ModelError where it cannot learn the task.

    Args:
        task: what is learned.
        method: checked here.
        metrics: that the model will be scored by.
        train: examples to learn from.
        say: prints a line.
    """
    method.check(None, task)
    for library in method.libraries:
        importlib.import_module(library)
    begun = time.perf_counter()
    model = method.wrap(None, task, train)
    seconds = time.perf_counter() - begun
    say(f"model: {method.title} without a base model: {model.description}")
    predictor = method.predictor(model, None, task)
    return FittedModel(
        task=task,
        method=method,
        base=None,
        model=model,
        predictor=predictor,
        metrics=metrics,
        history=None,
        seconds=seconds,
    )
