"""What a model of several tasks learns: each example's answer, among the outputs that compete for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.discovery import code_version
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.sequence import SequenceTask
from adapters.models.tokenizer import IGNORED, WordTokenizer
from adapters.tasks.base.decoding import log_softmax
from adapters.tasks.base.example import Encoded, Example, Examples, Prediction
from adapters.tasks.base.task import InferenceTask, Task

if TYPE_CHECKING:
    import torch

NUMBER = "sequence_task"
"""Column of training rows: the number of their task among those that were learned."""


class NumberedRows:
    """Makes examples of rows of several tasks; gold is the task's number and its own gold."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Args: tasks: by number."""
        self.tasks = tasks

    def from_row(self, row: Mapping[str, Any]) -> Example:
        """An example of a stored row."""
        import dataclasses

        number = row[NUMBER]
        example: Example = self.tasks[number].from_row(row)
        return dataclasses.replace(example, gold=(number, example.gold))

    def label_counts(self, dataset: Any) -> Counter[str]:
        """Empty: a gold answer is not a label alone."""
        return Counter()


def numbered(tasks: Sequence[SequenceTask], parts: Sequence[tuple[int, Examples]]) -> Examples:
    """Training examples of several tasks as one split.

    Args:
        tasks: those that were learned, in order.
        parts: numbers of tasks, and examples of each.
    """
    import datasets

    marked = [
        part.dataset.add_column(NUMBER, np.full(len(part), number, np.int32)) for number, part in parts if len(part)
    ]
    notes = {"parts": [[number, len(part), part.notes.get("digest")] for number, part in parts]}
    return Examples("train", datasets.concatenate_datasets(marked), NumberedRows([one.task for one in tasks]), notes)


class SequenceObjective:
    """Cross-entropy of each position among the outputs that compete for its task.

    A target is the task's number times the number of outputs, plus the output.
    """

    target_type: ClassVar[str] = "int32"

    def __init__(self, heads: Heads) -> None:
        """Args: heads: of the tasks learned so far, the present one included."""
        self.heads, self.width = heads, len(heads.outputs)

    def card(self) -> dict[str, Any]:
        """What encoded rows depend on."""
        tasks = [[one.name, one.task.card(), code_version(type(one.task))] for one in self.heads.tasks]
        return {"sequence": self.heads.scenario, "tasks": tasks}

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Each example as its own task encodes it, its targets as outputs of the common head."""
        import dataclasses

        rows: list[Encoded] = []
        for number, one in enumerate(self.heads.tasks):
            places = [i for i, example in enumerate(examples) if example.gold[0] == number]
            own = [dataclasses.replace(examples[i], gold=examples[i].gold[1]) for i in places]
            outputs = np.array(self.heads.classes(one.name)) + number * self.width
            for row in one.task.encode(own, tokenizer, budget, learning=learning) if own else ():
                targets = [target if target == IGNORED else int(outputs[int(target)]) for target in row.targets]
                rows.append(dataclasses.replace(row, example=places[row.example], targets=targets))
        return sorted(rows, key=lambda row: row.example)

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """None: new outputs are given theirs when they are added, and the others keep what they learned."""
        return None

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, outputs]` or `[rows, tokens, outputs]`."""
        return self.heads.tasks[0].task.logits(model, inputs)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over labelled positions, and their number."""
        import torch
        import torch.nn.functional as f

        flat, wanted = logits.flatten(0, -2).float(), targets.flatten()
        real = wanted != IGNORED
        flat, wanted = flat[real], wanted[real].long()
        competing = self.competing(flat.device)[wanted // self.width]
        summed = f.cross_entropy(flat.masked_fill(~competing, -torch.inf), wanted % self.width, reduction="sum")
        return summed, real.sum()

    def competing(self, device: Any) -> torch.Tensor:
        """`[tasks, outputs]`: whether an output competes for examples of a task."""
        import torch

        out = torch.zeros(len(self.heads.tasks), self.width, dtype=torch.bool, device=device)
        for number, one in enumerate(self.heads.tasks):
            out[number, self.heads.of(one.name)] = True
        return out


class OfTask(InferenceTask):
    """One task as a model of several tasks answers it: from the outputs that compete for it."""

    name = "sequence"

    def __init__(self, heads: Heads, name: str) -> None:
        """Args: heads: of the model. name: of the task."""
        self.task, self.outputs = heads.task(name), heads.of(name)

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """As the task's."""
        return self.task.from_request(inputs, id)

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """As the task's."""
        return self.task.encode(examples, tokenizer, budget, learning=learning)

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Of the outputs that compete."""
        return self.task.logits(model, inputs, targets)[..., self.outputs]

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """As the task's."""
        return self.task.decode(examples, encoded, answers, tokenizer)

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """As the task's."""
        return self.task.output(example, prediction)


def log_shares(heads: Heads, targets: Iterable[np.ndarray]) -> np.ndarray:
    """`[outputs]`: the log share of each output among the outputs that compete with it, from targets of training rows.

    For the bias of new outputs, as `Task.prior` has it for a new head.
    """
    counts = np.ones(len(heads.outputs))
    for row in targets:
        counts += np.bincount(row[row != IGNORED] % len(counts), minlength=len(counts))
    out: np.ndarray = np.zeros(len(counts))
    for one in heads.tasks:
        of = heads.of(one.name)
        out[of] = log_softmax(np.log(counts[of])[None])[0]
    return out
