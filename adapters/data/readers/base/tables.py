"""What tables of any container have in common: the names of their columns, and whether the first line is a header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from statistics import median

from adapters.core.errors import DataError
from adapters.core.files import digest_value
from adapters.data.rows import FileSource

SAMPLE_ROWS, SAMPLE_CELLS, MAX_JUDGED = 1000, 200_000, 1000
"""How much of a table is looked at to judge its first line: rows, cells, columns."""
USUAL_NAMES = frozenset(
    # The names of texts and of what belongs to them, then of answers, words, and the rest.
    re.findall(
        r"\w+",
        """id idx index guid uid text texts sentence sentences sentence1 sentence2 text_a text_b text_pair premise
        hypothesis question question1 question2 title content review tweet utterance document body comment message
        description query passage context prompt instruction input inputs article dialogue source
        answer answers response completion output outputs summary highlights target label labels class classes category
        categories intent sentiment topic type score scores rating stars polarity
        tag tags ner_tags pos word words token tokens entities spans
        date time timestamp name author user url lang language split""",
    )
)
"""Names, in lower case, that a header may have and that are seldom values."""

_UNNAMED = re.compile(r"(?:Unnamed: \d+(?:\.\d+)*)?")
"""No name, or the one that pandas gave to a column without one."""
_WHOLE = re.compile(r"\d+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?")
_DIGITS = re.compile(r"\d+")


class FirstLine(Enum):
    """What the first line of a table is."""

    HEADER = "header"
    DATA = "data"
    UNSURE = "unsure"
    """It could be either."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table.

    Attributes:
        names: of those that are read.
        positions: of those among all cells of a row.
        width: cells of a row.
        header: whether the first line is the header, and so no row.
        notes: what was left out, and why.
    """

    names: list[str]
    positions: list[int]
    width: int
    header: bool
    notes: list[str] = field(default_factory=list)

    @property
    def all(self) -> bool:
        """Whether every cell is read."""
        return len(self.names) == self.width


@dataclass(frozen=True, kw_only=True)
class TableSource(FileSource):
    """What sources of tables share, whose columns the user may have named."""

    header: bool
    """The first row that is not empty is the header."""
    notes: tuple[str, ...] = ()
    named: bool = False
    """The user named the columns."""

    def digest(self) -> str:
        """sha256, in hex, of the file's bytes, and of the names of columns that the user gave."""
        digest = super().digest()
        return digest_value([digest, self.columns]) if self.named else digest


def sampled(rows: Iterable[list[str]]) -> list[list[str]]:
    """The first rows of a table, fewer where they are wide."""
    found: list[list[str]] = []
    cells = 0
    for row in islice(rows, SAMPLE_ROWS):
        found.append(row)
        cells += len(row)
        if cells >= SAMPLE_CELLS:
            break
    return found


def find_columns(
    where: str,
    first: Sequence[str],
    sample: Sequence[Sequence[str]],
    every: Iterable[Sequence[str]],
    given: Sequence[str],
) -> Columns:
    """The columns of a table, from its first line and the rows after it.

    Where the user names the columns, the first line is a row, except where it has those names, or looks like a header:
    then it is none, and the names that were given replace its own.

    Args:
        where: `file:line` of the first line.
        first: its cells.
        sample: some rows after it.
        every: all rows after it; gone through only where a column has no name.
        given: names by the user (--column_names).

    Raises DataError where two columns have one name, where the first line looks like a row, or where that is unsure.
    """
    names = [cell.strip() for cell in first]
    kind, reason = judge(names, sample)
    if not given:
        if kind is FirstLine.DATA:
            raise DataError(
                f"{where}: the first line looks like data, not like the names of the columns: {reason}. Name the "
                f"columns: --column_names {','.join(_suggested(names, sample))}; or put a line with their names on top."
            )
        return _named(where, names, every)
    given = [name.strip() for name in given]
    if len(given) != len(names):
        raise DataError(
            f"{where}: --column_names has {len(given)} names ({_listed(given)}), but the first line has {len(names)} "
            f"cells ({_listed(names)}). Give a name for each."
        )
    _refuse_doubles(f"--column_names {','.join(given[:40])}:", given, "Give each column a name of its own.")
    notes = [f"the file has no header; its columns are called {_listed(given)} (--column_names)"]
    header = list(given) == names or kind is FirstLine.HEADER
    if header:
        notes = [f"the first line is a header ({_listed(names)}), whose names --column_names replaces"]
        notes = [] if list(given) == names else notes
    elif kind is FirstLine.UNSURE:
        raise DataError(
            f"{where}: the first line ({_listed(names)}) may be the header or a row. If it is the header, leave "
            f"--column_names out, or give the same names; if it is a row, put a line with the names on top of it."
        )
    return Columns(names=list(given), positions=[*range(len(given))], width=len(given), header=header, notes=notes)


def _named(where: str, names: list[str], every: Iterable[Sequence[str]]) -> Columns:
    """The columns by the names of the header; those without a name are left out where they are empty or an index."""
    advice = "Rename one of them in the header. If the first line is a row, name the columns with --column_names."
    _refuse_doubles(f"{where}:", [name for name in names if not _UNNAMED.fullmatch(name)], advice)
    unnamed = [position for position, name in enumerate(names) if _UNNAMED.fullmatch(name)]
    if not unnamed:
        return Columns(names=names, positions=[*range(len(names))], width=len(names), header=True)
    empty, index = _empty_and_index(unnamed, every, len(names))
    notes = []
    if empty:
        many = len(empty) > 1
        columns = f"{len(empty):,} columns" if many else "a column"
        notes.append(f"{columns} without a name and without values {'are' if many else 'is'} left out")
    if index is not None:
        called = f"({names[index]!r})" if names[index] else "(without a name)"
        notes.append(f"the first column {called} numbers the rows, and is left out")
    taken = set(names)
    for position in unnamed:
        if position not in empty and position != index and not names[position]:
            new = f"column_{position + 1}"
            while new in taken:
                new += "_"
            taken.add(new)
            names[position] = new
            notes.append(f"column {position + 1} has no name in the header, and is called {new}")
    left = {*empty, index}
    positions = [position for position in range(len(names)) if position not in left]
    return Columns(
        names=[names[position] for position in positions],
        positions=positions,
        width=len(names),
        header=True,
        notes=notes if len(notes) <= 10 else [*notes[:10], f"and {len(notes) - 10:,} more columns without a name"],
    )


