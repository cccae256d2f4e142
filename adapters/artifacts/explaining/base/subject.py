"""An answer to one example that is to be explained: its score, and what that becomes without parts of the input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adapters.core.errors import DataError, ModelError
from adapters.methods.base.classical import ClassicalModel
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.explained import Alternatives, Target, Word
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import Task


@dataclass(frozen=True, kw_only=True)
class Score:
    """How much a model says a target.

    Attributes:
        value: the contrast of its scores (`Alternatives.contrast`), summed over the choices that it is made of; what
            attributions add up to.
        probability: of all these choices together; None of a number.
    """

    value: float
    probability: float | None


class Answer(ABC):
    """An answer, whatever gave it.

    Attributes:
        task: of the answer.
        example: that was answered.
        prediction: the whole answer.
        target: the part of it that is explained.
        words: of the example, in order.
    """

    task: Task
    example: Example
    prediction: Prediction
    target: Target
    words: Sequence[Word]

    @cached_property
    @abstractmethod
    def score(self) -> Score:
        """Of the whole input. Raises ModelError if the answer has none."""

    @abstractmethod
    def without(self, erased: np.ndarray) -> list[Score]:
        """What the score becomes when words are erased.

        Args:
            erased: bool `[inputs, words]`; each row is an input of its own.
        """

    @cached_property
    def empty(self) -> Score:
        """Of the input without any word."""
        return self.without(np.ones((1, len(self.words)), bool))[0]

    def _scored(self, alternatives: Sequence[Alternatives]) -> Score:
        """The score of choices."""
        value = float(sum(one.contrast() for one in alternatives))
        if self.task.answer == "number":
            return Score(value=value, probability=None)
        return Score(value=value, probability=float(np.prod([one.probability() for one in alternatives])))


class PredictedAnswer(Answer):
    """The answer of a predictor of which only predictions are known; words are erased by deleting them."""

    def __init__(self, predictor: Predictor, task: Task, example: Example, wanted: str | Target | None) -> None:
        """Args:
        predictor: gives the answer.
        task: of the predictor.
        example: to answer.
        wanted: as of `Task.target`, or the target itself; of an answer that was written, None.
        """
        self.predictor, self.task, self.example = predictor, task, example
        self.words = task.words(example)
        self.prediction = predictor.predict([example])[0]
        if isinstance(wanted, Target):
            self.target = wanted
        elif self.written is not None:
            if wanted is not None:
                raise DataError(
                    f"{wanted!r}: an answer that a model wrote is explained as a whole; leave the target out."
                )
            self.target = Target(name=self.written)
        else:
            self.target = task.target(example, self.prediction, wanted)

    @cached_property
    def written(self) -> str | None:
        """The answer that a prompted model wrote; None where it chose a label, or was not prompted."""
        prompted = isinstance(self.predictor, PromptPredictor)
        return self.prediction.written if prompted and self.prediction.written else None

    @cached_property
    def score(self) -> Score:
        """From probabilities or numbers; of a written answer its log-likelihood; of a model's own weights their sum."""
        return self.scores(self.predictor, [self.example])[0]

    def scores(self, predictor: Any, examples: Sequence[Example]) -> list[Score]:
        """The scores of the target that a predictor gives for other examples. Raises ModelError if there are none."""
        if self.written is not None:
            values = [predictor.log_likelihood(example, self.written) for example in examples]
            return [Score(value=value, probability=float(np.exp(value))) for value in values]
        found = []
        for prediction in predictor.predict(examples):
            logits = self.task.logits_of(prediction)
            if logits is None:
                raise ModelError(
                    f"Answers of this model to {self.task.name} have no probabilities, so what they become without a "
                    "word says nothing."
                )
            row = Encoded(example=0, input_ids=[], targets=[])
            found.append(self._scored(self.task.alternatives(self.target, [row], [logits])))
        return found

    def without(self, erased: np.ndarray) -> list[Score]:
        """The scores of texts from which words are deleted. Raises ModelError where the task cannot delete them."""
        return self.scores(self.predictor, [self.task.without(self.example, self.words, row) for row in erased])


def exact_model(answer: Answer) -> ClassicalModel | None:
    """The model whose own weights say what each word adds; None of any other."""
    found = getattr(answer, "predictor", None)
    return found if isinstance(found, ClassicalModel) else None


def prompted(answer: Answer) -> PromptPredictor | None:
    """The prompted model that gave an answer; None of any other."""
    found = getattr(answer, "predictor", None)
    return found if isinstance(found, PromptPredictor) else None
