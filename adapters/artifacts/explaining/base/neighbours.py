"""Training examples that a model finds like another: nearest by the model's own features."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.artifacts.explaining.base.explanation import Neighbour
from adapters.artifacts.explaining.base.reader import Readable
from adapters.core.errors import ModelError
from adapters.methods.base.classical import ClassicalModel
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.tasks.base.example import Example
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import Task

MOST = 5000
"""Training examples that are looked at: a random sample, the same each time."""
CHUNK = 512


class Neighbours:
    """The training examples of a model, placed by its own features: the mean of its last hidden states, or n-grams."""

    def __init__(self, predictor: Predictor, task: Task, train: Sequence[Example], *, count: int) -> None:
        """Args:
        predictor: whose features are compared.
        task: of it.
        train: training examples; of more than `MOST` a random sample.
        count: how many of them are given for an example.

        Raises:
            ModelError: the model has no features of a text.
        """
        self.predictor, self.task, self.count = predictor, task, count
        numbers = range(len(train))
        chosen = sorted(random.Random("neighbours").sample(numbers, MOST)) if len(train) > MOST else numbers
        self.train = [train[number] for number in chosen]
        self.vectors: Any = self._unit(self.train)

    def of(self, example: Example) -> list[Neighbour]:
        """The nearest training examples, the nearest first; one with the same inputs is not among them."""
        found = self.vectors @ self._unit([example], self.vectors.shape[1]).T
        similar = np.asarray(found.toarray() if hasattr(found, "toarray") else found).ravel()
        same = example.digest()
        nearest = []
        for number in np.argsort(-similar, kind="stable"):
            one = self.train[number]
            if one.digest() != same:
                nearest.append(
                    Neighbour(
                        text="\n".join(self.task.explained_texts(one).values()),
                        answer=self.task.gold_output(one),
                        similarity=float(similar[number]),
                        where=one.where,
                    )
                )
            if len(nearest) == self.count:
                break
        return nearest

    def _unit(self, examples: Sequence[Example], width: int = 1) -> Any:
        """Vectors of length 1, `[examples, features]`; `width`: features where no example has any."""
        from sklearn.preprocessing import normalize

        return normalize(_vectors(self.predictor, self.task, examples, width))


def _vectors(predictor: Predictor, task: Task, examples: Sequence[Example], width: int) -> Any:
    """The features of examples: of several windows their mean, of one without a row zeros, which are near nothing."""
    if isinstance(predictor, ClassicalModel):
        return predictor.vectors(examples)
    if isinstance(predictor, PromptPredictor):
        raise ModelError("A prompted model learned from no training examples, so none are near.")
    if not isinstance(predictor, Readable):
        raise ModelError(
            "This model gives answers alone and no hidden states, as an export does, so training examples cannot be "
            "compared with a text. Ask the artifact that it was made of."
        )
    found: list[np.ndarray | None] = []
    with predictor.reading() as reader:
        for begin in range(0, len(examples), CHUNK):
            chunk = examples[begin : begin + CHUNK]
            rows = task.encode(chunk, reader.tokenizer, reader.budget)
            owners = np.array([row.example for row in rows], np.int64)
            vectors = reader.features(rows) if rows else np.zeros((0, width))
            own = (vectors[owners == number] for number in range(len(chunk)))
            found += [windows.mean(0) if len(windows) else None for windows in own]
    width = next((len(one) for one in found if one is not None), width)
    return np.stack([np.zeros(width) if one is None else one for one in found])
