"""SQuAD's JSON: `data` is a list of articles with `paragraphs`, each a `context` with its questions, `qas`.

The outer levels may be missing: an object with `paragraphs`, a list of articles or of paragraphs (Simple
Transformers), or a paragraph on each line (MRQA, whose first line is a header).

Columns: `id`, `question`, `context`, and `answers` in the form of `datasets`: `{"text": […], "answer_start": […]}`. A
question marked `is_impossible` (SQuAD 2.0) has none; a file with such marks has them as a column. Faults are reported
with their place in the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.core.errors import Faults
from adapters.data.answer_cells import read_answers
from adapters.data.label_cells import as_flag
from adapters.data.readers.base.json_text import HALF_CHARACTER, Decoder
from adapters.data.rows import HEAD, FileSource, PlacedRow, Row, lines, open_bytes, with_a_row

EXTENSIONS: tuple[str, ...] = ()
FILES = "SQuAD's JSON"

IMPOSSIBLE = "is_impossible"
_COLUMNS = ("id", "question", "context", "answers")
_OPENS = re.compile(r'\s*\{\s*"(?:version|data)"\s*:')
_PARAGRAPHS = re.compile(r'"paragraphs"\s*:\s*\[')
_OPENS_INSIDE = re.compile(r'\s*(?:\[\s*)?\{\s*"(?:title|paragraphs|context|qas|header|id)"\s*:')
_QUESTIONS = re.compile(rb'"qas"\s*:\s*\[\s*[\]{]')
_SEARCHED = 2**20
"""Bytes in which the questions begin; a context may be longer than what files are recognised by."""
_FORM = (
    'A file in SQuAD\'s form is {"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", '
    '"answers": [{"text": "…", "answer_start": 0}]}]}]}]}.'
)


def recognises(path: Path, head: str) -> bool:
    """Whether it begins like a document of that form, or of one of its inner levels."""
    if _OPENS.match(head) and _PARAGRAPHS.search(head):
        return True
    if not _OPENS.match(head) and not _OPENS_INSIDE.match(head):
        return False
    if _QUESTIONS.search(head.encode(errors="replace")) or len(head) < HEAD:
        return bool(_QUESTIONS.search(head.encode(errors="replace")))
    with open_bytes(path) as stream:
        return bool(_QUESTIONS.search(stream.read(_SEARCHED)))


def open(path: Path, encoding: str) -> SquadSource:
    """Check that the file contains a question. Raises DataError."""
    source = SquadSource(path=path, encoding=encoding, columns=list(_COLUMNS))
    with_a_row(source, f"the file contains no question. {_FORM}")
    said = any(IMPOSSIBLE in row.values for row in source.rows(Faults(source.name)))
    return replace(source, columns=[*_COLUMNS, IMPOSSIBLE]) if said else source


@dataclass(frozen=True, kw_only=True)
class SquadSource(FileSource):
    """Questions in the order of the document, which is read into memory."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per question."""
        number = 0
        for place, context, question in self._questions(faults):
            problem = _fault(context, question)
            if problem:
                faults.add(f"{self.path}: {place}", problem, _FORM)
                continue
            number += 1
            texts, starts = read_answers(_answers_of(question) or [])
            texts = [texts] if isinstance(texts, str) else texts
            values = {
                "id": str(_id_of(question)),
                "question": question["question"],
                "context": context,
                "answers": {"text": texts, "answer_start": starts},
            }
            if question.get(IMPOSSIBLE) is not None:
                values[IMPOSSIBLE] = question[IMPOSSIBLE]
            yield PlacedRow(self.name, number, 0, values, f"{place} (id {values['id']})")

    def _questions(self, faults: Faults) -> Iterator[tuple[str, Any, Any]]:
        """The place of each question, its context, and its object."""
        for paragraph, place in self._paragraphs(self._document(faults), "", faults):
            for question, inner in _items(paragraph, "qas", place, self.path, faults):
                yield inner, paragraph.get("context"), question

    def _paragraphs(self, value: Any, place: str, faults: Faults) -> Iterator[tuple[Any, str]]:
        """The paragraphs in a document, or in a part of it, each with its place."""
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._paragraphs(item, f"[{number}]", faults)
        elif isinstance(value, dict) and ("qas" in value or "context" in value):
            yield value, place
        else:
            inner = "paragraphs" if place or (isinstance(value, dict) and "paragraphs" in value) else "data"
            for item, at in _items(value, inner, place, self.path, faults):
                if inner == "data":
                    yield from self._paragraphs(item, at, faults)
                else:
                    yield item, at

    def _document(self, faults: Faults) -> Any:
        """The whole file; an empty document if it is not JSON."""
        before = faults.count
        text = "".join(line.text for line in lines(self.path, self.encoding, faults))
        if faults.count > before:
            return {"data": []}
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            found = _one_a_line(text)
            if found is None:
                problem = f"not JSON at column {getattr(error, 'colno', 1)}: {getattr(error, 'msg', error)}"
                faults.add(f"{self.path}:{getattr(error, 'lineno', 1)}", problem)
                return {"data": []}
        else:
            found = [(1, *Decoder().decode(text)[::2])]
        for line, _, problems in found:
            for problem in problems:
                if problem != HALF_CHARACTER:  # which is found with the place of its question
                    faults.add(f"{self.path}:{line}", problem)
        values = [value for _, value, _ in found]
        if len(found) == 1:
            return values[0]
        return [one for one in values if not (isinstance(one, dict) and set(one) == {"header"})]


