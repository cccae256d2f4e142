"""An ensemble of prompted models: their class probabilities are averaged.

The average over templates or over seeds of the shots depends less on chance than a single one (Jiang et al. 2020,
arXiv:1911.12543, sec. 4; Lu et al. 2022, arXiv:2104.08786, for seeds).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.predictor import Predictor, TakesTurns, Turn
from adapters.tasks.base.task import Task


class Ensemble:
    """A predictor that averages several predictors."""

    def __init__(self, members: Sequence[Predictor], task: Task, tokenizer: WordTokenizer) -> None:
        """Args:
        members: predictors; the details of their predictions are class probabilities.
        task: decodes the average.
        tokenizer: of the base.
        """
        self.members, self.task, self.tokenizer = list(members), task, tokenizer

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order."""
        return averaged(self.task, examples, [member.predict(examples) for member in self.members], self.tokenizer)

    def in_turns(self, turn: Turn) -> Ensemble:
        """The same of members that compute in turns."""
        members = [one.in_turns(turn) if isinstance(one, TakesTurns) else one for one in self.members]
        return Ensemble(members, self.task, self.tokenizer)


def averaged(
    task: Task, examples: Sequence[Example], members: Sequence[Sequence[Prediction]], tokenizer: WordTokenizer
) -> list[Prediction]:
    """The average of several predictions for each example.

    Args:
        task: decodes the average as it does the output of a head.
        examples: the predicted examples.
        members: predictions of each member; those without probabilities are left out.
        tokenizer: of the base.

    Returns:
        One prediction per example: the first member's if none has probabilities. `shots_dropped` is the maximum over
        the members.
    """
    out = [predictions[0] for predictions in zip(*members, strict=True)]
    numbers, scores = [], []
    for number, predictions in enumerate(zip(*members, strict=True)):
        details = [prediction.detail for prediction in predictions if prediction.detail is not None]
        if details:
            numbers.append(number)
            scores.append(np.log(np.mean(details, axis=0) + np.finfo(float).tiny))
    encoded = [Encoded(example=i, input_ids=[], targets=[]) for i in range(len(numbers))]
    decoded = task.decode([examples[i] for i in numbers], encoded, scores, tokenizer) if numbers else []
    for number, prediction in zip(numbers, decoded, strict=True):
        dropped = max(predictions[number].shots_dropped for predictions in members)
        out[number] = dataclasses.replace(prediction, shots_dropped=dropped)
    return out
