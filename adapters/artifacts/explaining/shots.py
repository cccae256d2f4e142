"""The contribution of each shot of a prompt: how much the answer's score falls when it is left out.

Of an answer that was chosen among labels the score is its contrast to the others; of one that was written, the
log-likelihood of its text, in nats.
"""

from __future__ import annotations

import numpy as np

from adapters.artifacts.explaining import base
from adapters.artifacts.explaining.base.subject import PredictedAnswer, prompted


class Attribution(base.Attribution):
    """One answer for each shot."""

    name = "shots"
    preference = 2
    of = "shot"

    def misfit(self, answer: base.Answer) -> str:
        """It needs one prompt with shots."""
        model = prompted(answer)
        if model is None:
            return "the answer is not that of one prompt, so that there are no shots"
        return "" if model.shown(answer.example) else "the prompt has no shots, or none of them fits before the text"

    def attribute(self, answer: base.Answer, options: base.Options) -> np.ndarray:
        """The score with all shots that are shown, less the one without each."""
        model = prompted(answer)
        assert model is not None and isinstance(answer, PredictedAnswer)
        shots = model.shown(answer.example)
        whole = answer.scores(model.with_shots(shots), [answer.example])[0].value
        found = []
        for number in range(len(shots)):
            others = model.with_shots([*shots[:number], *shots[number + 1 :]])
            found.append(whole - answer.scores(others, [answer.example])[0].value)
        return np.array(found)
