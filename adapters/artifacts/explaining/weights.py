"""A model's own weights: what each word adds to the score of a linear model or a conditional random field, exactly."""

from __future__ import annotations

import numpy as np

from adapters.artifacts.explaining import base
from adapters.artifacts.explaining.base.subject import exact_model
from adapters.core.errors import ModelError


class Attribution(base.Attribution):
    """As the model itself adds them up (`ClassicalModel.contributions`)."""

    name = "weights"
    preference = 0
    complete = True

    def misfit(self, answer: base.Answer) -> str:
        """It needs a model whose score is a sum over words."""
        model = exact_model(answer)
        if model is None:
            return "the model's score is no sum of weights of words"
        try:
            model.contributions(answer.example, answer.words, answer.target)
        except ModelError as error:
            return str(error).rstrip(".")
        return ""

    def attribute(self, answer: base.Answer, options: base.Options) -> np.ndarray:
        """The contributions."""
        model = exact_model(answer)
        assert model is not None
        return model.contributions(answer.example, answer.words, answer.target)[0]

    def base(self, answer: base.Answer) -> float:
        """What the model adds whatever the words are."""
        model = exact_model(answer)
        assert model is not None
        return model.contributions(answer.example, answer.words, answer.target)[1]
