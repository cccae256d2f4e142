"""A conversation: what is kept between its turns, for how long, and what short answers and corrections mean.

Only rules: a choice between two intents that were asked back, a correction ("no, the other card"), a short addition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from adapters.applications.base.lexical import words

MINUTES = 30.0
"""After which the intent and the slots of a session are forgotten."""
SHORT = 4
"""Words up to which a message may be an addition to the question before."""
LONGEST = 4000
"""Characters of a message that are read."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_CORRECTION = re.compile(
    r"^\s*(?:sorry[\s,]+)?(?:(?:(?:no|nope|wrong)\s*[,.;:!-]+\s*)|"
    r"(?:(?:no|nope|actually)[\s,]+(?=(?:the|not|i mean|i meant|that)\b))|"
    r"(?:(?:not that(?: one)?|i meant?|i mean)\b[\s,.:;!-]*))+|"
    r"^\s*(?:(?:不是|不对|不，|我是说|我指的是|我说的是)[\s，。,.!！]*)+",
    re.IGNORECASE,
)
"""How a correction begins. Another message that begins with "no" is a question: no refund came."""
_OTHER = re.compile(r"^(?:the )?other(?: one)?[.! ]*$|^另一个[。！ ]*$", re.IGNORECASE)
_PLACES = (("1", "first", "former", "一", "前者", "第一个"), ("2", "second", "latter", "二", "后者", "第二个"))


@dataclass(frozen=True, kw_only=True)
class Session:
    """What is kept of a conversation.

    Attributes:
        id: of the conversation.
        owner: whose it is; nobody else may read it.
        turns: number of turns so far.
        updated: time of the last one, in seconds.
        question: what was asked last, additions included.
        intent: of the last answer.
        target: that answered last.
        choices: the two intents or replies that were asked back; empty if none were.
        waiting: the target whose template waits for a slot.
        slots: values of slots.
    """

    id: str
    owner: str
    turns: int = 0
    updated: float = 0.0
    question: str = ""
    intent: str | None = None
    target: str | None = None
    choices: tuple[str, ...] = ()
    waiting: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)

    def at(self, now: float, minutes: float = MINUTES) -> Session:
        """The session at a time: without what was kept, where that is too long ago."""
        if now - self.updated <= 60 * minutes:
            return self
        return Session(id=self.id, owner=self.owner, turns=self.turns, updated=self.updated)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of_record(cls, given: Mapping[str, Any]) -> Session:
        """From `record`."""
        return replace(cls(**given), choices=tuple(given["choices"]))


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What a message means in its conversation.

    Attributes:
        question: to look for.
        chosen: number of the choice that was taken, 0 or 1.
        without: the target and the intent that were corrected, and must not answer again.
    """

    question: str
    chosen: int | None = None
    without: tuple[str, ...] = ()


def sound(text: str) -> str:
    """A message as it is read and kept: its beginning, with blanks for control characters and lone surrogates."""
    return _CONTROL.sub(" ", text[:LONGEST])


def interpret(session: Session, text: str, labels: Sequence[str] = ()) -> Interpretation:
    """What a message means: a choice, a correction of the last answer, or a question.

    Args:
        session: before the message.
        text: the message.
        labels: how the session's choices were shown.
    """
    chosen = _choice(labels, text)
    if chosen is not None:
        return Interpretation(question=session.question or text, chosen=chosen)
    start = _CORRECTION.match(text)
    if start is None or not session.question:
        return Interpretation(question=text)
    rest = text[start.end() :].strip()
    without = tuple(name for name in (session.target, session.intent) if name is not None)
    return Interpretation(question=f"{session.question} {rest}".strip(), without=without)


def added(session: Session, text: str) -> str | None:
    """The last question with a short message added to it; None where it is complete by itself."""
    if not session.question or len(words(text)) > SHORT:
        return None
    return f"{session.question} {text}"


def _choice(labels: Sequence[str], text: str) -> int | None:
    """Which of two labels a message names: by its place, by all the label's words, or as the other one."""
    if len(labels) != 2:
        return None
    said = words(text.removeprefix("the ").replace("个", ""))
    for number, place in enumerate(_PLACES):
        if text.strip(" .!。").lower() in place or (said and said[0] in place and len(said) <= 2):
            return number
    if _OTHER.match(_CORRECTION.sub("", text)):
        return 1
    named = [number for number, label in enumerate(labels) if {*words(label)} <= {*words(text)}]
    return named[0] if len(named) == 1 else None


def readable(intent: str) -> str:
    """An intent's name as a customer reads it: `card_arrival` is `card arrival`."""
    return re.sub(r"[_\-./]+", " ", intent).strip()
