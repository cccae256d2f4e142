"""Integrated gradients of the embedding layer (Sundararajan et al. 2017, arXiv:1703.01365), by captum.

The path goes in a straight line from the embeddings of a text without words (a mask token in the place of each of their
tokens; special tokens stay) to those of the text. Gradients on it, times the way, add up to the difference of the
scores at its ends, or more points are taken; special tokens do not move, so that they get nothing.
"""

from __future__ import annotations

import numpy as np

from adapters.artifacts.explaining import base
from adapters.artifacts.explaining.base.attribution import MAX_ERROR
from adapters.artifacts.explaining.base.explanation import relative_error
from adapters.artifacts.explaining.base.gradients import NO_GRADIENT, captum_attr

FINER = (1, 2, 4, 8)
"""Times as many points as asked for, until attributions add up."""


class Attribution(base.Attribution):
    """Gradients along the path, by the Gauss-Legendre rule."""

    name = "integrated_gradients"
    preference = 1
    complete = True

    def misfit(self, answer: base.Answer) -> str:
        """It needs gradients."""
        return "" if isinstance(answer, base.ReadAnswer) else NO_GRADIENT

    def attribute(self, answer: base.Answer, options: base.Options) -> np.ndarray:
        """Row by row; of a path as many points at a time as `batch_tokens` allows."""
        assert isinstance(answer, base.ReadAnswer)
        integrated = captum_attr().IntegratedGradients
        found = np.zeros(len(answer.words))
        for number in answer.counting:
            own, none = answer.embedded(number)
            at_once = max(options.batch_tokens // own.shape[1], 1)
            gradients = integrated(answer.scored(number), multiply_by_inputs=True)
            for steps in (options.steps * times for times in FINER):
                of_tokens, left = gradients.attribute(
                    own, none, n_steps=steps, internal_batch_size=at_once, return_convergence_delta=True
                )
                total = float(of_tokens.sum())
                if relative_error(total, total - float(left.sum())) <= MAX_ERROR:  # of the scores at the ends
                    break
            found += answer.to_words(number, of_tokens[0].detach().double().sum(-1).cpu().numpy())
        return found
