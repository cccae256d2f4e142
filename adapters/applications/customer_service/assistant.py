"""The assistant: knowledge, two adapters of one bank, and a policy; it answers single questions and conversations.

assistant = Assistant.load("runs/customer_service")
assistant.ask("Where is my card?")                       # an Outcome: its kind, text, source and reason
assistant.respond(store.open("c-17", "customer-4"), "Where is my card?")
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adapters.applications.base.folder import bank_with, reading, record_in
from adapters.applications.customer_service import templates
from adapters.applications.customer_service.conversation import LONGEST, Session, added, interpret, readable, sound
from adapters.applications.customer_service.knowledge import Knowledge
from adapters.applications.customer_service.phrases import (
    ASK_BACK,
    HANDED_OVER,
    SLOT,
    WELCOME,
    only_thanks,
    phrase,
)
from adapters.applications.customer_service.policy import ANSWER, ASK, HAND_OVER, Decision, Policy
from adapters.applications.customer_service.ranking import SearchResult
from adapters.applications.customer_service.retriever import Embed, Retriever
from adapters.applications.customer_service.settings import check_installed
from adapters.applications.customer_service.written import written
from adapters.core.errors import ArtifactError, DataError, UserError
from adapters.core.files import new_file, write_json
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.base.example import Example

INTENTS, RETRIEVER, NER = "intents", "retriever", "ner"
"""Names of the adapters in the bank, and of their runs' folders."""
KNOWLEDGE, VECTORS, RECORD = "knowledge.json", "vectors.safetensors", "assistant.json"
PASSAGES = 3
"""From which an answer is written."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a customer gets, and why.

    Attributes:
        kind: `answer`, `ask` or `hand_over`.
        text: for the customer.
        reason: for staff.
        source: where the answer is: `file:line` of a reply, file and heading or page of a passage.
        intent: the likeliest one, whatever is done.
        target: id of the reply, or the intent, that answers.
        choices: two intents, or replies, to choose from.
        slot: that is asked for.
        numbers: signals, confidences, thresholds.
    """

    kind: str
    text: str
    reason: str
    source: str = ""
    intent: str | None = None
    target: str | None = None
    choices: tuple[str, ...] = ()
    slot: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(kw_only=True)
