"""The head of a model that learns ever more labels: which of its outputs belong to which task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.data.labels import LabelSet
from adapters.experiments.continual.sequence import TASK_INCREMENTAL, SequenceTask
from adapters.tasks.base.task import Task


@dataclass(frozen=True)
class Heads:
    """The outputs of a head, in the order in which their tasks were learned: new ones are always added at the end.

    In a task-incremental sequence each task has outputs of its own, and they alone compete. Otherwise tasks share the
    outputs of equal labels, and all that were learned so far compete.

    Attributes:
        scenario: of the sequence.
        tasks: those that were learned, in order.
    """

    scenario: str
    tasks: tuple[SequenceTask, ...]

    @property
    def shared(self) -> bool:
        """Whether tasks share outputs."""
        return self.scenario != TASK_INCREMENTAL

    @property
    def outputs(self) -> tuple[tuple[str, str], ...]:
        """Task (empty where tasks share outputs) and label of each output."""
        of = [("" if self.shared else one.name, label) for one in self.tasks for label in one.task.labels.names]
        return tuple(dict.fromkeys(of))

    @property
    def labels(self) -> LabelSet:
        """A name for each output."""
        return LabelSet(tuple(label if self.shared else f"{task}: {label}" for task, label in self.outputs))

    def of(self, name: str) -> list[int]:
        """The outputs that compete for an example of a task."""
        if self.shared:
            return list(range(len(self.outputs)))
        return [number for number, (task, _) in enumerate(self.outputs) if task == name]

    def task(self, name: str) -> Task:
        """The task as the model answers it: with its own labels, or where tasks share outputs with all of them."""
        own = next(one.task for one in self.tasks if one.name == name)
        return with_labels(own, [label for _, label in self.outputs]) if self.shared else own

    def classes(self, name: str) -> list[int]:
        """The output of each of a task's own labels."""
        own = next(one.task for one in self.tasks if one.name == name)
        number = {output: i for i, output in enumerate(self.outputs)}
        return [number["" if self.shared else name, label] for label in own.labels.names]

    def whole(self) -> Task:
        """A task with a class for each output, from which a base model gets its head."""
        return with_labels(self.tasks[0].task, self.labels.names)


def with_labels(task: Task, names: Sequence[str]) -> Task:
    """The same task with other labels."""
    card: dict[str, Any] = {**task.card(), "labels": list(names)}
    return type(task).from_card(card)
