"""Answer, ask back, or hand over: what is known of a question, two gates, and the decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.applications.customer_service.conversation import readable
from adapters.applications.customer_service.gate import Gate, fitted, with_threshold
from adapters.applications.customer_service.knowledge import IN, Knowledge, Question
from adapters.applications.customer_service.retriever import Match
from adapters.core.errors import ArtifactError

ANSWER, ASK, HAND_OVER = "answer", "ask", "hand_over"
SIGNALS = ("intent", "margin", "score", "gap", "cosine", "lexical", "agreement")
"""Numbers of a question: log odds of the likeliest intent; log of its probability over the second's; the best match's
score, its distance to the next target's, its cosine and BM25 share; whether its intent is the likeliest one."""
MAIN, TWO = "the answer", "one of two"
GATES = (MAIN, TWO)
"""The answer is right; one of the two likeliest intents is (of replies, where these have no intents)."""
EXTREME = 1e-6
LONGEST_LABEL = 120
"""Characters of a past question that is shown as a choice."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found for a question.

    Attributes:
        intents: probability by intent, the likeliest first; empty where intents were not learned.
        matches: replies (or intents, where no replies are known), the best first.
        passages: of documents, the best first.
    """

    intents: Mapping[str, float] = field(default_factory=dict)
    matches: Sequence[Match] = ()
    passages: Sequence[Match] = ()

    def signals(self, intent_of: Mapping[str, str], known: bool) -> list[float]:
        """The numbers of `SIGNALS`. `known`: whether targets are replies, else they are intents."""
        shares = [*self.intents.values()]
        first = min(max(shares[0], EXTREME), 1 - EXTREME) if shares else 0.5
        second = max(shares[1], EXTREME) if len(shares) > 1 else first
        scores = [match.score for match in self.matches[:2]]
        best = self.matches[0] if self.matches else None
        own = None if best is None else intent_of.get(best.target) if known else best.target
        return [
            float(np.log(first / (1 - first))),
            float(np.log(first / second)),
            scores[0] if scores else 0.0,
            scores[0] - scores[1] if len(scores) > 1 else 0.0,
            best.cosine if best else 0.0,
            best.lexical if best else 0.0,
            float(bool(shares) and own == next(iter(self.intents))),
        ]


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
    """Two gates on what is found for a question."""

    def __init__(self, gates: Mapping[str, Gate], knowledge: Knowledge, *, by_intent: bool = True) -> None:
        """Args:
        gates: by name.
        knowledge: of the assistant.
        by_intent: whether the likeliest intent decides where it says the answer (a template, or the intent itself);
            else what matches best does.
        """
        self.gates, self.knowledge, self.by_intent = dict(gates), knowledge, by_intent
        self.intent_of = knowledge.intent_of_targets()
        self.replies_of: dict[str, list[str]] = {}
        for target, intent in self.intent_of.items():
            self.replies_of.setdefault(intent, []).append(target)

    @classmethod
    def tuned(
        cls, knowledge: Knowledge, halves: Sequence[tuple[Sequence[Question], Sequence[Found]]], settings: Any
    ) -> Policy:
        """Gates fitted to the first half of dev, with thresholds from the second.

        What the likeliest intent says is preferred to what matches best if the first half has it right as often. The
        threshold of asking back is set on what is not answered of the second half.
        """
        by_intent, by_match = (cls({}, knowledge, by_intent=first) for first in (True, False))
        policy = max(by_intent, by_match, key=lambda one: one.examples(MAIN, *halves[0])[1].sum())
        left = np.ones(len(halves[1][0]), bool)
        for name, most in ((MAIN, settings.max_wrong), (TWO, settings.max_wrong_asked)):
            (values, right), (others, of_others) = (policy.examples(name, *half) for half in halves)
            gate = fitted(SIGNALS, values, right)
            gate = with_threshold(gate, others[left], of_others[left], max_wrong=most, promise=settings.promise)
            policy.gates[name] = gate
            left = gate.confidence(others) <= gate.threshold if len(others) else left
        return policy

    def examples(
        self, name: str, questions: Sequence[Question], found: Sequence[Found]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Signals `[questions, signals]`, and whether each question's answer by a gate would be right."""
        values = np.array([self.signals(one) for one in found]).reshape(-1, len(SIGNALS))
        right = [self.right(name, question, one) for question, one in zip(questions, found, strict=True)]
        return values, np.array(right, bool)

    def signals(self, found: Found) -> list[float]:
        """The numbers of `SIGNALS` of what was found."""
        return found.signals(self.intent_of, bool(self.knowledge.replies))

    def right(self, name: str, question: Question, found: Found) -> bool:
        """Whether what a gate would let through is right; nothing is, out of scope."""
        if question.scope != IN:
            return False
        wanted = self.knowledge.target(question)
        if name == MAIN:
            return wanted is not None and self.reply(found) == wanted
        own = wanted if question.intent is None else question.intent
        return own is not None and own in self.two(found)

    def reply(self, found: Found) -> str | None:
        """The target that would answer: what the likeliest intent says, or what matches best."""
        first = next(iter(found.intents), None) if self.by_intent else None
        if first is not None and not self.knowledge.replies:
            return first
        own = self.replies_of.get(first or "", ())
        if len(own) == 1 and self.knowledge.replies[own[0]].intent is not None:  # a template
            return own[0]
        return found.matches[0].target if found.matches else None

    def two(self, found: Found) -> list[str]:
        """The two likeliest intents, or those of what matches best; where replies have no intents, two replies."""
        if self.by_intent and found.intents:
            return [*found.intents][:2]
        return [*dict.fromkeys(self.intent_of.get(match.target, match.target) for match in found.matches)][:2]

    def label(self, choice: str) -> str:
        """How a choice is shown: an intent by its name, a reply by the first question that it answered."""
        if choice not in self.knowledge.replies:
            return readable(choice)
        asked = (one.text for one in self.knowledge.questions if one.reply == choice)
        return f"“{next(asked, self.knowledge.replies[choice].text)[:LONGEST_LABEL]}”"

    def decide(self, found: Found) -> Decision:
        """What is done with a question."""
        values = np.array([self.signals(found)])
        confidence = {name: float(gate.confidence(values)[0]) for name, gate in self.gates.items()}
        opens = {name: confidence[name] > gate.threshold for name, gate in self.gates.items()}
        two, target = self.two(found), self.reply(found)
        intent = next(iter(found.intents), None)
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

    def _passage(self, found: Found) -> int | None:
        """The best passage, if it matches the question at least as well as a reply must.

        What intents say is left at its mean over dev. Dev has no answers in documents: what the gate promises of
        replies is not promised of passages.
        """
        if not found.passages:
            return None
        gate = self.gates[MAIN]
        own = dict(zip(SIGNALS, Found(matches=found.passages).signals({}, True), strict=True))
        about = {"score", "gap", "cosine", "lexical"}
        values = [own[name] if name in about else mean for name, mean in zip(SIGNALS, gate.mean, strict=True)]
        return int(found.passages[0].target) if gate.confidence(np.array([values]))[0] > gate.threshold else None

    def record(self) -> dict[str, Any]:
        """As JSON: the gates, and what decides."""
        return {"by_intent": self.by_intent, "gates": {name: gate.record() for name, gate in self.gates.items()}}

    @classmethod
    def of_record(cls, given: Mapping[str, Any], knowledge: Knowledge) -> Policy:
        """From `record`. Raises ArtifactError."""
        try:
            gates = {name: Gate.of_record(given["gates"][name]) for name in GATES}
            return cls(gates, knowledge, by_intent=bool(given["by_intent"]))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the thresholds of the assistant are damaged ({error}). Learn it again.") from error
