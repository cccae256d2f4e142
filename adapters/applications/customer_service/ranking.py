"""What is found for a question, and the targets in order of a weighted sum of intents and matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters.applications.customer_service.knowledge import Knowledge, Question
from adapters.applications.customer_service.retriever import Match

EXTREME = 1e-6
USUAL = (1.0, 20.0)
"""Weights of the log probability and of the score where dev has no questions: a score 0.05 higher counts as much as a
probability e times as high."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What was found for a question.

    Attributes:
        intents: probability by intent, the likeliest first; empty where intents were not learned.
        matches: replies (or intents, where no replies are known), the best first.
        passages: of documents, the best first.
    """

    intents: Mapping[str, float] = field(default_factory=dict)
    matches: Sequence[Match] = ()
    passages: Sequence[Match] = ()


class Ranking:
    """A conditional logit of the right target (McFadden 1974).

    A target's log odds are its intent's log probability and its score as a match, each times a weight of at least 0.
    The candidates are the matches, and those of the two likeliest intents: the intent itself, where no replies are
    known, or its template.
    """

    def __init__(self, knowledge: Knowledge, weights: Sequence[float] = USUAL) -> None:
        """Args:
        knowledge: of the assistant.
        weights: of the intent's log probability, and of the match's score.
        """
        self.weights = tuple(float(one) for one in weights)
        self.intent_of = knowledge.intent_of_targets()
        self.said: dict[str, str] = {name: name for name in knowledge.intents} if not knowledge.replies else {}
        self.targets_of: dict[str, list[str]] = {}
        for target, intent in self.intent_of.items():
            self.targets_of.setdefault(intent, []).append(target)
        for intent, own in self.targets_of.items():
            if len(own) == 1 and own[0] in knowledge.replies and knowledge.replies[own[0]].intent is not None:
                self.said[intent] = own[0]

    @classmethod
    def fitted(cls, knowledge: Knowledge, questions: Sequence[Question], found: Sequence[SearchResult]) -> Ranking:
        """With the likeliest weights, of questions whose answers are known and of a Gaussian prior at `USUAL`.

        A question tells nothing if it is out of scope, or if the right target is not among its candidates.
        """
        from scipy.optimize import minimize

        usual, rows = cls(knowledge), []
        for question, one in zip(questions, found, strict=True):
            targets, values = usual._candidates(one)
            wanted = knowledge.target(question)
            if wanted in targets:
                values = values * USUAL
                rows.append(values - values[targets.index(wanted)])

        def loss(scale: np.ndarray) -> float:
            return sum(float(np.logaddexp.reduce(row @ scale)) for row in rows) + float(np.sum((scale - 1) ** 2)) / 2

        scale = minimize(loss, np.ones(len(USUAL)), bounds=[(0, None)] * len(USUAL)).x if rows else np.ones(len(USUAL))
        return cls(knowledge, (scale * USUAL).tolist())

    def order(self, found: SearchResult) -> dict[str, float]:
        """Probability by candidate, the likeliest first."""
        targets, values = self._candidates(found)
        if not targets:
            return {}
        odds = values @ np.array(self.weights)
        shares = np.exp(odds - np.logaddexp.reduce(odds))
        return {targets[at]: float(shares[at]) for at in np.argsort(-odds, kind="stable")}

    def _candidates(self, found: SearchResult) -> tuple[list[str], np.ndarray]:
        """Targets, and of each the log probability of its intent and its score, `[targets, 2]`.

        A target without an intent has the probability of one of all intents at random, one that does not match the
        lowest score of those that do.
        """
        scores = {match.target: match.score for match in found.matches}
        least = min(scores.values(), default=0.0)
        likely = [self.said[name] for name in [*found.intents][:2] if name in self.said]
        targets = [*dict.fromkeys([*scores, *likely])]
        random = 1 / max(len(found.intents), 1)
        probabilities = [found.intents.get(self.intent_of.get(name, ""), random) for name in targets]
        logs = np.log(np.maximum(probabilities, EXTREME))
        return targets, np.stack([logs, [scores.get(name, least) for name in targets]], -1)
