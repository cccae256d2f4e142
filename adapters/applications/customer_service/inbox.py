"""What was handed over, for the staff: what fits each question, and decisions, which the next training reads.

All decisions are in one JSONL file, a row each: question, intent, answer, scope, as `--train_file` takes them. The file
is rewritten from the database at each change, so that what a customer had deleted is in neither.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.applications.customer_service.assistant import Assistant
from adapters.applications.customer_service.conversation import sound
from adapters.applications.customer_service.knowledge import IN, OUT
from adapters.applications.customer_service.store import Store
from adapters.core.errors import DataError, SessionError, did_you_mean
from adapters.core.files import locked, new_file
from adapters.serving.http.masking import masked

BEST = 5
"""Replies and intents that are offered for a question."""


class Inbox:
    """The inbox of an assistant. Several threads may use it."""

    def __init__(self, store: Store, assistant: Assistant, path: Path) -> None:
        """Args: where it is kept; what finds replies; the file of the decisions."""
        self.store, self.assistant, self.path = store, assistant, path
        self.writing = threading.Lock()

    def items(self, after: int, limit: int) -> dict[str, Any]:
        """What is open, in order, each with the replies and intents that fit best; and all intents."""
        items = self.store.handed_over(decided=False, after=after, limit=limit)
        found = self.assistant.find([item["asked"] or " " for item in items])
        replies, ranking = self.assistant.knowledge.replies, self.assistant.policy.ranking
        for item, known in zip(items, found, strict=True):
            targets = [target for target in ranking.order(known) if target in replies]
            item["intents"] = [*known.intents][:BEST]
            item["replies"] = [{"id": target, "text": replies[target].text} for target in targets[:BEST]]
            del item["decision"]
        return {"items": items, "intents": self.assistant.knowledge.intents}

    def decide(
        self,
        item: Mapping[str, Any],
        *,
        question: str | None,
        intent: str | None,
        reply: str | None,
        answer: str | None,
        outside: bool,
    ) -> Mapping[str, Any]:
        """Decide what the right answer is; returns the row that is learned from.

        Args:
            item: of the store.
            question: as it is to be learned, where the one asked is not complete by itself.
            intent: the right one, of those that are known.
            reply: id of the right one.
            answer: a new reply, which the customer reads as well.
            outside: the question must not be answered.

        Raises:
            DataError: nothing is chosen, or too much, or what is not known, or a text is blank.
            SessionError: the item was deleted, or it cannot be written.
        """
        knowledge = self.assistant.knowledge
        question, answer = (None if text is None else sound(text).strip() for text in (question, answer))
        for name, text in (("question", question), ("answer", answer)):
            if text == "":
                raise DataError(f"The {name} is blank. Write one, or leave it out.")
        chosen = [name for name, value in (("intent", intent), ("reply", reply), ("answer", answer)) if value]
        if outside == bool(chosen) or {"reply", "answer"} <= {*chosen}:
            raise DataError("Choose an intent, and a reply or a new answer, or either; or that it is out of scope.")
        if intent is not None and intent not in knowledge.intents:
            raise DataError(f"There is no intent {intent!r}: {did_you_mean(intent, knowledge.intents)}.")
        if reply is not None and reply not in knowledge.replies:
            raise DataError(f"There is no reply {reply!r}. Choose one of those that are shown.")
        if reply is not None:
            intent = intent or self.assistant.policy.intent_of.get(reply)
            known = knowledge.replies[reply]
            answer = known.text if known.intent is None else None  # a template is chosen by its intent
        row = {
            "question": question or item["asked"],
            "intent": intent,
            "answer": None if answer is None else sound(answer),
            "scope": OUT if outside else IN,
        }
        self.store.decide(item, row, time.time())
        self.write()
        return row

    def forget(self, owner: str) -> int:
        """Delete all of an owner, decisions about it included; returns how many conversations there were."""
        try:
            return self.store.forget(owner)
        finally:  # what is deleted is in no file, though a log may have it
            self.write()

    def write(self) -> None:
        """Write the file of all decisions. Raises SessionError.

        Threads and processes do it one after another, each with what the database has then: else one that had read
        before a deletion would bring back what was deleted.
        """
        if not self.path.exists() and not self.store.handed_over(decided=True):
            return
        try:
            with self.writing, locked(self.path.with_name(f"{self.path.name}.lock")):
                rows = (item["decision"] for item in self.store.handed_over(decided=True))
                lines = [json.dumps({**row, **_masked(row)}, ensure_ascii=False) + "\n" for row in rows]
                with new_file(self.path) as stream:
                    stream.writelines(lines)
        except OSError as error:
            raise SessionError(
                f"{self.path}: cannot be written ({error.strerror}). The decisions are kept in the database, and "
                "will be in the file with the next one: let the server write there."
            ) from error


def _masked(row: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a decision without personal data: what is learned may be shown to others."""
    return {name: masked(row[name]) for name in ("question", "answer") if row[name]}
