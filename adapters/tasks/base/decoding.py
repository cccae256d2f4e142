"""Log-probabilities, and the likeliest valid tag sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapters.data.labels import LabelSet


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """`[…, classes]`, normalised over the classes, of which there may be none."""
    shifted = scores - scores.max(-1, keepdims=True, initial=-np.inf)
    out: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return out


def best_tags(log_probs: Sequence[np.ndarray], labels: LabelSet) -> list[np.ndarray]:
    """The likeliest valid IOB2 tag sequence of each sentence (Viterbi with forbidden steps and no learned ones).

    Args:
        log_probs: per sentence, float `[words, tags]`.
        labels: IOB2 tags; a step into `I-X` is allowed only from `B-X` or `I-X`.

    Returns:
        Per sentence, int64 `[words]`: classes of `labels`.
    """
    forbidden = np.array([[b[0] == "I" and a[2:] != b[2:] for b in labels.names] for a in labels.names])
    step = np.where(forbidden, -1e9, 0.0)  # [from, to]
    first = np.array([-1e9 if name[0] == "I" else 0.0 for name in labels.names])
    results: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(log_probs)
    order = sorted(range(len(log_probs)), key=lambda i: len(log_probs[i]))
    for begin in range(0, len(order), 256):
        chosen = [i for i in order[begin : begin + 256] if len(log_probs[i])]
        for i, path in zip(chosen, _viterbi([log_probs[i] for i in chosen], step, first), strict=True):
            results[i] = path
    return results


def _viterbi(rows: list[np.ndarray], step: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
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
        chosen = paths.argmax(1)
        alive = (word < lengths)[:, None]
        back[word] = np.where(alive, chosen, stay)
        score = np.where(alive, paths.max(1) + padded[:, word], score)
    last = score.argmax(1)
    out = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for word in range(lengths.max() - 1, -1, -1):
        out[:, word] = last
        last = back[word, np.arange(len(rows)), last]
    return [out[i, :length] for i, length in enumerate(lengths)]
