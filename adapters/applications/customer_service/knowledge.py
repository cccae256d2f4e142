"""What an assistant knows: past questions, the replies to them in their versions, and passages of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.core.errors import ArtifactError
from adapters.core.files import digest_value, read_json, write_json

IN, NEAR, FAR, OUT = "in", "near", "far", "out"
SCOPES = (IN, NEAR, FAR, OUT)
"""How far out of scope a question is; `out`: not known how far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A past question.

    Attributes:
        text: as it was asked.
        intent: None where it has none.
        reply: id of the reply that answers it; None where there is none.
        scope: one of `SCOPES`.
        where: `file:line`.
    """

    text: str
    intent: str | None = None
    reply: str | None = None
    scope: str = IN
    where: str = ""

    def digest(self) -> str:
        """sha256 of its text, by which splits are cut: of texts that are one question, the same."""
        return digest_value(normal(self.text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A reply that was given to questions.

    Attributes:
        id: of its first version.
        versions: its texts, the newest last; that one is given.
        intent: whose reply it is, for a template.
        where: `file:line` of the newest version.
    """

    id: str
    versions: tuple[str, ...]
    intent: str | None = None
    where: str = ""

    @property
    def text(self) -> str:
        """The newest version."""
        return self.versions[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A part of a document: its text, its file, and its heading or page."""

    text: str
    file: str
    place: str = ""

    @property
    def source(self) -> str:
        """The file and the place in it."""
        return f"{self.file}, {self.place}" if self.place else self.file


class Questions(list[Question]):
    """A split of questions, which `data.splits` can cut."""

    def documents(self) -> list[str]:
        """None is known."""
        return [""] * len(self)

    def select(self, indices: Sequence[int], name: str = "", **notes: Any) -> Questions:
        """Some of them."""
        return Questions(self[i] for i in indices)

    def halves(self) -> tuple[Questions, Questions]:
        """Two halves by a hash of the text: to calibrate, and to set thresholds. Equal questions stay together."""
        sides = [int(question.digest()[:8], 16) % 2 for question in self]
        first, second = (Questions(q for q, at in zip(self, sides, strict=True) if at == side) for side in (0, 1))
        return first, second

    def without(self, others: Iterable[Question]) -> Questions:
        """Those that none of the others is equal to."""
        known = {normal(question.text) for question in others}
        return Questions(question for question in self if normal(question.text) not in known)


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """All that answers are made of.

    Attributes:
        questions: past questions in scope, to which new ones are compared.
        replies: by id.
        passages: of documents.
    """

    questions: Questions = field(default_factory=Questions)
    replies: dict[str, Reply] = field(default_factory=dict)
    passages: tuple[Passage, ...] = ()

    @property
    def intents(self) -> list[str]:
        """The intents of the questions, sorted."""
        return sorted({question.intent for question in self.questions if question.intent is not None})

    def target(self, question: Question) -> str | None:
        """What answers a question: its reply's id; where no replies are known, its intent; None out of scope."""
        if question.scope != IN:
            return None
        return question.reply if self.replies else question.intent

    def entries(self) -> Iterator[tuple[str, str]]:
        """(text, target) of all that a question can be compared with: past questions, and the replies themselves."""
        for question in self.questions:
            target = self.target(question)
            if target is not None:
                yield question.text, target
        yield from ((reply.text, reply.id) for reply in self.replies.values())

    def intent_of_targets(self) -> dict[str, str]:
        """By target, the intent that most of its questions have, or the template's own."""
        counts: dict[str, Counter[str]] = {}
        for question in self.questions:
            target = self.target(question)
            if target is not None and question.intent is not None:
                counts.setdefault(target, Counter())[question.intent] += 1
        own = {reply.id: reply.intent for reply in self.replies.values() if reply.intent is not None}
        return {**{target: found.most_common(1)[0][0] for target, found in counts.items()}, **own}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, {name: _plain(getattr(self, name)) for name in ("questions", "replies", "passages")})

    @classmethod
    def read(cls, path: Path) -> Knowledge:
        """What `save` wrote. Raises ArtifactError."""
        try:
            found = read_json(path)
            replies = [Reply(**{**one, "versions": tuple(one["versions"])}) for one in found["replies"]]
            return cls(
                questions=Questions(Question(**one) for one in found["questions"]),
                replies={reply.id: reply for reply in replies},
                passages=tuple(Passage(**one) for one in found["passages"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: no knowledge of an assistant ({error}). Learn it again.") from error


def with_versions(given: Iterable[tuple[Question, str | None]]) -> tuple[Questions, dict[str, Reply], int]:
    """Questions with the ids of their replies, the replies, and how many questions have several versions of one.

    Questions with the same reply share it. Where one question has several, they are versions of its reply; other
    questions to which one of these texts was given keep that text.

    Args:
        given: questions with the text of their reply, or None.
    """
    rows = list(given)
    texts: dict[str, dict[str, str]] = {}  # by question: where each of its replies is, in order
    for question, answer in rows:
        if answer is not None:
            texts.setdefault(normal(question.text), {})[answer] = question.where
    replies: dict[tuple[str, ...], Reply] = {}
    for found in texts.values():
        name, versions = f"r{len(replies) + 1}", tuple(found)
        replies.setdefault(versions, Reply(id=name, versions=versions, where=[*found.values()][-1]))
    questions = Questions(
        question if answer is None else replace(question, reply=replies[tuple(texts[normal(question.text)])].id)
        for question, answer in rows
    )
    return questions, {reply.id: reply for reply in replies.values()}, sum(len(found) > 1 for found in texts.values())


def normal(text: str) -> str:
    """A text by which two are the same question: case, blanks and marks at the ends do not count."""
    return " ".join(text.lower().split()).strip(" ?!.。？！")


def _plain(value: Any) -> list[dict[str, Any]]:
    return [asdict(one) for one in (value.values() if isinstance(value, dict) else value)]
