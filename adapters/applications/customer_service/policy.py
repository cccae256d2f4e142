"""Answer, ask back, or hand over: what is known of a question, two gates, and the decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.applications.customer_service.conversation import readable
from adapters.applications.customer_service.gate import Gate, fitted, with_threshold
from adapters.applications.customer_service.knowledge import IN, Knowledge, Question
from adapters.applications.customer_service.ranking import EXTREME, Ranking, SearchResult
from adapters.applications.customer_service.retriever import Match
from adapters.core.errors import ArtifactError

ANSWER, ASK, HAND_OVER = "answer", "ask", "hand_over"
SIGNALS = ("lead", "intent", "margin", "score", "gap", "cosine", "lexical", "agreement")
"""Numbers of a question: log of the probability of the target that answers over the next one's; log odds of the
likeliest intent; log of its probability over the second's; the best match's score, its distance to the next target's,
its cosine and BM25 share; whether its intent is the likeliest one."""
MAIN, TWO = "the answer", "one of two"
GATES = (MAIN, TWO)
"""The answer is right; one of the two likeliest intents is (of replies, where these have no intents)."""
LONGEST_LABEL = 120
"""Characters of a past question that is shown as a choice."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done with a question.

    Attributes:
        kind: `answer`, `ask` or `hand_over`.
        reason: why, in a sentence for staff.
        target: the reply or the intent that answers.
        intent: the likeliest one, whatever is done.
        choices: two intents (without intents, two replies) to choose from, where it is asked back.
        passage: number of the passage that answers; None where a reply does.
        numbers: signals, confidences and thresholds.
    """

    kind: str
    reason: str
    target: str | None = None
    intent: str | None = None
    choices: tuple[str, ...] = ()
    passage: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


class Policy:
    """A ranking of what can answer, and two gates."""

    def __init__(self, gates: Mapping[str, Gate], knowledge: Knowledge, ranking: Ranking | None = None) -> None:
        """Args:
        gates: by name.
        knowledge: of the assistant.
        ranking: of targets; one with the usual weights if it is not given.
        """
        self.gates, self.knowledge, self.ranking = dict(gates), knowledge, ranking or Ranking(knowledge)
        self.intent_of = self.ranking.intent_of

    @classmethod
    def tuned(
        cls, knowledge: Knowledge, halves: Sequence[tuple[Sequence[Question], Sequence[SearchResult]]], settings: Any
    ) -> Policy:
        """The ranking and gates fitted to the first half of dev, with thresholds from the second.

        The threshold of asking back is set on what is not answered of the second half.
        """
        policy = cls({}, knowledge, Ranking.fitted(knowledge, *halves[0]))
        left = np.ones(len(halves[1][0]), bool)
        for name, most in ((MAIN, settings.max_wrong), (TWO, settings.max_wrong_asked)):
            (values, right), (others, of_others) = (policy.examples(name, *half) for half in halves)
            gate = fitted(SIGNALS, values, right)
            gate = with_threshold(gate, others[left], of_others[left], max_wrong=most, promise=settings.promise)
            policy.gates[name] = gate
            left = gate.confidence(others) <= gate.threshold if len(others) else left
        return policy

    def examples(
        self, name: str, questions: Sequence[Question], found: Sequence[SearchResult]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Signals `[questions, signals]`, and whether each question's answer by a gate would be right."""
        values = np.array([self.signals(one) for one in found]).reshape(-1, len(SIGNALS))
        right = [self.right(name, question, one) for question, one in zip(questions, found, strict=True)]
        return values, np.array(right, bool)

    def signals(self, found: SearchResult) -> list[float]:
        """The numbers of `SIGNALS` of what was found."""
        shares, joined = [*found.intents.values()], [*self.ranking.order(found).values()]
        first = min(max(shares[0], EXTREME), 1 - EXTREME) if shares else 0.5
        best = found.matches[0] if found.matches else None
        agrees = bool(shares) and best is not None and self.intent_of.get(best.target) == next(iter(found.intents))
        own = {
            "lead": _lead(joined),
            "intent": float(np.log(first / (1 - first))),
            "margin": _lead(shares),
            "agreement": float(agrees),
            **_of_match(found.matches),
        }
        return [own[name] for name in SIGNALS]

    def right(self, name: str, question: Question, found: SearchResult) -> bool:
        """Whether what a gate would let through is right; nothing is, out of scope."""
        if question.scope != IN:
            return False
        wanted = self.knowledge.target(question)
        if name == MAIN:
            return wanted is not None and self.reply(found) == wanted
        own = wanted if question.intent is None else question.intent
        return own is not None and own in self.two(found)

    def reply(self, found: SearchResult) -> str | None:
        """The target that would answer."""
        return next(iter(self.ranking.order(found)), None)

    def two(self, found: SearchResult) -> list[str]:
        """The two intents that are likeliest to be right; where replies have no intents, two replies."""
        intents = (self.intent_of.get(target, target) for target in self.ranking.order(found))
        return [*dict.fromkeys([*intents, *found.intents])][:2]

    def label(self, choice: str) -> str:
        """How a choice is shown: an intent by its name, a reply by the first question that it answered."""
        if choice not in self.knowledge.replies:
            return readable(choice)
        asked = (one.text for one in self.knowledge.questions if one.reply == choice)
        return f"“{next(asked, self.knowledge.replies[choice].text)[:LONGEST_LABEL]}”"

    def decide(self, found: SearchResult) -> Decision:
        """What is done with a question."""
        values = np.array([self.signals(found)])
        confidence = {name: float(gate.confidence(values)[0]) for name, gate in self.gates.items()}
        opens = {name: confidence[name] > gate.threshold for name, gate in self.gates.items()}
        two, target = self.two(found), self.reply(found)
        intent = self.intent_of.get(target or "")
        intent = intent if intent in found.intents else next(iter(found.intents), None)
        numbers = {
            **dict(zip(SIGNALS, map(float, values[0]), strict=True)),
            **{f"confidence of {name}": value for name, value in confidence.items()},
            **{f"threshold of {name}": gate.threshold for name, gate in self.gates.items()},
        }
        common: dict[str, Any] = {"intent": intent, "numbers": numbers}
        said = f"confidence {confidence[MAIN]:.2f} of {MAIN}"
        if target is not None and opens[MAIN]:
            return Decision(kind=ANSWER, reason=f"{said} is above {self._least(MAIN)}.", target=target, **common)
        closed = self.gates[MAIN].threshold > 1
        below = f"{said}, and no threshold is safe on dev" if closed else f"{said} is not above {self._least(MAIN)}"
        passage = self._passage(found)
        if passage is not None:
            return Decision(kind=ANSWER, reason=f"{below}; a passage of the documents is.", passage=passage, **common)
        if len(two) == 2 and opens[TWO]:
            sure = f"confidence {confidence[TWO]:.2f} that it is one of two is above {self._least(TWO)}"
            return Decision(kind=ASK, reason=f"{below}; {sure}.", choices=tuple(two), **common)
        return Decision(kind=HAND_OVER, reason=f"{below}, nor is anything else sure enough.", **common)

    def _least(self, name: str) -> str:
        return f"{self.gates[name].threshold:.2f}"

    def _passage(self, found: SearchResult) -> int | None:
        """The best passage, if it matches the question at least as well as a reply must.

        The signals of intents are at their mean over dev. Dev has no answers in documents: the gate's guarantee for
        replies does not hold for passages.
        """
        if not found.passages:
            return None
        gate = self.gates[MAIN]
        own = _of_match(found.passages)
        values = [own.get(name, mean) for name, mean in zip(SIGNALS, gate.mean, strict=True)]
        return int(found.passages[0].target) if gate.confidence(np.array([values]))[0] > gate.threshold else None

    def record(self) -> dict[str, Any]:
        """As JSON: the weights of the ranking, and the gates."""
        gates = {name: gate.record() for name, gate in self.gates.items()}
        return {"weights": list(self.ranking.weights), "gates": gates}

    @classmethod
    def of_record(cls, given: Mapping[str, Any], knowledge: Knowledge) -> Policy:
        """From `record`. Raises ArtifactError."""
        if "by_intent" in given:
            raise ArtifactError("the assistant was learned by an earlier version. Learn it again, by the same command.")
        try:
            gates = {name: Gate.of_record(given["gates"][name]) for name in GATES}
            intents, matches = given["weights"]
            return cls(gates, knowledge, Ranking(knowledge, (intents, matches)))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the thresholds of the assistant are damaged ({error}). Learn it again.") from error


def _lead(shares: Sequence[float]) -> float:
    """Log of the first probability over the second; 0 where there are not two."""
    return float(np.log(max(shares[0], EXTREME) / max(shares[1], EXTREME))) if len(shares) > 1 else 0.0


def _of_match(matches: Sequence[Match]) -> dict[str, float]:
    """The numbers of `SIGNALS` that are about the best match."""
    scores = [match.score for match in matches[:2]]
    return {
        "score": scores[0] if scores else 0.0,
        "gap": scores[0] - scores[1] if len(scores) > 1 else 0.0,
        "cosine": matches[0].cosine if matches else 0.0,
        "lexical": matches[0].lexical if matches else 0.0,
    }
