"""Several prompted models that answer together: their class probabilities are averaged, example by example.

The average over templates and over draws of the shots is less a matter of luck than any one of them (Jiang et al. 2020,
arXiv:1911.12543, sec. 4; Lu et al. 2022, arXiv:2104.08786, for orders).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adapters.alignment import Pieces
from adapters.inference import Predictor
from adapters.tasks import Encoded, Example, Prediction, Task


class Ensemble:
    """A predictor of several predictors."""

    def __init__(self, members: Sequence[Predictor], task: Task, pieces: Pieces) -> None:
        """Args:
        members: predictors whose predictions' details are class probabilities.
        task: decodes the average.
        pieces: of the base.
        """
        self.members, self.task, self.pieces = list(members), task, pieces

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order."""
        return averaged(self.task, examples, [member.predict(examples) for member in self.members], self.pieces)


def averaged(
    task: Task, examples: Sequence[Example], members: Sequence[Sequence[Prediction]], pieces: Pieces
) -> list[Prediction]:
    """What members say together.

    Args:
        task: decodes the average, as it does a head's answer.
        examples: what they were asked.
        members: their predictions of each example; those without probabilities have no say.
        pieces: of the base.

    Returns:
        A prediction an example; the first member's own where none has a say. Shots dropped are those of the member
        that dropped most.
    """
    out = [predictions[0] for predictions in zip(*members, strict=True)]
    asked, shares = [], []
    for number, predictions in enumerate(zip(*members, strict=True)):
        heard = [prediction.detail for prediction in predictions if prediction.detail is not None]
        if heard:
            asked.append(number)
            shares.append(np.log(np.mean(heard, axis=0) + np.finfo(float).tiny))
    encoded = [Encoded(example=i, input_ids=[], targets=[]) for i in range(len(asked))]
    found = task.decode([examples[i] for i in asked], encoded, shares, pieces) if asked else []
    for number, prediction in zip(asked, found, strict=True):
        dropped = max(predictions[number].shots_dropped for predictions in members)
        out[number] = dataclasses.replace(prediction, shots_dropped=dropped)
    return out