def _one_a_line(text: str) -> list[tuple[int, Any, list[str]]] | None:
    """The objects of a file with one on each line, each with its line and its problems; None if it is no such file."""
    decode = Decoder().decode
    read = [
        (number, *decode(line, end_expected=True)[::2])
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    sound = all(value is not None or not problems for _, value, problems in read)
    return read if sound and len(read) > 1 else None


def _items(value: Any, key: str, place: str, path: Path, faults: Faults) -> Iterator[tuple[Any, str]]:
    """The members of an object's list, each with its place."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        faults.add(f"{path}: {place or 'the document'}", f"has no list {key!r}", _FORM)
        return
    for number, item in enumerate(found):
        yield item, f"{place}.{key}[{number}]".lstrip(".")


def _id_of(question: Mapping[str, Any]) -> Any:
    """The question's name, under either key: MRQA has `qid`."""
    return question.get("id", question.get("qid"))


def _answers_of(question: Mapping[str, Any]) -> Any:
    """The question's answers, or its only one under either key, as a list."""
    answers = question.get("answers", question.get("answer"))
    return [answers] if isinstance(answers, str) else answers


def _fault(context: Any, question: Any) -> str:
    """What is wrong with a question; empty if nothing is."""
    if not isinstance(context, str):
        return "the paragraph's 'context' must be a text"
    if not isinstance(question, dict) or not isinstance(question.get("question"), str):
        return "'question' must be a text"
    if not isinstance(_id_of(question), str | int):
        return "'id' must be a text"
    answers = _answers_of(question)
    if answers or not as_flag(question.get(IMPOSSIBLE)):
        if isinstance(answers, dict):
            answers = [] if isinstance(answers.get("text"), list) else [answers]
        if not isinstance(answers, list):
            return f"id {_id_of(question)}: 'answers' must be a list"
        for answer in answers if not all(isinstance(one, str) for one in answers) else ():
            has_text = isinstance(answer, dict) and isinstance(answer.get("text"), str)
            if not has_text or type(answer.get("answer_start")) is not int:
                return f"id {_id_of(question)}: an answer must have 'text', a text, and 'answer_start', a whole number"
    try:
        json.dumps([context, question], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return HALF_CHARACTER
    return ""
