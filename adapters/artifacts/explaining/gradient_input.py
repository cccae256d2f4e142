"""Gradient × input (Shrikumar et al. 2016, arXiv:1605.01713): one pass back, by captum.

The gradient of the score at the text itself, times the embedding, summed over its dimensions. A linear model's
attributions are exact by it; those of others need not add up to anything.
"""

from __future__ import annotations

import numpy as np

from adapters.artifacts.explaining import base
from adapters.artifacts.explaining.base.gradients import NO_GRADIENT, captum_attr


class Attribution(base.Attribution):
    """The gradient at the text, times the text."""

    name = "gradient_input"
    preference = 4

    def misfit(self, answer: base.Answer) -> str:
        """It needs gradients."""
        return "" if isinstance(answer, base.ReadAnswer) else NO_GRADIENT

    def attribute(self, answer: base.Answer, options: base.Options) -> np.ndarray:
        """Row by row."""
        assert isinstance(answer, base.ReadAnswer)
        found = np.zeros(len(answer.words))
        for number in answer.counting:
            own, _ = answer.embedded(number)
            of_tokens = captum_attr().InputXGradient(answer.scored(number)).attribute(own.requires_grad_())
            found += answer.to_words(number, of_tokens[0].detach().double().sum(-1).cpu().numpy())
        return found