def _empty_and_index(unnamed: Sequence[int], rows: Iterable[Sequence[str]], width: int) -> tuple[set[int], int | None]:
    """Of the columns without a name, those without values, and the first one if it numbers the rows."""
    empty = set(unnamed)
    numbers: set[str] = set()
    index = 0 in empty
    count = 0
    for count, row in enumerate(rows, 1):
        if len(row) != width:
            continue
        if empty:
            empty -= {position for position in empty if row[position].strip()}
        if index:
            index = bool(_WHOLE.fullmatch(row[0].strip())) and (count > SAMPLE_ROWS or row[0] not in numbers)
            if count <= SAMPLE_ROWS:
                numbers.add(row[0])
        if not empty and not index:
            break
    return empty, 0 if index and count and 0 not in empty else None


def _refuse_doubles(where: str, names: Sequence[str], advice: str) -> None:
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        more = f" (also twice: {_listed(doubles[1:])})" if len(doubles) > 1 else ""
        raise DataError(f"{where} two columns have the name {doubles[0]!r}{more}. {advice}")


def judge(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[FirstLine, str]:
    """Whether the first line of a table is its header, judged by the rows after it; and why it is data, if it is.

    It is data if one of its cells occurs again and again in its column; if its numbers, dates or ids have the form of
    all cells below; or if it contains a sentence above sentences. It is a header if one of its cells is a usual name of
    a column, or if its cells are the numbers that pandas gives to columns without names. Else it could be either.
    """
    if _is_count(names):
        return FirstLine.HEADER, ""
    usual = has_usual_name(names)
    rows = [row for row in rows if len(row) == len(names)]
    if usual:  # files that were put together have their header again
        rows = [row for row in rows if [*map(str.strip, row)] != [*names]]
    looked_at = {
        position: [cell for cell in (row[position].strip() for row in rows) if cell]
        for position, name in enumerate(names[:MAX_JUDGED])
        if name and not (usual and _in_count(names, position))
    }
    for position, below in looked_at.items():
        often = 1 if len(rows) <= 50 else 3
        if names[position].lower() in USUAL_NAMES:
            often = max(3, len(rows) // 20)
        times = below.count(names[position])
        if times >= often:
            more = f"{times:,} more time{'s' if times > 1 else ''}"
            return FirstLine.DATA, f"{_short(names[position])} occurs {more} in its column"
    if usual:
        return FirstLine.HEADER, ""
    for position, below in looked_at.items():
        name = names[position]
        if len(below) < 2:
            continue
        if _DIGITS.search(name) and _of_one_form([name, *below]):
            return FirstLine.DATA, f"{_short(name)} has the form of the cells below it"
        if _is_sentence(name) and not name.endswith(("?", ":")) and 5 * sum(map(_is_sentence, below)) >= 4 * len(below):
            return FirstLine.DATA, f"{_short(name)} is a text like those below it"
    return FirstLine.UNSURE, ""


def has_usual_name(names: Sequence[str]) -> bool:
    """Whether one of the names is usual for a column."""
    return any(name.strip().lower() in USUAL_NAMES for name in names)


def _is_count(names: Sequence[str]) -> bool:
    """`0, 1, 2`: what pandas calls columns without names, after the index or without one."""
    numbers = names[1:] if names and not names[0] else names
    return [*numbers] == [str(number) for number in range(len(numbers))] and len(numbers) > 0


def _in_count(names: Sequence[str], position: int) -> bool:
    """Whether a cell and one beside it are numbers in order, as the names of classes are, each with a column."""
    if not _WHOLE.fullmatch(names[position]):
        return False
    beside = {step: names[position + step] for step in (-1, 1) if 0 <= position + step < len(names)}
    return any(name == str(int(names[position]) + step) for step, name in beside.items())


def _of_one_form(cells: Sequence[str]) -> bool:
    """Whether all are numbers, or alike but for their numbers, as dates and ids are."""
    return all(map(_NUMBER.fullmatch, cells)) or len({_DIGITS.sub("9", cell) for cell in cells}) == 1


def _is_sentence(cell: str) -> bool:
    return len(cell.split()) >= 5 or (not cell.isascii() and len(cell) >= 15)


def _suggested(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for the columns: the longest is the text, the one with the fewest values the label."""
    rows = [names, *(row for row in rows if len(row) == len(names))][:SAMPLE_ROWS]
    if len(names) > 40:
        return ["label", "text", "…"]
    lengths = [median(len(row[position]) for row in rows) for position in range(len(names))]
    values = [len({row[position] for row in rows}) for position in range(len(names))]
    text = max(range(len(names)), key=lambda position: lengths[position])
    others = [position for position in range(len(names)) if position != text]
    label = min(others, key=lambda position: values[position], default=None)
    return [
        "text" if position == text else "label" if position == label else f"column_{position + 1}"
        for position in range(len(names))
    ]


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:39]}…")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(_short(name)[1:-1] for name in names[:10]) + (", …" if len(names) > 10 else "")
