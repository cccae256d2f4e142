"""Lists and dicts that were written into a cell of a table: as JSON, as Python shows them, or as NumPy does.

    ["a", "b"]   ['a', 'b']   ['a' 'b']   {'text': array(['a'], dtype=object), 'answer_start': array([0])}

They are parsed, never evaluated. In NumPy's form no commas are between items, which Python would read as one text.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>(?:'(?:[^'\\]|\\.)*')|(?:"(?:[^"\\]|\\.)*"))
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<dots>\.\.\.)
    |(?P<word>[A-Za-z_]\w*(?:\.\w+)*)
    |(?P<mark>[][(){},:=<>])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {
    "None": None,
    "null": None,
    "nan": None,
    "NaN": None,
    "True": True,
    "true": True,
    "False": False,
    "false": False,
}
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def parse_cell(cell: str) -> Any:
    """The list or the dict in a cell; tuples and arrays are lists, nan is None.

    Raises ValueError, in words that follow "the cell …", where it is none.
    """
    text = cell.strip()
    if text[:1] not in _CLOSING and not text.startswith("array("):
        raise ValueError("is no list")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = _Parser(text).whole()
    if not isinstance(value, list | dict):
        raise ValueError("is no list")
    return value


def whole(value: Any) -> Any:
    """A whole number that a table wrote as a text or with a decimal point; another value as it is."""
    if isinstance(value, str) and len(value) < 20 and value.strip().removesuffix(".0").removeprefix("-").isdecimal():
        return int(value.strip().removesuffix(".0"))
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Parser:
    """Reads one value, token after token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"cannot be read as a list from character {at} on: {text[at : at + 20]!r}")
            assert found.lastgroup is not None
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at = 0

    def whole(self) -> Any:
        """The value, after which nothing may follow."""
        try:
            value = self._value()
        except RecursionError as error:
            raise ValueError("is a list in thousands of lists") from error
        if self.at < len(self.tokens):
            raise ValueError(f"goes on after its list: {self._next()[1]!r}")
        return value

    def _next(self) -> tuple[str, str]:
        if self.at == len(self.tokens):
            raise ValueError("is a list that is not closed")
        self.at += 1
        return self.tokens[self.at - 1]

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _value(self) -> Any:
        kind, token = self._next()
        if kind == "dots":
            raise ValueError("is a list that NumPy shortened by '...': items are lost. Export the data as JSON")
        if kind == "text":
            return _text(token)
        if kind == "number":
            return float(token) if re.search(r"[.eE]", token) else int(token)
        if token == "{":
            return self._dict()
        if token in ("[", "("):
            return self._items(_CLOSING[token])
        if token in _WORDS:
            return _WORDS[token]
        if kind == "word" and self._peek() == "(":  # array([…], dtype=object), np.str_('a'), np.int64(3)
            self._next()
            inner = self._items(")")
            if token.rpartition(".")[2] in ("array", "list", "tuple") or "." in token:
                return inner[0] if inner else []
        raise ValueError(f"contains {token!r}, which is neither a text nor a number")

    def _items(self, closing: str) -> list[Any]:
        """Items up to a closing bracket, with commas or white space between them; `dtype=…` is left out."""
        items: list[Any] = []
        while self._peek() != closing:
            if self._peek() == ",":
                self._next()
            elif self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][1] == "=":
                self.at += 2
                self._named()
            else:
                items.append(self._value())
        self._next()
        return items

    def _named(self) -> None:
        """Pass over the value of `dtype=`: a word, a text such as '<U5', or a call."""
        self._next()

    def _dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._peek() != "}":
            if self._peek() == ",":
                self._next()
                continue
            key = self._value()
            if self._next()[1] != ":":
                raise ValueError("is a dict without a colon after a key")
            found[str(key)] = self._value()
        self._next()
        return found


def _text(token: str) -> Any:
    """The text that a token writes in quotes. Raises ValueError where Python could not have written it."""
    try:
        return ast.literal_eval(token)
    except SyntaxError as error:  # a line break, or half of an escape
        raise ValueError(f"contains {token[:20]!r}, which is no text as Python writes it") from error
