"""Majority: always the most frequent answer of the training examples; of numbers their mean. All else must beat it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.methods.base.classical import ClassicalMethod, ClassicalModel, array_of
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.task import Task

OUTSIDE = "O"
"""The tag of words that are in no entity."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Majority has no settings."""


class Majority(ClassicalModel):
    """One answer for every example, or for every word of it."""

    learned = 1

    def __init__(self, task: Task, answer: Any, shares: np.ndarray) -> None:
        """Args:
        task: whose answers these are.
        answer: a tag, a label, a list of labels, or a number.
        shares: of each of the task's labels among the examples, which are the answer's probabilities; empty of tags
            and numbers.
        """
        names = task.labels.names
        sound = {
            "tags": isinstance(answer, str) and answer in names,
            "label": isinstance(answer, str) and answer in names,
            "labels": isinstance(answer, list) and all(isinstance(one, str) and one in names for one in answer),
            "number": isinstance(answer, int | float) and not isinstance(answer, bool) and bool(np.isfinite(answer)),
        }
        if not sound[task.answer]:
            raise ValueError(f"not an answer of the task: {answer!r:.60}")
        self.of_words, self.answer = task.answer == "tags", answer
        self.shares = shares
        shown = ("nothing" if answer == [] else ", ".join(answer)) if isinstance(answer, list) else answer
        self.description = f"every {'word' if self.of_words else 'answer'} is {shown}"
        if self.of_words and answer == OUTSIDE:
            self.description += ", so that no entity is ever found"

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """The same for all."""
        if self.of_words:
            return [Prediction(value=[self.answer] * len(example.inputs["tokens"])) for example in examples]
        value = list(self.answer) if isinstance(self.answer, list) else self.answer
        return [Prediction(value=value, detail=self.shares if len(self.shares) else None) for _ in examples]

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The answer, and the labels' shares."""
        return {"answer": self.answer}, {"shares": self.shares} if len(self.shares) else {}


class Method(ClassicalMethod):
    """Counts the training answers."""

    name = "majority"
    answers = ("tags", "label", "labels", "number")

    def fit(self, task: Task, train: Sequence[Example]) -> Majority:
        """The most frequent answer: of several labels the most frequent set, of tags that of most words."""
        golds = [example.gold for example in train]
        if task.answer == "number":
            return Majority(task, float(np.mean(golds)), np.zeros(0))
        if task.answer == "tags":
            return Majority(task, _most_frequent(tag for tags in golds for tag in tags), np.zeros(0))
        of_each = golds if task.answer == "labels" else [[gold] for gold in golds]
        counts = Counter(label for labels in of_each for label in labels)
        shares = np.array([counts[name] / len(golds) for name in task.labels.names])
        sets = (tuple(sorted(labels, key=task.labels.index.__getitem__)) for labels in of_each)
        answer = list(_most_frequent(sets))
        return Majority(task, answer if task.answer == "labels" else answer[0], shares)

    def restore(self, task: Task, contents: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Majority:
        """The saved answer."""
        shares = array_of(arrays, "shares", (len(task.labels),)) if task.answer in ("label", "labels") else np.zeros(0)
        return Majority(task, contents["answer"], shares)


def _most_frequent(values: Any) -> Any:
    """The most frequent value, of equally frequent ones the first."""
    return Counter(values).most_common(1)[0][0]
