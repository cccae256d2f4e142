"""Logarithms of probabilities."""

from __future__ import annotations

import numpy as np


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """`[…, classes]`, normalised over the classes; of no classes none."""
    shifted = scores - scores.max(-1, keepdims=True, initial=-np.inf)
    out: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return out
