"""From log-likelihoods of label words to calibrated class probabilities.

- score: the log-likelihood of a word (sum), divided by its tokens (mean) or by the bytes of its text (byte).
- pmi: minus the log-likelihood of the word after nothing; domain: minus that after the query's own last words
  (Holtzman et al. 2021, arXiv:2104.08315, eq. 4: domain-conditional pointwise mutual information).
- contextual: class probabilities divided by those of content-free texts (Zhao et al. 2021, arXiv:2102.09690).
- batch: divided by their mean over many texts (Zhou et al. 2023, arXiv:2309.17249). These are texts of train, read
  once, so that an answer depends on no other text that is predicted with it: a text alone would be divided by itself.
- channel: the likelihood of the text after a word, instead of the word after the text (Min et al. 2022,
  arXiv:2108.04106).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters.core.settings import require
from adapters.tasks.base.decoding import log_softmax

SCORES = ("sum", "mean", "byte")
STEPS = ("channel", "pmi", "domain", "contextual", "batch")
CONTENT_FREE = ("N/A", "[MASK]", "...")
"""Zhao et al. average over `N/A`, `[MASK]` and the empty text, here replaced by dots, as some tasks reject it."""


@dataclass(frozen=True, kw_only=True)
class LabelLogProbs:
    """Log-probabilities of label words for one prompt and its shots.

    Attributes:
        words: `[texts, words]`, of each word after each text (channel: of each text after each word).
        classes: `[words]`, the class of each word.
        tokens: `[words]`, number of tokens.
        bytes: `[words]`, number of bytes of the text.
        content_free: `[contents, words]`, as `words`, for content-free texts.
        domain: `[words]`, after the query's own last words.
        unconditional: `[words]`, after nothing.
    """

    words: np.ndarray
    classes: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray
    content_free: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    domain: np.ndarray = field(default_factory=lambda: np.zeros(0))
    unconditional: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A score and calibration steps, applied in the order of `STEPS`."""

    score: str = "sum"
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises SettingsError for unknown names and impossible combinations."""
        require(self.score in SCORES, "score", self.score, f"one of {', '.join(SCORES)}")
        for step in self.steps:
            require(step in STEPS, "calibration", step, f"none, or of {', '.join(STEPS)}")
        both = {"pmi", "domain"} <= set(self.steps)
        require(not both, "calibration", " ".join(self.steps), "pmi or domain, not both: each removes the other's part")
        scored = "channel" in self.steps and self.score != "sum"
        require(not scored, "score", self.score, "sum with the channel, which scores the text and not the label's word")
        clash = {"channel"} & set(self.steps) and {"pmi", "domain"} & set(self.steps)
        require(not clash, "calibration", " ".join(self.steps), "channel without pmi or domain, or one of these")

    @property
    def name(self) -> str:
        """Name for tables."""
        return (
            "+".join([*(step for step in STEPS if step in self.steps), *([self.score] * (self.score != "sum"))])
            or "none"
        )

    def classes(self, log_probs: LabelLogProbs) -> np.ndarray:
        """Log-probability `[texts, classes]`, normalised over the classes, by all steps before `batch`."""
        texts = log_softmax(self._of_classes(log_probs, log_probs.words))
        if "contextual" in self.steps:
            texts = divided(texts, prior_of(log_softmax(self._of_classes(log_probs, log_probs.content_free))))
        return texts

    def _of_classes(self, log_probs: LabelLogProbs, words: np.ndarray) -> np.ndarray:
        """`[texts, classes]`: the logarithm of the mean likelihood of a class's words."""
        if "pmi" in self.steps:
            words = words - log_probs.unconditional
        if "domain" in self.steps:
            words = words - log_probs.domain
        sizes = {"sum": 1.0, "mean": log_probs.tokens, "byte": log_probs.bytes}[self.score]
        words = words / sizes
        out = np.full((len(words), int(log_probs.classes.max()) + 1), -np.inf)
        for number in range(out.shape[1]):
            own = words[:, log_probs.classes == number]
            out[:, number] = np.logaddexp.reduce(own, axis=1) - np.log(own.shape[1])
        return out


def parse(texts: Sequence[str], score: str = "sum") -> list[Calibration]:
    """Parse calibrations: `none`, a step, or steps joined by `+`, with an optional score.

    Raises SettingsError for unknown names.
    """
    out = []
    for text in texts:
        parts = [part for part in text.split("+") if part and part != "none"]
        scores = [part for part in parts if part in SCORES]
        require(len(scores) < 2, "calibration", text, f"with at most one score of {', '.join(SCORES)}")
        steps = tuple(part for part in parts if part not in SCORES)
        out.append(Calibration(score=scores[0] if scores else score, steps=steps))
    return out


def prior_of(texts: np.ndarray) -> np.ndarray:
    """The logarithm `[classes]` of the mean probabilities of some texts, of log-probabilities `[texts, classes]`."""
    mean: np.ndarray = np.logaddexp.reduce(texts, axis=0) - np.log(len(texts))
    return mean


def divided(texts: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Log-probabilities minus those of a prior, normalised."""
    return log_softmax(texts - prior)
