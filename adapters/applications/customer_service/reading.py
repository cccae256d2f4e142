"""Past questions of a file: a row each with intent and/or answer, or conversation logs as turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapters.applications.customer_service.knowledge import FAR, IN, NEAR, OUT, Question
from adapters.core.errors import DataError, Faults, numbered
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.rows import Row, RowSource

QUESTIONS = ("question", "query", "utterance", "instruction", "message", "text")
INTENTS = ("intent", "label")
ANSWERS = ("answer", "reply", "response", "best_reply")
SCOPE = ("scope",)
TURNS = ("messages", "turns", "conversation", "dialogue")
SPEAKERS = ("speaker", "role", "author", "from")
CONVERSATIONS = ("conversation_id", "conversation", "dialogue_id", "session_id", "ticket_id", "thread_id")
SAID = ("text", "content", "message", "body", "utterance", "value")
CUSTOMERS = ("user", "customer", "client", "human", "visitor", "caller")
STAFF = ("assistant", "agent", "staff", "support", "operator", "bot", "gpt", "company")
IGNORED = ("system", "tool", "note")
QuestionAnswer = tuple[Question, str | None]
"""A question, and the text of the reply to it."""


def read(path: str, settings: Any, flag: str) -> tuple[list[QuestionAnswer], list[str]]:
    """The questions of a file with the texts of their replies, and what was understood, in lines.

    Raises:
        DataError: no column of questions, or neither intents nor answers; rows with faults, each at `file:line`.
    """
    source = open_file(
        path,
        encoding=settings.encoding,
        reader=settings.dataset_format,
        plugin_dirs=settings.plugin_dir,
        column_names=settings.column_names,
        flag=flag,
    )
    roles = ColumnRoles(source, {name: getattr(settings, f"{name}_column_name") for name in _ROLES})
    faults = Faults(source.name)
    found = _turns(roles, faults) if _is_log(source) else _rows(roles, settings.out_of_scope_intent, faults)
    asked = list(found)
    faults.raise_if_any()
    if not asked:
        raise DataError(f"{source.name}: no question with an intent or an answer. Give rows with either.")
    record = roles.record()
    columns = ", ".join(f"{role} from {', '.join(names)}" for role, names in record["columns"].items())
    unused = f"; unused: {', '.join(record['unused'])}" if record["unused"] else ""
    lines = [
        f"{source.name}: {numbered(len(asked), 'questions')} ({record['format']}): {columns}{unused}",
        *record["notes"],
    ]
    return asked, [*lines, *(numbered(count, what) for what, count in faults.notes.items())]


_ROLES = ("question", "intent", "answer", "scope")


def _rows(roles: ColumnRoles, outside: str, faults: Faults) -> Iterator[QuestionAnswer]:
    """One question a row."""
    asked = roles.find("question", QUESTIONS, what="questions")
    intent, answer = roles.look("intent", INTENTS), roles.look("answer", ANSWERS)
    scope = roles.look("scope", SCOPE)
    if intent is None and answer is None:
        raise DataError(
            f"{roles.source.name}: neither intents ({', '.join(INTENTS)}) nor answers ({', '.join(ANSWERS)}). Columns "
            f"found: {', '.join(roles.source.columns)}. Name one with --intent_column_name or --answer_column_name."
        )
    for row in roles.source.rows(faults):
        text, named, reply = (_cell(row, column) for column in (asked, intent, answer))
        said = (_cell(row, scope) or "").lower()
        if not text:
            what = "an answer without a question" if reply else "a row without a question"
            faults.add(row.where(), what, "Give each answer the question that it answers, or remove the row.")
        elif said and said not in (IN, NEAR, FAR, OUT):
            faults.add(row.where(), f"scope {said!r}", f"A scope is {IN}, {NEAR}, {FAR} or {OUT}.")
        elif (said and said != IN) or named == outside:
            yield Question(text=text, scope=said if said and said != IN else OUT, where=row.where()), None
        elif not named and not reply:
            advice = f"Give it the intent {outside} if it must not be answered, or remove the row."
            faults.add(row.where(), "a question with neither intent nor answer", advice)
        else:
            yield Question(text=text, intent=named, where=row.where()), reply


def _cell(row: Row, column: str | None) -> str | None:
    """A cell's text without blanks at its ends; None where it is empty."""
    value = None if column is None else row.values.get(column)
    return (str(value).strip() or None) if value is not None else None


def _is_log(source: RowSource) -> bool:
    """Whether rows are turns, or have lists of turns."""
    roles = ColumnRoles(source)
    if roles.matching(SPEAKERS) and roles.matching(CONVERSATIONS) and roles.matching(SAID):
        return True
    listed = roles.matching(TURNS)
    first = next(source.rows(Faults(source.name)), None) if listed else None
    return first is not None and isinstance(first.values.get(listed[0]), list)


def _turns(roles: ColumnRoles, faults: Faults) -> Iterator[QuestionAnswer]:
    """Of each conversation, what a customer said with what the staff said next."""
    for turns in _conversations(roles, faults):
        asked: tuple[str, str] | None = None
        for where, speaker, text in turns:
            who = speaker.strip().lower()
            if who in CUSTOMERS:
                asked = (f"{asked[0]} {text}", asked[1]) if asked else (text, where)
            elif who in STAFF:
                if asked is not None:
                    yield Question(text=asked[0], where=asked[1]), text
                else:
                    faults.note("turns of the staff without a question before them left out")
                asked = None
            elif who not in IGNORED:
                known = ", ".join((*CUSTOMERS, *STAFF))
                faults.add(where, f"speaker {speaker!r}", f"Speakers are called one of: {known}.")
        if asked is not None:
            faults.note("questions at the end of a conversation without a reply left out")


def _conversations(roles: ColumnRoles, faults: Faults) -> Iterator[list[tuple[str, str, str]]]:
    """Of each conversation, its turns: where, speaker, text."""
    listed = roles.matching(TURNS)
    speaker = roles.matching(SPEAKERS)
    if not speaker:
        roles.use("turns", listed[0])
        for row in roles.source.rows(faults):
            yield list(_listed(row, listed[0], faults))
        return
    name = roles.matching(CONVERSATIONS)[0]
    for role, column in (("conversation", name), ("speaker", speaker[0])):
        roles.use(role, column)
    said = roles.find("question", SAID, what="what was said")
    by_name: dict[str, list[tuple[str, str, str]]] = {}
    for row in roles.source.rows(faults):
        text, who = _cell(row, said), _cell(row, speaker[0])
        if text and who:
            by_name.setdefault(str(row.values.get(name)), []).append((row.where(), who, text))
        else:
            faults.add(row.where(), "a turn without speaker or text", "Complete it, or remove the row.")
    yield from by_name.values()


def _listed(row: Row, column: str, faults: Faults) -> Iterator[tuple[str, str, str]]:
    """The turns of a row's list: objects with a speaker and a text."""
    turns = row.values.get(column)
    for turn in turns if isinstance(turns, list) else []:
        keys = turn if isinstance(turn, dict) else {}
        who = next((keys[name] for name in SPEAKERS if isinstance(keys.get(name), str)), None)
        text = next((keys[name] for name in SAID if isinstance(keys.get(name), str)), None)
        if who is None or not text:
            advice = '{"role": "user", "content": "…"} is a turn.'
            faults.add(row.where(), "a turn without speaker or text", advice)
        else:
            yield row.where(), who, text.strip()
