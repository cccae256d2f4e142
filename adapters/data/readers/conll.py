"""CoNLL-style column files: a line for a token, a column for each of its labels, a blank line between sentences.

    EU       NNP  B-NP  B-ORG
    rejects  VBZ  B-VP  O

Which column has the words and which the tags is found by what the columns contain (`base.column_layout`); usually they
are the first and the last one. Columns are also known by number, from 0, and by the names in a header. Where the file
begins with a line that begins a document (`-DOCSTART-`), sentences know theirs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.columns import DOCUMENTS, NUMBERED
from adapters.data.readers.base.column_layout import (
    NO_WORD,
    SAMPLED_LINES,
    ColumnLayout,
    by_header,
    find_layout,
    is_header,
    only_known,
)
from adapters.data.row_views import RowOfLines
from adapters.data.rows import HEAD, FileSource, Line, Row, lines, plain_name
from adapters.data.tag_spellings import PREFIX, SUFFIX, is_tag, kind_of_tags

EXTENSIONS: tuple[str, ...] = (".conll", ".conllu", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".iobes", ".bmes")
FILES = "a word and its tag on each line, a blank line between sentences"

_BREAK = re.compile(r"\s*|(\S+\s+)?-DOCSTART-(\s.*)?|#\s*(begin|end) document\b.*", re.DOTALL)
_DOCUMENT = re.compile(
    r"(?:\S+\s+)?(-DOCSTART-)(?:\s.*)?|#\s*(begin document)\b.*|#\s*(newdoc)\b(?:\s+id\s*=\s*(?P<id>.*))?\s*",
    re.DOTALL,
)
"""A line that begins a document: of CoNLL-2003, of OntoNotes, of CoNLL-U, where it may be named."""
_COMMENT = re.compile(r"#+(\s.*)?|##.*|#\s*[\w.]+\s*=.*", re.DOTALL)


def recognises(path: Path, head: str) -> bool:
    """Whether blank lines separate blocks of lines that all have the same number of columns, at least two."""
    return _columns_of(head, breaks_needed=True) is not None


def claims(path: Path, head: str) -> bool:
    """Whether a file with the extension of a table (`.tsv`) is a column file: no header, or one of words and tags.

    A head without a blank line is that of a long sentence, if the file goes on.
    """
    lines_of_cells = _columns_of(head, breaks_needed=len(head) < HEAD)
    if lines_of_cells is None or plain_name(path).endswith(EXTENSIONS):
        return False
    first, *others = lines_of_cells
    broken = "\n\n" in head.replace("\r", "")
    if len(others) < (1 if broken else _MANY):
        return False
    columns = [(name, kind_of_tags(cells), {*cells}) for name, *cells in zip(first, *others, strict=True)]
    tags = [(name, seen) for name, kind, seen in columns if kind in (PREFIX, SUFFIX)]
    tags = tags or [(name, seen) for name, kind, seen in columns if kind and not seen.isdisjoint("Oo")]
    if is_header(first) or not all(name in seen or is_tag(name) for name, seen in tags):
        return bool(tags) and broken and is_header(first) and only_known(first)
    return bool(tags)


def _columns_of(head: str, *, breaks_needed: bool) -> list[list[str]] | None:
    """The cells of the tokens in the beginning of a file, or None if their numbers differ."""
    texts = [text.removesuffix("\r") for text in head.split("\n")]
    if len(head) == HEAD:
        texts.pop()
    while texts and _BREAK.fullmatch(texts[-1]):
        texts.pop()
    breaks = [bool(_BREAK.fullmatch(text)) for text in texts]
    tokens = [text for text, is_break in zip(texts, breaks, strict=True) if not is_break and not _COMMENT.match(text)]
    if not tokens or (breaks_needed and not any(breaks[breaks.index(False) :])):
        return None
    separator = _separator(tokens[0])
    cells = [_split(text, separator) for text in tokens]
    return cells if len({len(line) for line in cells}) == 1 and len(cells[0]) >= 2 else None


def open(path: Path, encoding: str) -> ColumnsSource:
    """Read the beginning, for the separator and the columns. Raises DataError."""
    faults, mark = Faults(str(path)), ""
    for first in lines(path, encoding, faults):
        if not _BREAK.fullmatch(first.content) and not _COMMENT.fullmatch(first.content):
            break
        if begins := _DOCUMENT.fullmatch(first.content):
            mark = begins[1] or begins[2] or begins[3]
    else:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no sentence. Give a file with a token and its tag on each line.")
    separator = _separator(first.content)
    cells = _split(first.content, separator)
    width = len(cells)
    if width < 2:
        raise DataError(
            f"{path}:{first.number}: no tag column: the line is {first.content!r}. "
            "A line needs a token and its tag, separated by a tab or spaces."
        )
    header = cells if is_header(cells) else None
    sample = _sample(path, encoding, separator, width, skipped=first.number if header else 0)
    if len(sample) == 1 and len(sample[0]) > _LONG_SENTENCE and not plain_name(path).endswith(EXTENSIONS):
        _check_blank_lines(path, encoding, first.number)
    layout = find_layout(sample, width)
    layout = by_header(layout, header) if header else layout
    numbers = [str(number) for number in range(width)]
    names = header if header and len({*header, *numbers}) == 2 * width and "" not in header else numbers
    aliases = dict(zip(numbers, names, strict=True)) if names is not numbers else {}
    aliases |= {
        name: names[number] for name, number in (("tokens", layout.words), ("tags", layout.tags)) if name not in names
    }
    columns = [*(name for name in ("tokens", "tags") if name in aliases), *names, *(numbers if header else ())]
    mark = "" if {mark, DOCUMENTS[0]} & {*columns} else mark
    if mark:  # before the first sentence, so that each has a document
        aliases[DOCUMENTS[0]] = mark
    return ColumnsSource(
        path=path,
        encoding=encoding,
        columns=[*columns, *((DOCUMENTS[0], mark) if mark else ())],
        separator=separator,
        width=width,
        first_line=first.number,
        header=header is not None,
        layout=layout,
        names=names,
        aliases=aliases,
        mark=mark,
    )


_MANY = 20
"""Words that a head without a blank line must have, at least."""
_LONG_SENTENCE = 1000
"""Words of a file without a blank line that may still be one sentence."""


def _check_blank_lines(path: Path, encoding: str, first: int) -> None:
    """Raises DataError where no blank line is between the first token and the last."""
    blank = last = 0
    for line in lines(path, encoding, Faults(str(path))):
        if not _BREAK.fullmatch(line.content):
            last = line.number
        elif line.number > first and not blank:
            blank = line.number
    if not 0 < blank < last:
        raise DataError(
            f"{path}: a word on each line, and no blank line from the first to the last ({last:,}), so its sentences "
            "are unknown. Separate them by blank lines, or give a table with a column that numbers them."
        )


def _sample(path: Path, encoding: str, separator: str, width: int, skipped: int) -> list[list[list[str]]]:
    """The cells of the first sentences, of lines with all columns."""
    sentences: list[list[list[str]]] = [[]]
    count = 0
    for line in lines(path, encoding, Faults(str(path))):
        text = line.content
        if _BREAK.fullmatch(text):
            if sentences[-1]:
                sentences.append([])
        elif line.sound and line.number != skipped and not _COMMENT.fullmatch(text):
            cells = _split(text, separator)
            if len(cells) == width:
                sentences[-1].append(cells)
                count += 1
        if count == SAMPLED_LINES:
            break
    return [sentence for sentence in sentences if sentence]


@dataclass(frozen=True, kw_only=True)
class ColumnsSource(FileSource):
    """Sentences of a column file: each column under its number or name, lists of equal length.

    `tokens` and `tags` are second names of the columns that seem to be these.
    """

    separator: str
    width: int
    first_line: int
    header: bool
    layout: ColumnLayout
    names: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""
    """What begins the lines that begin documents, and their column's name; empty where documents are not known."""

    @property
    def other_tags(self) -> dict[str, str]:
        """Columns of tags that were not chosen, each with what it has tags of."""
        return {
            self.names[number]: "phrases" if number in self.layout.phrases else "another kind"
            for number in self.layout.other_tags
        }

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per sentence, which knows the line of each item."""
        for document, block in self._blocks(faults):
            cells = [self._cells(line, faults) for line in block]
            sound = [found for found in cells if found is not None]
            if len(sound) < len(cells):
                continue
            numbers, kept = [line.number for line in block], sound
            if (index := self.layout.index) is not None:
                kept = [found for found in sound if not NO_WORD.fullmatch(found[index])]
                if len(kept) < len(sound):
                    faults.note("lines of CoNLL-U's ranges and empty words left out", len(sound) - len(kept))
                    pairs = zip(numbers, sound, strict=True)
                    numbers = [number for number, found in pairs if not NO_WORD.fullmatch(found[index])]
                    if not kept:
                        continue
            columns = [list(column) for column in zip(*kept, strict=True)]
            values: dict[str, Any] = {str(number): column for number, column in enumerate(columns)}
            values |= dict(zip(self.names, columns, strict=True))
            values |= {self.mark: document} if self.mark else {}
            values |= {name: values[first] for name, first in self.aliases.items()}
            if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
                yield Row(self.name, numbers[0], 1, values)
            else:
                yield RowOfLines(self.name, values, tuple(numbers))

    def _blocks(self, faults: Faults) -> Iterator[tuple[str, list[Line]]]:
        """The document and the lines of each sentence, without the comments before its first token.

        Where words are numbered, a number that begins anew begins a sentence, blank line or not. A document has the
        name in its line, else its number in the file.
        """
        block: list[Line] = []
        document, number = "", 0
        for line in lines(self.path, self.encoding, faults):
            text = line.content
            if self.header and line.number == self.first_line:
                continue
            if _BREAK.fullmatch(text):
                if block:
                    yield document, block
                block = []
                begins = _DOCUMENT.fullmatch(text) if text else None
            elif block or not _COMMENT.fullmatch(text) or self._is_token(text):
                if block and self._begins_anew(text, block[0].content):
                    faults.note("sentences begun where words are numbered anew, without a blank line")
                    yield document, block
                    block = []
                block.append(line)
                continue
            else:
                begins = _DOCUMENT.fullmatch(text)
            if begins:
                number += 1
                document = (begins["id"] or "").strip() or f"{NUMBERED}{number}"
        if block:
            yield document, block

    def _is_token(self, text: str) -> bool:
        """Whether a line that begins like a comment is a token: it has all columns, and they fit."""
        cells = _split(text, self.separator)
        return len(cells) == self.width and self.layout.is_token(cells)

    def _begins_anew(self, text: str, first: str) -> bool:
        """Whether a line has the number of the first word of a sentence, which has begun before it."""
        index = self.layout.index
        if index is None:
            return False
        cells, firsts = _split(text, self.separator), _split(first, self.separator)
        return len(cells) == len(firsts) == self.width and cells[index] == firsts[index] in ("0", "1")

    def _cells(self, line: Line, faults: Faults) -> list[str] | None:
        """The line's cells, or None if it has a fault."""
        if not line.sound:
            return None
        text, where = line.content, f"{self.path}:{line.number}"
        if "\r" in text:
            faults.add(where, "a carriage return inside the line", r"End each line with \n or \r\n.")
            return None
        cells = _split(text, self.separator)
        if len(cells) == self.width:
            return cells
        unit = "column" if len(cells) == 1 else "columns"
        expected = f"the file's first token line (line {self.first_line}) has {self.width}"
        between = {"\t": "one tab", " ": "spaces"}.get(self.separator, repr(self.separator))
        advice = f"Columns are separated by {between}, blank lines separate sentences."
        faults.add(where, f"found {len(cells)} {unit}, {expected}", advice)
        return None


def _separator(text: str) -> str:
    """What separates the columns of a line: a tab, else spaces, else a comma or a semicolon before a tag."""
    if "\t" in text:
        return "\t"
    if len(_split(text, " ")) < 2:
        for separator in ",;":
            cells = _split(text, separator)
            if len(cells) > 1 and (is_header(cells) or any(map(is_tag, cells))):
                return separator
    return " "


def _split(text: str, separator: str) -> list[str]:
    """The cells of a line. Only tabs or only U+0020 separate them: other white space may belong to a token."""
    if separator == "\t":
        return text.split("\t")
    if separator == " ":
        return [cell for cell in text.split(" ") if cell]
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:  # a cell of more than 131072 characters
        return [text]
