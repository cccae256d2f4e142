"""Finds what answers a question: by words (BM25) and by embeddings of the base under an adapter, in a weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.applications.base.lexical import Lexical
from adapters.applications.base.vectors import normalized

Embed = Callable[[Sequence[str]], np.ndarray]
"""From texts to vectors `[texts, hidden]`."""
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
"""Weights of the embeddings that are tried on dev; the rest is BM25's. 0 is BM25 alone, 1 embeddings alone."""
DEPTH = 50
"""Targets that are ranked for a question, at most."""
CHUNK = 64
"""Questions ranked at a time."""
RANK_CONSTANT = 60
"""Of reciprocal rank fusion (Cormack et al. 2009)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What was found for a question.

    Attributes:
        target: id of a reply or number of a passage, or an intent where no replies are known.
        score: weighted sum of the two.
        cosine: of the embeddings, of the text that matched best.
        lexical: BM25's share, of that text.
        text: that matched best: a past question, or the reply itself.
    """

    target: str
    score: float
    cosine: float
    lexical: float
    text: str


class Retriever:
    """Texts, each of a target; a target's score is that of its best text."""

    def __init__(self, entries: Sequence[tuple[str, str]], vectors: np.ndarray, embed: Embed, weight: float) -> None:
        """Args:
        entries: (text, target) of each text.
        vectors: `[texts, hidden]`, of length 1.
        embed: embeds questions as these vectors were.
        weight: of the embeddings.
        """
        self.entries, self.vectors, self.embed, self.weight = entries, vectors, embed, weight
        self.lexical = Lexical([text for text, _ in entries])
        names = {target: number for number, target in enumerate(dict.fromkeys(target for _, target in entries))}
        self.targets = tuple(names)
        of = np.array([names[target] for _, target in entries], np.int64)
        self._order = np.argsort(of, kind="stable")
        self._begins = np.flatnonzero(np.diff(of[self._order], prepend=-1))
        self._sizes = np.diff(self._begins, append=len(of))

    @classmethod
    def build(cls, entries: Sequence[tuple[str, str]], embed: Embed, weight: float = 0.5) -> Retriever:
        """A retriever of texts that are embedded now."""
        return cls(entries, normalized(embed([text for text, _ in entries])), embed, weight)

    def parts(self, questions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and BM25's shares of all texts, float32 `[questions, texts]` each."""
        cosines = normalized(self.embed(questions)) @ self.vectors.T
        return cosines, np.stack([self.lexical.scores(question) for question in questions])

    def rank(self, questions: Sequence[str], depth: int = DEPTH) -> list[list[Match]]:
        """The best targets of each question, the best first."""
        found: list[list[Match]] = []
        for begin in range(0, len(questions), CHUNK):
            cosines, shares = self.parts(questions[begin : begin + CHUNK])
            found += [self._ranked(cosine, share, depth) for cosine, share in zip(cosines, shares, strict=True)]
        return found

    def _ranked(self, cosine: np.ndarray, share: np.ndarray, depth: int) -> list[Match]:
        score = self.weight * cosine + (1 - self.weight) * share
        best = self.of_targets(score)
        matches = []
        for number in np.argsort(-best, kind="stable")[:depth]:
            texts = self._order[self._begins[number] :][: self._sizes[number]]
            text = int(texts[score[texts].argmax()])
            own = {"score": float(score[text]), "cosine": float(cosine[text]), "lexical": float(share[text])}
            matches.append(Match(target=self.targets[number], text=self.entries[text][0], **own))
        return matches

    def of_targets(self, scores: np.ndarray) -> np.ndarray:
        """Of scores of texts `[texts]`, the highest of each target `[targets]`."""
        found: np.ndarray = np.maximum.reduceat(scores[self._order], self._begins)
        return found


def ranks(retriever: Retriever, questions: Sequence[str], targets: Sequence[str]) -> dict[float | str, np.ndarray]:
    """The rank (from 1) of each question's own target, by weight of the embeddings, and by `reciprocal` ranks.

    Each question is embedded once. A target that no text has ranks last.
    """
    number_of = {target: number for number, target in enumerate(retriever.targets)}
    names: tuple[float | str, ...] = (*WEIGHTS, "reciprocal")
    out: dict[float | str, list[int]] = {name: [] for name in names}
    for begin in range(0, len(questions), CHUNK):
        cosines, shares = retriever.parts(questions[begin : begin + CHUNK])
        for cosine, share, own in zip(cosines, shares, targets[begin : begin + CHUNK], strict=True):
            place = number_of.get(own)
            for weight in WEIGHTS:
                out[weight].append(_rank(retriever.of_targets(weight * cosine + (1 - weight) * share), place))
            fused = reciprocal_rank_fusion(*map(retriever.of_targets, (cosine, share)))
            out["reciprocal"].append(_rank(fused, place))
    return {name: np.array(found, np.int64) for name, found in out.items()}


def best_weight(ranked: Mapping[float | str, np.ndarray]) -> float:
    """The weight with the best mean reciprocal rank; of equals, the one nearest to one half. 0.5 without questions."""
    if not len(ranked[WEIGHTS[0]]):
        return 0.5
    return max(WEIGHTS, key=lambda weight: (round(float(np.mean(1 / ranked[weight])), 9), -abs(weight - 0.5)))


def _rank(scores: np.ndarray, place: int | None) -> int:
    """The rank of a target among all; of equals, the mean place, rounded up. Past the last one if it is absent."""
    if place is None:
        return len(scores) + 1
    above, equal = int((scores > scores[place]).sum()), int((scores == scores[place]).sum())
    return above + 1 + equal // 2


def reciprocal_rank_fusion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two scores of targets, `[targets]` each, fused by their ranks (Cormack et al. 2009)."""
    fused = np.zeros(len(first))
    for scores in (first, second):
        fused[np.argsort(-scores, kind="stable")] += 1 / (RANK_CONSTANT + np.arange(1, len(scores) + 1))
    return fused
