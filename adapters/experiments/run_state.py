"""What the verbs of a run make, each a whole: the data it read, the model it fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from adapters.evaluation.metrics.base.any_metric import AnyMetric
    from adapters.methods.base.method import Method
    from adapters.models.base_model import Base
    from adapters.tasks.base.example import Examples
    from adapters.tasks.base.predictor import Predictor
    from adapters.tasks.base.task import Task
    from adapters.training.history import History


@dataclass(frozen=True, kw_only=True)
class Session:
    """Accelerate, and the number format that this run computes in: `no`, `bf16` or `fp16`."""

    accelerator: Accelerator
    precision: str


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The data of a run.

    Attributes:
        name: the dataset as the user named it.
        revision: of the dataset, where its source has one.
        splits: by name: train, validation, test, as far as there are any.
    """

    name: str
    revision: str | None
    splits: Mapping[str, Examples]


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A method around its base, trained if it trains.

    Attributes:
        task: as bases of this kind do it.
        method: with its settings.
        base: the base model.
        model: what answers, and what is saved.
        predictor: the model as the evaluator sees it.
        metrics: that it is scored by, the task's main one first.
        history: of training; None where nothing was trained.
    """

    task: Task
    method: Method
    base: Base
    model: torch.nn.Module
    predictor: Predictor
    metrics: list[AnyMetric]
    history: History | None

    def parameters(self) -> tuple[int, int]:
        """Numbers of trained and of all parameters."""
        return count_parameters(self.model)


def count_parameters(model: Any) -> tuple[int, int]:
    """Numbers of trained and of all parameters of a model."""
    from adapters.models import quantization

    counts = [(quantization.parameter_count(p), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)
