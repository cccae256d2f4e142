"""A service desk without a model: its knowledge, an assistant, and the application around it, for tests and processes.

python desk.py FOLDER serves it: FOLDER/port has the port, FOLDER/sessions.db the conversations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from adapters.applications.customer_service.assistant import Assistant, passage_entries
from adapters.applications.customer_service.gate import CLOSED, fitted
from adapters.applications.customer_service.knowledge import Knowledge, Passage, Question, Questions, Reply
from adapters.applications.customer_service.policy import GATES, SIGNALS, Policy
from adapters.applications.customer_service.retriever import Retriever
from adapters.applications.customer_service.serving import CustomerServiceSite

ASKED = {"r1": "where is my card", "r2": "money back", "r3": "hi"}
REPLIES = {"r1": "It takes five days.", "r2": "In ten days {really}.", "r3": "Hello."}
FAQ = Knowledge(
    questions=Questions(Question(text=text, reply=name) for name, text in ASKED.items()),
    replies={name: Reply(id=name, versions=(text,), where=f"faq.csv:{name}") for name, text in REPLIES.items()},
    passages=(Passage(text="The car park is behind the house.", file="a.md", place="Parking"),),
)


def policy(knowledge: Knowledge, *opened: str) -> Policy:
    """A policy with these gates open to all, and the others to none."""
    gate = fitted(SIGNALS, np.zeros((0, len(SIGNALS))), np.zeros(0, bool))
    return Policy({name: replace(gate, threshold=0.0 if name in opened else CLOSED) for name in GATES}, knowledge)


def embed(texts: Sequence[str]) -> np.ndarray:
    return np.array([[text.lower().count(c) + 0.01 for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts])


def assistant(bank: Any, knowledge: Knowledge, *opened: str, **more: Any) -> Assistant:
    return Assistant(
        bank=bank,
        knowledge=knowledge,
        policy=policy(knowledge, *opened),
        replies=Retriever.build([*knowledge.entries()], embed) if [*knowledge.entries()] else None,
        passages=Retriever.build(passage_entries(knowledge), embed) if knowledge.passages else None,
        **more,
    )


class NoAdapters:
    """A bank without adapters, whose base writes one text."""

    generates = False

    def __init__(self, text: str = "") -> None:
        self.text = text

    def names(self) -> list[str]:
        return []

    def predict(self, requests: Sequence[Any], *_: Any) -> list[dict[str, Any]]:
        return [{} for _ in requests]

    def stats(self) -> Any:
        return SimpleNamespace(resident=0, known=0, evictions=0)

    def generate(self, requests: Sequence[Any], sampling: Any) -> list[dict[str, Any]]:
        return [{"output": {"completion": self.text}}]


class Desk(CustomerServiceSite):
    """The application with an assistant that is there already."""

    def __init__(
        self, folder: Path, *opened: str, knowledge: Knowledge = FAQ, database: str | None = None, **more: Any
    ) -> None:
        super().__init__(folder, "minilm", database)
        self.assistant = assistant(NoAdapters(), knowledge, *opened, **more)

    def open(self, bank: Any) -> None:
        self.use(self.assistant)


if __name__ == "__main__":
    from servers import Running

    folder = Path(sys.argv[1])
    with Running(NoAdapters(), [Desk(folder)], max_wait_ms=1) as running:
        (folder / "port.new").write_text(str(running.port))
        (folder / "port.new").rename(folder / "port")
        running.thread.join()
