"""From a cell to the answers of a question, and where they start, in the forms that people write.

Oslo   ["Oslo"]   {"text": ["Oslo"], "answer_start": [13]}   {"text": "Oslo", "answer_start": 13}
[{"text": "Oslo", "answer_start": 13}]   and each of them as Python or NumPy writes it into a CSV
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adapters.core.errors import DataError
from adapters.data.cell_values import parse_cell, whole

SHOWN = 40
"""Characters of a context in a message."""
_NEAR = 3
"""Characters by which an answer_start may miss the answer, if only blanks are between."""


def read_answers(cell: Any, start: Any = None) -> tuple[Any, list[Any]]:
    """The answers, a text or a list of what should be texts, and the starts, if the data have them.

    Args:
        cell: what the column of the answers has.
        start: what a column of its own has of where they start.

    Raises: DataError.
    """
    value = _parsed(cell)
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
    elif isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        texts = [one.get("text") for one in value]
        starts = [one.get("answer_start", one.get("start")) for one in value]
        starts = None if all(one is None for one in starts) else starts
    else:
        texts, starts = value, _starts(start)
    starts = [] if starts is None or starts == "" else list(starts) if isinstance(starts, list | tuple) else [starts]
    return texts, [whole(one) for one in starts]


def placed(context: Any, text: Any, start: Any) -> tuple[Any, Any, bool]:
    """An answer, its start, and whether that missed by blanks alone and was put right.

    Raises DataError unless the answer is there.
    """
    if not isinstance(context, str) or not isinstance(text, str):
        return text, start, False  # the check of the columns reports it
    if type(start) is int and start >= 0:
        if context[start : start + len(text)] == text:
            return text, start, False
        core = text.strip()
        for at in range(max(start - _NEAR, 0), start + _NEAR + 1) if core else ():
            between = context[min(at, start) : max(at, start)]
            if context[at : at + len(core)] == core and not between.strip():
                return core, at, True
    read = context[start : start + SHOWN] if type(start) is int and start >= 0 else ""
    raise DataError(f"answer_start {start}: the context reads {read!r} there, not {text[:SHOWN]!r}")


def nearest(context: str, text: str, start: Any) -> int:
    """Where an answer is in a context, nearest to where it was said to be; -1 where it is not in it."""
    near = start if type(start) is int else 0
    places = [found.start() for found in re.finditer(f"(?={re.escape(text)})", context)] if text else []
    return min(places, key=lambda place: abs(place - near), default=-1)


def _parsed(cell: Any) -> Any:
    """The list or the dict that a text is the writing of; else the value itself.

    A text like `[1]` or `[sic]` is itself: answers are texts, or dicts with them. Raises DataError.
    """
    if not isinstance(cell, str) or cell.lstrip()[:1] not in ("[", "{"):
        return cell
    try:
        value = parse_cell(cell)
    except ValueError as error:
        if "answer_start" in cell:
            raise DataError(f"the answers {cell[:SHOWN]!r}: the cell {error}") from error
        return cell
    if isinstance(value, Mapping):
        return value if "text" in value else cell
    return value if all(isinstance(one, str | Mapping) for one in value) else cell


def _starts(cell: Any) -> Any:
    """The numbers in a cell, or its number."""
    try:
        return parse_cell(cell) if isinstance(cell, str) and cell.lstrip().startswith("[") else cell
    except ValueError:
        return cell