class Assistant:
    """What answers.

    Attributes:
        bank: the base and the adapters.
        knowledge: questions, replies, passages.
        policy: decides.
        replies: finds replies; None where there is nothing to compare with.
        passages: finds passages of documents; None where there are none.
        slots: of templates.
        generate: whether answers are written from passages.
        minutes: after which a session's intent and slots are forgotten.
    """

    bank: AdapterBank
    knowledge: Knowledge
    policy: Policy
    replies: Retriever | None
    passages: Retriever | None = None
    slots: Mapping[str, templates.Slot] = field(default_factory=dict)
    generate: bool = False
    minutes: float = 30.0

    # single questions -------------------------------------------------------------------------------------------------

    def find(self, questions: Sequence[str]) -> list[SearchResult]:
        """What is known of each question."""
        if not questions:
            return []
        asked = [question[:LONGEST] for question in questions]
        shares = self._intents(asked) if INTENTS in self.bank.names() else [{} for _ in asked]
        replies = self.replies.rank(asked) if self.replies else [[] for _ in asked]
        passages = self.passages.rank(asked) if self.passages else [[] for _ in asked]
        return [
            SearchResult(intents=i, matches=r, passages=p) for i, r, p in zip(shares, replies, passages, strict=True)
        ]

    def _intents(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """The probabilities of all intents, the likeliest first."""
        task, predictor = self.bank.task(INTENTS), self.bank.predictor(INTENTS)
        found = predictor.predict([Example(id="", inputs={"text": text or " "}) for text in questions])
        names, out = task.labels.names, []
        for one in found:
            order = np.argsort(-one.detail, kind="stable")
            out.append({names[i]: float(one.detail[i]) for i in order})
        return out

    def ask(self, question: str) -> Outcome:
        """The outcome for a question outside any conversation. Raises DataError where it has no text."""
        return self.respond(Session(id="-", owner="-"), question)[0]

    # conversations ----------------------------------------------------------------------------------------------------

    def respond(self, session: Session, text: str, now: float | None = None) -> tuple[Outcome, Session]:
        """The outcome of a message, and the session after it. Nothing is stored.

        Args:
            session: before the message.
            text: what the customer wrote; of a long one, the beginning.
            now: the time in seconds; None: now.

        Raises:
            DataError: there is no text.
        """
        (answered,) = self.respond_together([(session, text)], now)
        if isinstance(answered, UserError):
            raise answered
        return answered

    def respond_together(
        self, messages: Sequence[tuple[Session, str]], now: float | None = None
    ) -> list[tuple[Outcome, Session] | UserError]:
        """As `respond`, for messages of different sessions: what they look up is looked up together.

        Returns:
            In the order of the messages; the error of one that cannot be answered.
        """
        now = time.time() if now is None else now
        turns = [self._turn(session, text, now) for session, text in messages]
        answered: dict[int, tuple[Outcome, Session] | UserError] = {}
        found: dict[int, SearchResult | None] = dict.fromkeys(range(len(turns)))
        while found:  # twice at most: a question, and the question with the one before it
            asked: dict[int, str] = {}
            for number, known in found.items():
                try:
                    asked[number] = next(turns[number]) if known is None else turns[number].send(known)
                except StopIteration as done:
                    answered[number] = done.value
                except UserError as error:
                    answered[number] = error
            found = dict(zip(asked, self.find([*asked.values()]), strict=True))
        return [answered[number] for number in range(len(turns))]

    def _turn(self, session: Session, text: str, now: float) -> Generator[str, SearchResult, tuple[Outcome, Session]]:
        """A turn of `respond`: yields the questions to look up, receives what was found, returns the result."""
        text = sound(text)
        if not text.strip():
            raise DataError("the message has no text. Write a question.")
        session = session.at(now, self.minutes)
        given = self._slots_in(text)
        session = replace(session, slots={**session.slots, **given}, turns=session.turns + 1, updated=now)
        said = interpret(session, text, [self.policy.label(choice) for choice in session.choices])
        again = self._again(session, given, corrected=bool(said.without))
        if again is not None:
            outcome = self._reply(again, text, session, "the slot of its template was given.", {})
            return outcome, replace(session, waiting=None, target=again)
        alone = session.waiting is None and not session.choices
        session = replace(session, waiting=None)
        question = said.question[:LONGEST]
        found = yield question
        if said.chosen is not None:
            decision = self._chosen(session.choices[said.chosen], found)
        else:
            found = self._without(found, said.without)
            decision = self.policy.decide(found)
            if decision.kind != ANSWER and alone and only_thanks(text):
                reason = "the message says thanks, and asks nothing."
                return Outcome(kind=ANSWER, text=phrase(WELCOME, text), reason=reason), session
            longer = None if said.without else added(session, text)
            if decision.kind != ANSWER and longer is not None:
                more = yield longer[:LONGEST]
                second = self.policy.decide(more)
                if second.kind == ANSWER:
                    decision, found, question = second, more, longer
        outcome = self._outcome(decision, question, session)
        return outcome, replace(
            session,
            question=question,
            intent=outcome.intent,
            target=outcome.target if outcome.kind == ANSWER else session.target,
            choices=outcome.choices,
            waiting=outcome.target if outcome.slot is not None else None,
        )

    def _again(self, session: Session, given: Mapping[str, str], *, corrected: bool) -> str | None:
        """The target whose template is filled again: it waited for a slot that was given, or one was corrected."""
        if session.waiting in self.knowledge.replies:
            return None if self._missing(str(session.waiting), session) else session.waiting
        reply = self.knowledge.replies.get(session.target or "")
        if not corrected or reply is None or reply.intent is None:
            return None
        return reply.id if set(given) & set(templates.slots_of(reply.text)) else None

    def _slots_in(self, text: str) -> dict[str, str]:
        """The slots that a message has values for."""
        entities: dict[str, str] = {}
        if NER in self.bank.names() and any(slot.entity for slot in self.slots.values()):
            (answer,) = self.bank.predict([{"adapter": NER, "inputs": {"text": text[:LONGEST]}}])
            entities = {one["label"]: one["text"] for one in answer.get("output", {}).get("entities", ())}
        found = {name: slot.value(text[:LONGEST], entities) for name, slot in self.slots.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _without(self, found: SearchResult, names: Sequence[str]) -> SearchResult:
        """What was found, without the targets and intents that were corrected, nor other replies of these intents."""
        if not names:
            return found
        left = {name: share for name, share in found.intents.items() if name not in names}
        whole = sum(left.values()) or 1.0
        left = {name: share / whole for name, share in left.items()}
        of = self.policy.intent_of
        matches = [one for one in found.matches if one.target not in names and of.get(one.target) not in names]
        return SearchResult(intents=left, matches=matches, passages=found.passages)

    def _chosen(self, choice: str, found: SearchResult) -> Decision:
        """The decision for a reply or an intent that the customer has chosen: of an intent, its best reply."""
        reason = "the customer chose between two."
        if choice in self.knowledge.replies:
            return Decision(kind=ANSWER, reason=reason, target=choice, intent=self.policy.intent_of.get(choice))
        intent = choice
        own = self.policy.ranking.targets_of.get(intent, ())
        target = next((target for target in self.policy.ranking.order(found) if target in own), None)
        target = target or next(iter(own), None) or (None if self.knowledge.replies else intent)
        if target is None:
            return Decision(kind=HAND_OVER, reason="the customer chose an intent without a reply.", intent=intent)
        return Decision(kind=ANSWER, reason=reason, target=target, intent=intent)

    # outcomes ---------------------------------------------------------------------------------------------------------

    def _outcome(self, decision: Decision, question: str, session: Session) -> Outcome:
        """What the customer gets of a decision."""
        common: dict[str, Any] = {"intent": decision.intent, "numbers": decision.numbers}
        if decision.kind == ASK:
            text = phrase(ASK_BACK, question, *map(self.policy.label, decision.choices))
            return Outcome(kind=ASK, text=text, reason=decision.reason, choices=decision.choices, **common)
        if decision.passage is not None:
            return self._of_passages(decision, question, common)
        if decision.target is not None:
            return self._reply(decision.target, question, session, decision.reason, common)
        return Outcome(kind=HAND_OVER, text=phrase(HANDED_OVER, question), reason=decision.reason, **common)

    def _of_passages(self, decision: Decision, question: str, common: Mapping[str, Any]) -> Outcome:
        """A passage, or what the base writes from the best ones."""
        assert decision.passage is not None and self.passages is not None
        passage = self.knowledge.passages[decision.passage]
        if not self.generate:
            return Outcome(kind=ANSWER, text=passage.text, reason=decision.reason, source=passage.source, **common)
        best = [self.knowledge.passages[int(one.target)] for one in self.passages.rank([question], PASSAGES)[0]]
        text = written(self.bank, question, best)
        if text is None:
            reason = f"{decision.reason} What the base wrote from them has words that they lack."
            return Outcome(kind=HAND_OVER, text=phrase(HANDED_OVER, question), reason=reason, **common)
        source = "; ".join(dict.fromkeys(one.source for one in best))
        return Outcome(kind=ANSWER, text=text, reason=decision.reason, source=source, **common)

    def _missing(self, target: str, session: Session) -> list[str]:
        """The slots of a target's template that have no value."""
        reply = self.knowledge.replies.get(target)
        return [] if reply is None or reply.intent is None else templates.fill(reply.text, session.slots)[1]

    def _reply(self, target: str, question: str, session: Session, reason: str, common: Mapping[str, Any]) -> Outcome:
        """A reply as it was given, a filled template, or a question for what it lacks."""
        reply = self.knowledge.replies.get(target)
        intent = common.get("intent") or session.intent
        common = {**common, "intent": intent, "target": target}
        if reply is None:  # no replies are known: the intent is the answer, for what is behind this
            return Outcome(kind=ANSWER, text=readable(target), reason=reason, source=f"intent {target}", **common)
        if reply.intent is None:  # a reply of the past: braces in it are no slots
            return Outcome(kind=ANSWER, text=reply.text, reason=reason, source=reply.where, **common)
        text, missing = templates.fill(reply.text, session.slots)
        if missing:
            slot = self.slots[missing[0]]
            why = f"{reason} Its template lacks {', '.join(missing)}."
            asked = slot.ask or phrase(SLOT, question, readable(slot.name))
            return Outcome(kind=ASK, text=asked, reason=why, slot=slot.name, **common)
        return Outcome(kind=ANSWER, text=text, reason=reason, source=reply.where, **common)

    # files ------------------------------------------------------------------------------------------------------------

    def save(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Write all but the adapters, which are there already.

        Args:
            folder: of the assistant.
            record: what else is to be known; `base` is how the base is found again.
        """
        from safetensors.numpy import save

        self.knowledge.save(folder / KNOWLEDGE)
        indexes = {"replies": self.replies, "passages": self.passages}
        vectors = {name: np.ascontiguousarray(one.vectors) for name, one in indexes.items() if one is not None}
        with new_file(folder / VECTORS, text=False) as stream:
            stream.write(save(vectors))
        own = {
            "adapters": {name: self.bank.card(name)["digest"] for name in self.bank.names()},
            "weight": {name: one.weight for name, one in indexes.items() if one is not None},
            "policy": self.policy.record(),
            "slots": templates.as_json(self.slots),
            "generate": self.generate,
            "minutes": self.minutes,
        }
        write_json(folder / RECORD, {**record, **own})

    @classmethod
    def load(
        cls, folder: str | Path, bank: AdapterBank | None = None, *, base: str | None = None, device: str = "auto"
    ) -> Assistant:
        """An assistant from its folder.

        Args:
            folder: of the assistant.
            bank: of its base, that its adapters are loaded into; None: one of its own.
            base: of its own bank, where that has moved.
            device: of its own bank.

        Raises:
            ArtifactError: it is no assistant's, or damaged; SourceError: its base cannot be found; BankError: the bank
                has other adapters of these names.
        """
        from safetensors.numpy import load_file

        check_installed()
        folder = Path(folder)
        record = saved_record(folder)
        with _reading(folder):
            vectors = load_file(folder / VECTORS)
            weights, adapters = record["weight"], dict(record["adapters"])
            slots = {name: templates.Slot(**given) for name, given in record["slots"].items()}
            generate, minutes = bool(record["generate"]), float(record["minutes"])
        knowledge = Knowledge.read(folder / KNOWLEDGE)
        bank = bank_with(folder, adapters, bank, base=base or record["base"], device=device)
        embed = embedder(bank, adapters)
        entries = {"replies": [*knowledge.entries()], "passages": passage_entries(knowledge)}
        built: dict[str, Retriever | None] = {}
        for name, own in entries.items():
            if own and len(vectors.get(name, ())) != len(own):
                raise ArtifactError(f"{folder / VECTORS}: has not the vectors of {name}. Learn the assistant again.")
            built[name] = Retriever(own, vectors[name], embed, weights[name]) if own else None
        policy = Policy.of_record(record["policy"], knowledge)
        return cls(
            bank=bank, knowledge=knowledge, policy=policy, slots=slots, generate=generate, minutes=minutes, **built
        )


def saved_record(folder: Path) -> dict[str, Any]:
    """The record saved with an assistant: `base` is how its base is found. Raises ArtifactError."""
    with _reading(folder):
        return record_in(folder / RECORD)


def _reading(folder: Path) -> AbstractContextManager[None]:
    return reading(folder, "assistant", "Give the folder that was learned.")


def embedder(bank: AdapterBank, adapters: Collection[str]) -> Embed:
    """What embeds texts: the base, under the retriever's adapter if the assistant has one."""
    return partial(bank.embed, adapter=RETRIEVER if RETRIEVER in adapters else None)


def passage_entries(knowledge: Knowledge) -> list[tuple[str, str]]:
    """(text, number) of each passage, with its heading."""
    return [(f"{one.place} {one.text}".strip(), str(number)) for number, one in enumerate(knowledge.passages)]
