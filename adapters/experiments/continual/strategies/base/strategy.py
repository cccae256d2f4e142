"""The interface of a strategy: how a task is learned after others, and what is kept of it."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.errors import ModelError
from adapters.core.search_space import Space
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.objective import SequenceObjective
from adapters.experiments.continual.sequence import SequenceTask
from adapters.methods.base.method import Method
from adapters.tasks.base.example import Example, Examples
from adapters.tasks.base.task import Objective

if TYPE_CHECKING:
    import numpy as np
    import torch

    from adapters.models.base_model import Base
    from adapters.training.train_dataset import TrainDataset

    Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class Stage:
    """One training of a sequence: of the present task, after others.

    Attributes:
        learned: tasks that were learned before, in order.
        present: the task that is learned now; of a strategy that learns all at once, all of them.
        heads: of the model that is trained now.
        method: with the settings of this stage.
        settings: of the run.
        base: the base model.
        model: trained now, on the device of the run.
        dataset: rows that it learns from; set when the trainer is made.
        weights: trained parameters after the task before; None of the first, and where training begins anew.
        former: makes the model after the task before, frozen; None of the first task.
        score: mean dev score, over some tasks, of the model as it is.
        features: `[examples, hidden]`, what the frozen base makes of examples.
        head: names of the parameters that have a row for each output.
        say: prints a line.
    """

    learned: tuple[SequenceTask, ...]
    present: tuple[SequenceTask, ...]
    heads: Heads
    method: Method
    settings: Any
    base: Base
    model: Any
    weights: Mapping[str, torch.Tensor] | None
    former: Callable[[], Any] | None
    score: Callable[[Sequence[SequenceTask]], float]
    features: Callable[[Sequence[Example]], np.ndarray]
    head: frozenset[str]
    say: Callable[[str], None]
    dataset: TrainDataset | None = None

    @property
    def tasks(self) -> tuple[SequenceTask, ...]:
        """All tasks of the model."""
        return self.heads.tasks

    def number(self, task: SequenceTask) -> int:
        """The number of a task among those of the model."""
        return [one.name for one in self.tasks].index(task.name)


class Strategy(ABC):
    """What each file of this folder defines as `Strategy`, together with a dataclass `Settings`.

    What an instance keeps from task to task is saved after each of them (`kept`), and restored (`restore`).
    """

    name: ClassVar[str]
    shared: ClassVar[bool] = True
    """Whether one model answers all tasks; else each has a model or an adapter of its own."""
    continues: ClassVar[bool] = True
    """Whether a task's training begins with the weights after the one before; else with the base model."""
    together: ClassVar[bool] = False
    """Whether all tasks are learned at once."""
    routed: ClassVar[bool] = False
    """Whether requests that do not name their task are routed to one of its models."""
    bound: ClassVar[str] = ""
    """What makes it a bound of others rather than one of them; empty of those that compete."""
    low_rank: ClassVar[bool] = False
    """Whether it works on low-rank deltas only."""

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of the run, including the strategy's. Raises SettingsError for invalid values."""
        self.settings = settings

    @classmethod
    def search_space(cls) -> Space:
        """Settings of its own that a search tries."""
        return {}

    @classmethod
    def check(cls, method: type[Method], scenario: str) -> None:
        """Raises ModelError where it cannot be used with a method, or in a scenario; the message says why."""
        if not method.needs_base or not method.trains:
            why = "works without a base model" if not method.needs_base else "trains nothing, so it forgets nothing"
            raise ModelError(f"{method.name} {why}. Strategies are for full, head, lora, prefix and their like.")
        if method.training_data is not Method.training_data:
            raise ModelError(f"{method.name} learns another objective than the task. Use lora, prefix, head or full.")
        if cls.low_rank and not method.low_rank:
            raise ModelError(f"{cls.name} works on low-rank deltas, which {method.name} does not have. Use lora.")

    @classmethod
    def same_training(cls, method: type[Method]) -> str:
        """The strategy that trains the same models by a method, and has the same row with the task identity; or ""."""
        return ""

    def method_settings(self, settings: Any, tasks: int) -> dict[str, Any]:
        """Changes to the method's settings for a model of so many tasks."""
        return {}

    def parts(self, stage: Stage) -> list[tuple[int, Examples]]:
        """What is learned from: numbers of tasks, and examples of each. Default: the present task's training data."""
        return [(stage.number(one), one.train) for one in stage.present]

    def objective(self, stage: Stage, objective: SequenceObjective) -> Objective:
        """What is minimised. Default: the cross-entropy alone."""
        return objective

    def before_training(self, stage: Stage, optimizer: torch.optim.Optimizer) -> None:  # noqa: B027
        """Called with the optimizer before its first step."""

    def after_training(self, stage: Stage) -> None:  # noqa: B027
        """Called with the trained model, which it may change, and from which it may keep something."""

    def kept(self) -> tuple[Tensors, dict[str, Any]]:
        """Tensors by name, and JSON, that later tasks need."""
        return {}, {}

    def restore(self, tensors: Tensors, values: Mapping[str, Any]) -> None:  # noqa: B027
        """Take back what `kept` returned."""

    def memory_bytes(self) -> int:
        """Bytes of examples that are kept, training and dev."""
        return 0


def bytes_of(example: Example) -> int:
    """Bytes of an example that is kept, as JSON."""
    return len(json.dumps([dict(example.inputs), example.gold], ensure_ascii=False).encode())


class WrappedObjective:
    """An objective that adds something to another."""

    target_type: ClassVar[str] = "int32"

    def __init__(self, inner: SequenceObjective) -> None:
        """Args: inner: the cross-entropy."""
        self.inner = inner

    def card(self) -> dict[str, Any]:
        """As the cross-entropy's: rows are the same."""
        return self.inner.card()

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """As the cross-entropy's."""
        return self.inner.encode(*args, **kwargs)

    def prior(self, targets: Any) -> None:
        """As the cross-entropy's."""

    def logits(self, model: Any, inputs: Any, targets: Any = None) -> torch.Tensor:
        """As the cross-entropy's."""
        return self.inner.logits(model, inputs, targets)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As the cross-entropy's."""
        return self.inner.loss(logits, targets)


class Penalised(WrappedObjective):
    """A penalty on the parameters, added to the mean loss of a labelled position."""

    def __init__(self, inner: SequenceObjective, penalty: Callable[[], torch.Tensor]) -> None:
        """Args: inner: the cross-entropy. penalty: computes the penalty, a scalar with gradients."""
        super().__init__(inner)
        self.penalty = penalty

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The trainer divides the sum by the number of positions of a step, so the penalty counts once for each."""
        summed, count = self.inner.loss(logits, targets)
        return summed + count * self.penalty(), count
