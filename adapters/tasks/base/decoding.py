"""Log-probabilities, and the likeliest valid tag sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import OUTSIDE, may_follow, scheme_of_labels

_FORBIDDEN = -1e9
"""Added to the score of a sequence for each step that its scheme forbids."""


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """`[…, classes]`, normalised over the classes, of which there may be none."""
    shifted = scores - scores.max(-1, keepdims=True, initial=-np.inf)
    out: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return out


class TagSearch:
    """Finds the likeliest valid sequence of tags: Viterbi with forbidden steps and no learned ones."""

    def __init__(self, labels: LabelSet) -> None:
        """Args: labels: tags, whose scheme says which may follow which."""
        scheme, tags = scheme_of_labels(labels.names), labels.names

        def cost(before: str, tag: str) -> float:
            return 0.0 if may_follow(before, tag, scheme) else _FORBIDDEN

        self.step = np.array([[cost(before, tag) for tag in tags] for before in tags])  # [from, to]
        self.first = np.array([cost(OUTSIDE, tag) for tag in tags])
        self.last = np.array([cost(tag, OUTSIDE) for tag in tags])

    def best(self, log_probs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The likeliest tags of each sentence.

        Args:
            log_probs: per sentence, float `[words, tags]`.

        Returns:
            Per sentence, int64 `[words]`: classes of the labels.
        """
        return best_paths(log_probs, self.step, self.first, self.last)


def best_paths(rows: Sequence[np.ndarray], step: np.ndarray, first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """The path of the highest score through each sentence: int64 `[words]`.

    Args:
        rows: per sentence, scores `[words, tags]`.
        step: scores `[from, to]`.
        first, last: scores `[tags]` of beginning and of ending with a tag.
    """
    results: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for begin in range(0, len(order), 256):
        chosen = [i for i in order[begin : begin + 256] if len(rows[i])]
        paths = _viterbi([rows[i] for i in chosen], step, first, last)
        for i, path in zip(chosen, paths, strict=True):
            results[i] = path
    return results


def _viterbi(rows: list[np.ndarray], step: np.ndarray, first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Viterbi for several sentences at once; padding repeats the last state at no cost."""
    if not rows:
        return []
    lengths = np.array([len(row) for row in rows])
    tags = len(first)
    padded = np.zeros((len(rows), lengths.max(), tags))
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    score = padded[:, 0] + first  # [sentences, tags]
    back = np.zeros((lengths.max(), len(rows), tags), dtype=np.int64)
    stay = np.arange(tags)
    for word in range(1, lengths.max()):
        paths = score[:, :, None] + step  # [sentences, from, to]
        alive = (word < lengths)[:, None]
        back[word] = np.where(alive, paths.argmax(1), stay)
        score = np.where(alive, paths.max(1) + padded[:, word], score)
    chosen = (score + last).argmax(1)
    out = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for word in range(lengths.max() - 1, -1, -1):
        out[:, word] = chosen
        chosen = back[word, np.arange(len(rows)), chosen]
    return [out[i, :length] for i, length in enumerate(lengths)]
