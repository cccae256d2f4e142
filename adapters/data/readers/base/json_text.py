"""JSON with the line of each element, and strict: a key that occurs twice, NaN, and half characters are faults."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.core.errors import Faults
from adapters.data.rows import line_blocks

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(r"\\u[dD]")
HALF_CHARACTER = r"a string contains half of a character (\ud800 to \udfff without its other half)"
"""What is wrong with such a text."""


class Decoder:
    """Decodes values one after another, and says of each what is wrong with it."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._raw = json.JSONDecoder(
            object_pairs_hook=self._unique, parse_constant=self._constant, parse_float=self._number
        ).raw_decode

    def decode(self, text: str, start: int = 0, *, end_expected: bool = False) -> tuple[Any, int, list[str]]:
        """The value at `start`, its end, and what is wrong with it."""
        self._problems = problems = []
        try:
            value, end = self._raw(text, start if text[start : start + 1] == "{" else skip_space(text, start))
            if end_expected and end < len(text) and skip_space(text, end) < len(text):
                raise json.JSONDecodeError("Extra data", text, skip_space(text, end))
            if text.find("\\u", start, end) >= 0 and _HALF.search(text, start, end):
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            return None, len(text), [f"not JSON at column {error.colno}: {error.msg}"]
        except UnicodeEncodeError:
            problems.append(HALF_CHARACTER)
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested lists
            return None, len(text), [f"cannot be read as JSON ({error})"]
        return value, end, problems

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = Counter(key for key, _ in pairs)
            double = next(key for key, count in keys.items() if count > 1)
            self._problems.append(f"the key {double!r} occurs twice in one object")
        return value

    def _constant(self, word: str) -> None:
        self._problems.append(f"{word} is not JSON: write null or a number")

    def _number(self, digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            self._problems.append(f"the number {digits[:20]} is too large")
        return value


def decode(text: str, start: int = 0, end_expected: bool = False) -> tuple[Any, int, list[str]]:
    """The value at `start`, its end, and what is wrong with it; of many values, one `Decoder` is faster."""
    return Decoder().decode(text, start, end_expected=end_expected)


def skip_space(text: str, position: int) -> int:
    """The position of the next character that is not white space."""
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def document(path: Path, encoding: str, faults: Faults) -> str | None:
    """The text of a file that is one JSON document; None where it has a fault."""
    before = faults.count
    text = "".join(block for _, texts, _ in line_blocks(path, encoding, faults) for block in texts)
    if faults.count > before:
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" at column {getattr(error, 'colno', 1)}"
        faults.add(f"{path}:{getattr(error, 'lineno', 1)}", f"not JSON{place}: {getattr(error, 'msg', error)}")
        return None
    return text


def elements(text: str) -> Iterator[tuple[int, Any, list[str]]]:
    """The elements of a valid document's list, each with the line at which it begins, and what is wrong with it."""
    start = _start_of_list(text)
    if start is None:
        return
    number, counted, decoder = 1, 0, Decoder()
    position = skip_space(text, start + 1)
    while text[position] != "]":
        number, counted = number + text.count("\n", counted, position), position
        value, end, problems = decoder.decode(text, position)
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
