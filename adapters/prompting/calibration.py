"""From how likely words are to how likely classes are, and what is taken out: what a model says whatever the text.

- score: a word's log-likelihood as it is (sum), by piece (mean), or by byte of its text (byte).
- pmi: less the word's log-likelihood in front of nothing; domain: less that behind the query's own last words
  (Holtzman et al. 2021, arXiv:2104.08315, eq. 4: domain-conditional pointwise mutual information).
- contextual: class probabilities divided by those of texts without content (Zhao et al. 2021, arXiv:2102.09690).
- batch: divided by their mean over the texts asked about (Zhou et al. 2023, arXiv:2309.17249); it needs many of them.
- channel: the likelihood of the text behind a word, not of the word behind the text (Min et al. 2022,
  arXiv:2108.04106).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters.probabilities import log_softmax
from adapters.settings import require

SCORES = ("sum", "mean", "byte")
STEPS = ("channel", "pmi", "domain", "contextual", "batch")
CONTENT_FREE = ("N/A", "[MASK]", "...")
"""Zhao et al. average over `N/A`, `[MASK]` and the empty text; some tasks take no empty text, so dots stand for it."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How likely words are, in log-probabilities, by one prompt and its shots.

    Attributes:
        words: `[texts, words]`, behind each text (or of each text behind the word).
        empty: `[contents, words]`, of texts without content.
        premise: `[words]`, behind the query's own last words.
        nothing: `[words]`, behind nothing.
        classes: `[words]`, the class that each word stands for.
        pieces: `[words]`, of the tokenizer.
        bytes: `[words]`, of the word's text.
    """

    words: np.ndarray
    classes: np.ndarray
    pieces: np.ndarray
    bytes: np.ndarray
    empty: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    premise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nothing: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is done to a reading, in the order of `STEPS`."""

    score: str = "sum"
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises SettingsError for what is not known, or cannot stand together."""
        require(self.score in SCORES, "score", self.score, f"one of {', '.join(SCORES)}")
        for step in self.steps:
            require(step in STEPS, "calibration", step, f"none, or of {', '.join(STEPS)}")
        both = {"pmi", "domain"} <= set(self.steps)
        require(
            not both, "calibration", " ".join(self.steps), "pmi or domain, not both: each takes out the other's part"
        )
        words = {"channel"} & set(self.steps) and {"pmi", "domain"} & set(self.steps)
        require(not words, "calibration", " ".join(self.steps), "without channel beside pmi or domain")

    @property
    def name(self) -> str:
        """For tables."""
        return (
            "+".join([*(step for step in STEPS if step in self.steps), *([self.score] * (self.score != "sum"))])
            or "none"
        )

    def classes(self, reading: Reading) -> np.ndarray:
        """Log-probability `[texts, classes]`, normalised over the classes."""
        texts = log_softmax(self._of_classes(reading, reading.words))
        if "contextual" in self.steps:
            texts = _divided(texts, log_softmax(self._of_classes(reading, reading.empty)))
        if "batch" in self.steps:
            texts = _divided(texts, texts)
        return texts

    def _of_classes(self, reading: Reading, words: np.ndarray) -> np.ndarray:
        """`[texts, classes]`: of a class, the mean of its words' likelihoods."""
        if "pmi" in self.steps:
            words = words - reading.nothing
        if "domain" in self.steps:
            words = words - reading.premise
        sizes = {"sum": 1.0, "mean": reading.pieces, "byte": reading.bytes}[self.score]
        words = words / sizes
        out = np.full((len(words), int(reading.classes.max()) + 1), -np.inf)
        for number in range(out.shape[1]):
            own = words[:, reading.classes == number]
            out[:, number] = np.logaddexp.reduce(own, axis=1) - np.log(own.shape[1])
        return out


def parse(texts: Sequence[str], score: str = "sum") -> list[Calibration]:
    """Calibrations of a list of settings: `none`, a step, or steps joined by `+`, to which a score may be added.

    Raises SettingsError that names what is not known.
    """
    found = []
    for text in texts:
        parts = [part for part in text.split("+") if part and part != "none"]
        scores = [part for part in parts if part in SCORES]
        require(len(scores) < 2, "calibration", text, f"with one score of {', '.join(SCORES)}")
        steps = tuple(part for part in parts if part not in SCORES)
        found.append(Calibration(score=scores[0] if scores else score, steps=steps))
    return found


def _divided(texts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log-probabilities less the logarithm of the reference's mean probabilities, normalised."""
    usual = np.logaddexp.reduce(reference, axis=0) - np.log(len(reference))
    return log_softmax(texts - usual)
