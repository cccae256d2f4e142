"""Examples in which people marked what counts for the answer, from a JSONL of requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core.errors import DataError, Faults, UserError
from adapters.data.dataset_files import check_encoding
from adapters.data.rows import lines
from adapters.tasks.base.example import Example
from adapters.tasks.base.explained import Word
from adapters.tasks.base.task import Task

CHARACTERS, TOKENS = "spans", "rationales"
LEFT = ("id", "label", "labels", "tokens_n")
"""Columns that are no inputs."""
SHAPE = f"{CHARACTERS}: a list of [start, end] in characters, or {TOKENS}: in tokens between blanks, end exclusive"


@dataclass(frozen=True, kw_only=True)
class MarkedExample:
    """An example, and what people marked in it.

    Attributes:
        example: without a gold answer.
        marked: bool `[words]`: whether a part of the word was marked; None where nobody was asked.
    """

    example: Example
    marked: np.ndarray | None


def read(path: Path, task: Task, most: int | None = None, *, encoding: str = "utf-8") -> list[MarkedExample]:
    """The examples of a file.

    Args:
        path: JSONL; each line is an object with the task's columns, and perhaps `spans` or `rationales`, which lie in
            the first text. `id` and `label` are not read.
        task: whose examples they are.
        most: the first so many.
        encoding: of the file.

    Raises:
        DataError: lines that are not such objects, or not of the encoding, the first twenty of them with their number.
        SettingsError: there is no such encoding.
    """
    check_encoding(encoding)
    faults = Faults(str(path))
    found: list[MarkedExample] = []
    for where, row in _objects(path, encoding, faults):
        try:
            found.append(_marked(row, task, where))
        except UserError as error:
            faults.add(where, str(error))
        if most is not None and len(found) + faults.count >= most:
            break
    faults.raise_if_any()
    if not found:
        raise DataError(f"{path}: has no examples. Each line is a JSON object with the inputs of {task.name}.")
    return found


def _objects(path: Path, encoding: str, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL, each with its `file:line`; a line that is none is a fault."""
    for number, text, sound in lines(path, encoding, faults):
        if not sound or not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(text)
        except ValueError as error:
            faults.add(where, f"not JSON ({error}). Each line must be an object.")
            continue
        if isinstance(value, dict):
            yield where, value
        else:
            faults.add(where, f"must be an object with the task's columns, found {str(value)[:40]!r}.")


def _marked(row: Mapping[str, Any], task: Task, where: str) -> MarkedExample:
    """The example of a row. Raises DataError."""
    inputs = {name: value for name, value in row.items() if name not in (*LEFT, CHARACTERS, TOKENS)}
    example = replace(task.from_request(inputs, str(row.get("id", where))), where=where)
    given = [name for name in (CHARACTERS, TOKENS) if row.get(name) is not None]
    if not given:
        return MarkedExample(example=example, marked=None)
    column, text = next(iter(task.explained_texts(example).items()))
    spans = _spans(row[given[0]])
    if given[0] == TOKENS:
        tokens = [match.span() for match in re.finditer(r"[^ \n]+", text)]
        beyond = [end for _, end in spans if end > len(tokens)]
        if beyond:
            raise DataError(f"{TOKENS} end at token {beyond[0]}, and the text has {len(tokens)}")
        spans = [(tokens[start][0], tokens[end - 1][1]) for start, end in spans]
    elif any(end > len(text) for _, end in spans):
        raise DataError(f"{CHARACTERS} end at character {max(end for _, end in spans)}, and the text has {len(text)}")
    return MarkedExample(example=example, marked=_overlapping(task.words(example), column, spans))


def _spans(value: Any) -> list[tuple[int, int]]:
    """Spans as people write them, without those that are empty, which mark nothing. Raises DataError."""
    found: list[tuple[int, int]] = []
    for one in value if isinstance(value, list) else [value]:
        places = one if isinstance(one, list) and all(type(place) is int for place in one) else []
        if len(places) != 2 or not 0 <= places[0] <= places[1]:
            raise DataError(f"{one!r:.40} is no span. Needed are {SHAPE}")
        if places[0] < places[1]:
            found.append((places[0], places[1]))
    return found


def _overlapping(words: list[Word], column: str, spans: list[tuple[int, int]]) -> np.ndarray:
    """Whether a character of each word is in one of the spans."""
    return np.array(
        [word.column == column and any(word.start < end and start < word.end for start, end in spans) for word in words]
    )
