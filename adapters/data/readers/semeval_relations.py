"""SemEval-2010 task 8's blocks: a number and a quoted text with `<e1>` and `<e2>`, the relation, and a comment.

    7	"The <e1>child</e1> slept in the <e2>cradle</e2>."
    Content-Container(e1,e2)
    Comment: none

Columns: `id`, `text` and `relation`. The comment is left out; a blank line ends a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.core.errors import Faults
from adapters.data.rows import FileSource, Line, Row, lines, with_a_row

EXTENSIONS: tuple[str, ...] = ()
FILES = "SemEval-2010 task 8's blocks of a numbered text with <e1> and <e2>, and its relation"

_TEXT = re.compile(r'(\d+)[ \t]+"(.*)"[ \t]*')
_OPENS = re.compile(r'\s*\d+[ \t]+".*<e[12]>.*"[ \t]*\r?\n\S+[ \t]*\r?\n')
_FORM = 'A block is a line NUMBER, a tab and "TEXT", a line with the relation, and perhaps a line Comment: …'


def recognises(path: Path, head: str) -> bool:
    """Whether it begins with such a block."""
    return bool(_OPENS.match(head))


def open(path: Path, encoding: str) -> BlockSource:
    """Check that there is a block. Raises DataError."""
    source = BlockSource(path=path, encoding=encoding, columns=["id", "text", "relation"])
    return with_a_row(source, f"the file contains no example. {_FORM}")


@dataclass(frozen=True, kw_only=True)
class BlockSource(FileSource):
    """Blocks of two or three lines."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per block."""
        block: list[Line] = []
        for line in lines(self.path, self.encoding, faults):
            if line.content.strip():
                block.append(line)
            elif block:
                yield from self._row(block, faults)
                block = []
        if block:
            yield from self._row(block, faults)

    def _row(self, block: list[Line], faults: Faults) -> Iterator[Row]:
        """The row of a block; none, and a fault, where it is none."""
        if not all(line.sound for line in block):
            return
        where = f"{self.path}:{block[0].number}"
        found = _TEXT.fullmatch(block[0].content)
        if found is None:
            faults.add(where, f"not a number and a quoted text: {block[0].content[:60]!r}", _FORM)
        elif len(block) < 2 or len(block[1].content.split()) != 1:
            faults.add(where, f"text {found[1]} has no relation on the next line", _FORM)
        elif len(block) > 3 or (len(block) == 3 and not block[2].content.startswith("Comment")):
            extra = block[3] if len(block) > 3 else block[2]
            faults.add(f"{self.path}:{extra.number}", "a line that belongs to no block", _FORM)
        else:
            values = {"id": found[1], "text": found[2], "relation": block[1].content.strip()}
            yield Row(self.name, block[0].number, 0, values)
