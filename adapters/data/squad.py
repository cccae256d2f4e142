"""SQuAD's JSON: `data` is a list of articles with `paragraphs`, each a `context` with its questions, `qas`.

Columns: `id`, `question`, `context`, and `answers`, as datasets have them: `{"text": […], "answer_start": […]}`. A
question that is marked `is_impossible` (SQuAD 2.0) has none. What is wrong is said with its place in the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.data import FileSource, Row, lines
from adapters.errors import DataError, Faults

EXTENSIONS: tuple[str, ...] = ()

_COLUMNS = ("id", "question", "context", "answers")
_OPENS = re.compile(r'\s*\{\s*"(?:version|data)"\s*:')
_PARAGRAPHS = re.compile(r'"paragraphs"\s*:\s*\[')
_FORM = (
    'A file in SQuAD\'s form is {"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", '
    '"answers": [{"text": "…", "answer_start": 0}]}]}]}]}.'
)


def recognises(path: Path, head: str) -> bool:
    """Whether it begins as a document of that form does."""
    return bool(_OPENS.match(head) and _PARAGRAPHS.search(head))


def open(path: Path, encoding: str) -> SquadSource:
    """Look whether the file holds a question."""
    source = SquadSource(path=path, encoding=encoding, columns=list(_COLUMNS))
    faults = Faults(str(path))
    if next(source.rows(faults), None) is None:
        faults.raise_if_any()
        raise DataError(f"{path}: the file holds no question. {_FORM}")
    return source


@dataclass(frozen=True, slots=True)
class Question(Row):
    """A row that says its place in the document, and its id."""

    place: str

    def where(self, item: int = 0) -> str:
        """`file: data[0].paragraphs[1].qas[2] (id …)`."""
        return f"{self.file}: {self.place} (id {self.values['id']})"


@dataclass(frozen=True, kw_only=True)
class SquadSource(FileSource):
    """Questions, in the order of the document, which is held in memory."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """A row a question; what is wrong with one is told with its place."""
        number = 0
        for place, context, asked in self._questions(faults):
            problem = _fault(context, asked)
            if problem:
                faults.add(f"{self.path}: {place}", problem, _FORM)
                continue
            number += 1
            answers = [] if asked.get("is_impossible") is True else asked["answers"]
            texts, starts = ([one[key] for one in answers] for key in ("text", "answer_start"))
            values = {"id": str(asked["id"]), "question": asked["question"], "context": context,
                      "answers": {"text": texts, "answer_start": starts}}  # fmt: skip
            yield Question(self.name, number, 0, values, place)

    def _questions(self, faults: Faults) -> Iterator[tuple[str, Any, Any]]:
        """The place of each question, its context, and what stands there."""
        document = self._document(faults)
        for article, first in _items(document, "data", "", self.path, faults):
            for paragraph, second in _items(article, "paragraphs", first, self.path, faults):
                for asked, third in _items(paragraph, "qas", second, self.path, faults):
                    yield third, paragraph.get("context"), asked

    def _document(self, faults: Faults) -> Any:
        """The whole file; nothing where it is no JSON."""
        before = faults.count
        text = "".join(line.text for line in lines(self.path, self.encoding, faults))
        if faults.count > before:
            return {"data": []}
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            said = f"not JSON at column {getattr(error, 'colno', 1)}: {getattr(error, 'msg', error)}"
            faults.add(f"{self.path}:{getattr(error, 'lineno', 1)}", said)
            return {"data": []}


def _items(value: Any, key: str, place: str, path: Path, faults: Faults) -> Iterator[tuple[Any, str]]:
    """The members of a list that an object holds, each with its place."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        faults.add(f"{path}: {place or 'the document'}", f"has no list {key!r}", _FORM)
        return
    for number, item in enumerate(found):
        yield item, f"{place}.{key}[{number}]".lstrip(".")


def _fault(context: Any, asked: Any) -> str:
    """What is wrong with a question; empty if nothing is."""
    if not isinstance(context, str):
        return "the paragraph's 'context' must be a text"
    if not isinstance(asked, dict) or not isinstance(asked.get("question"), str):
        return "'question' must be a text"
    if not isinstance(asked.get("id"), str | int):
        return "'id' must be a text"
    answers = asked.get("answers")
    if asked.get("is_impossible") is not True:
        if not isinstance(answers, list):
            return f"id {asked['id']}: 'answers' must be a list"
        for answer in answers:
            told = isinstance(answer, dict) and isinstance(answer.get("text"), str)
            if not told or type(answer.get("answer_start")) is not int:
                return f"id {asked['id']}: an answer must have 'text', a text, and 'answer_start', a whole number"
    try:
        json.dumps([context, asked], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return r"a string holds half of a character (\ud800 to \udfff without its other half)"
    return ""
