"""CoNLL-style column files: a line for a token, a column for each of its labels, a blank line between sentences.

    EU       NNP  B-NP  B-ORG
    rejects  VBZ  B-VP  O

The first column has the tokens, the last one the tags. Files with the tokens in another column (CoNLL-U numbers them
in its first column) are read by the columns' numbers, counted from 0: `--text_column_name 1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.rows import HEAD, FileSource, Line, Row, lines

EXTENSIONS: tuple[str, ...] = (".conll", ".conllu", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".iobes", ".bmes")
FILES = "a word and its tag on each line, a blank line between sentences"

_BREAK = re.compile(r"\s*|-DOCSTART-(\s.*)?", re.DOTALL)
_COMMENT = "# "


def recognises(path: Path, head: str) -> bool:
    """Whether blank lines separate blocks of lines that all have the same number of columns, at least two."""
    texts = head.split("\n")
    if len(head) == HEAD:
        texts.pop()
    while texts and _BREAK.fullmatch(texts[-1]):
        texts.pop()
    breaks = [bool(_BREAK.fullmatch(text)) for text in texts]
    tokens = [text for text, is_break in zip(texts, breaks, strict=True) if not is_break and not _is_comment_like(text)]
    if not tokens or not any(breaks[breaks.index(False) :]):
        return False
    widths = {len(_split(text, tabs="\t" in tokens[0])) for text in tokens}
    return len(widths) == 1 and min(widths) >= 2


def open(path: Path, encoding: str) -> ColumnsSource:
    """Read the first token line, for the separator and the number of columns. Raises DataError."""
    faults = Faults(str(path))
    for line in lines(path, encoding, faults):
        text = line.content
        if not _BREAK.fullmatch(text) and not _is_comment_like(text):
            break
    else:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no sentence. Give a file with a token and its tag on each line.")
    tabs = "\t" in text
    width = len(_split(text, tabs))
    if width < 2:
        raise DataError(
            f"{path}:{line.number}: no tag column: the line is {text!r}. "
            "A line needs a token and its tag, separated by a tab or spaces."
        )
    columns = ["tokens", "tags", *map(str, range(width))]
    return ColumnsSource(path=path, encoding=encoding, columns=columns, tabs=tabs, width=width, first_line=line.number)


@dataclass(frozen=True, kw_only=True)
class ColumnsSource(FileSource):
    """Sentences of a column file: `tokens`, `tags` and each column under its number, lists of equal length."""

    tabs: bool
    width: int
    first_line: int

    @property
    def aliases(self) -> dict[str, str]:
        """The usual names of the first and the last column, which are numbered."""
        return {"tokens": "0", "tags": str(self.width - 1)}

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per sentence; its item k is on its line + k."""
        for block in self._blocks(faults):
            cells = [self._cells(line, faults) for line in block]
            sound = [found for found in cells if found is not None]
            if len(sound) < len(cells):
                continue
            columns = [list(column) for column in zip(*sound, strict=True)]
            values: dict[str, Any] = {"tokens": columns[0], "tags": columns[-1]}
            values |= {str(number): column for number, column in enumerate(columns)}
            yield Row(self.name, block[0].number, 1, values)

    def _blocks(self, faults: Faults) -> Iterator[list[Line]]:
        """The lines of each sentence, without the comments before its first token."""
        block: list[Line] = []
        for line in lines(self.path, self.encoding, faults):
            text = line.content
            if _BREAK.fullmatch(text):
                if block:
                    yield block
                block = []
            elif block or not _is_comment_like(text) or len(_split(text, self.tabs)) == self.width:
                block.append(line)
        if block:
            yield block

    def _cells(self, line: Line, faults: Faults) -> list[str] | None:
        """The line's cells, or None if it has a fault."""
        if not line.sound:
            return None
        text, where = line.content, f"{self.path}:{line.number}"
        if "\r" in text:
            faults.add(where, "a carriage return inside the line", r"End each line with \n or \r\n.")
            return None
        cells = _split(text, self.tabs)
        if len(cells) == self.width:
            return cells
        unit = "column" if len(cells) == 1 else "columns"
        expected = f"the file's first token line (line {self.first_line}) has {self.width}"
        advice = f"Columns are separated by {'one tab' if self.tabs else 'spaces'}, blank lines separate sentences."
        faults.add(where, f"found {len(cells)} {unit}, {expected}", advice)
        return None


def _is_comment_like(text: str) -> bool:
    """`# text = …` is a comment, but `# O` is a token: the number of columns decides."""
    return text.startswith(_COMMENT)


def _split(text: str, tabs: bool) -> list[str]:
    """The cells of a line. Only tabs or only U+0020 separate them: other white space may belong to a token."""
    return text.split("\t") if tabs else [cell for cell in text.split(" ") if cell]
