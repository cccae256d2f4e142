"""JSON with the line of each element, and strict: a key that occurs twice, NaN, and half characters are faults."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.core.errors import Faults
from adapters.data.rows import lines

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD]")


def decode(text: str, start: int, end_expected: bool = False) -> tuple[Any, int, list[str]]:
    """The value at `start`, its end, and what is wrong with it."""
    problems: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            problems.append(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in one object")
        return value

    def constant(word: str) -> None:
        problems.append(f"{word} is not JSON: write null or a number")

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            problems.append(f"the number {digits[:20]} is too large")
        return value

    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_constant=constant, parse_float=number)
    try:
        value, end = decoder.raw_decode(text, skip_space(text, start))
        if end_expected and skip_space(text, end) < len(text):
            raise json.JSONDecodeError("Extra data", text, skip_space(text, end))
        if _HALF.search(text, start, end):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return None, len(text), [f"not JSON at column {error.colno}: {error.msg}"]
    except UnicodeEncodeError:
        problems.append(r"a string contains half of a character (\ud800 to \udfff without its other half)")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested lists
        return None, len(text), [f"cannot be read as JSON ({error})"]
    return value, end, problems


def skip_space(text: str, position: int) -> int:
    """The position of the next character that is not white space."""
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def elements(path: Path, encoding: str, faults: Faults) -> Iterator[tuple[int, Any, list[str]]]:
    """The elements of the document's list, each with the line at which it begins."""
    before = faults.count
    text = "".join(line.text for line in lines(path, encoding, faults))
    if faults.count > before:
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        number, place = getattr(error, "lineno", 1), f" at column {getattr(error, 'colno', 1)}"
        yield number, None, [f"not JSON{place}: {getattr(error, 'msg', error)}"]
        return
    start = _start_of_list(text)
    if start is None:
        problem = 'a list of objects is needed, or an object with one as "data"; or an object on each line'
        yield 1, None, [problem]
        return
    number, counted = 1, 0
    position = skip_space(text, start + 1)
    while text[position] != "]":
        number, counted = number + text.count("\n", counted, position), position
        value, end, problems = decode(text, position)
        yield number, value, problems
        position = skip_space(text, end)
        if text[position] == ",":
            position = skip_space(text, position + 1)


def _start_of_list(text: str) -> int | None:
    """The position at which the list of objects begins in a valid JSON document; None if it has no list."""
    position = skip_space(text, 0)
    if text[position] == "{":
        position = skip_space(text, position + 1)
        while text[position] != "}":
            key, end, _ = decode(text, position)
            position = skip_space(text, skip_space(text, end) + 1)
            if key == "data":
                break
            position = skip_space(text, decode(text, position)[1])
            if text[position] == ",":
                position = skip_space(text, position + 1)
    return position if text[position] == "[" else None
