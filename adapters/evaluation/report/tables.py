"""One table for three readers: columns that say how a row is shown, for the terminal, for Markdown and for a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        title: as printed.
        shown: text of a row's cell.
        key: number to sort by, nan where it is missing; a column of text has none.
        wide: left out where only 80 columns are available.
    """

    title: str
    shown: Callable[[Row], str]
    key: Callable[[Row], float] | None = None
    wide: bool = False


def points(value: float) -> str:
    """A share as people write scores: in percent, with one decimal."""
    return f"{100 * value:.1f}"


def number_column(title: str, name: str, form: str, scale: float = 1.0, *, wide: bool = False) -> Column:
    """A column of a number that a row holds under a name; `–` where it is None.

    Args:
        title: as printed.
        name: key of the row.
        form: format of the number.
        scale: factor of the number.
        wide: see `Column`.
    """

    def value(row: Row) -> float:
        return math.nan if row[name] is None else float(row[name]) * scale

    return Column(
        title=title, shown=lambda row: "–" if row[name] is None else format(value(row), form), key=value, wide=wide
    )


def rich_table(columns: Sequence[Column], rows: Sequence[Row], *, width: int | None) -> Table:
    """A table for a terminal of that width (None: for a file); without the wide columns where all do not fit."""
    table = _rich(columns, rows)
    if width is None or natural_width(table) <= width:
        return table
    return _rich([column for column in columns if not column.wide], rows)


def _rich(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.title, justify="right" if column.key else "left", no_wrap=not column.key)
    for row in rows:
        table.add_row(*(column.shown(row) for column in columns))
    return table


def natural_width(table: Table) -> int:
    """Characters that a table takes where nothing of it is wrapped or cut."""
    return Console(width=10_000).measure(table).maximum


def markdown_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Lines of Markdown."""
    cells = ([column.shown(row) for column in columns] for row in rows)
    return markdown_lines([column.title for column in columns], cells, numeric=[bool(column.key) for column in columns])


def markdown_lines(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[bool] | None = None
) -> list[str]:
    """Lines of Markdown from cells.

    Args:
        titles: of the columns.
        rows: cells of each row.
        numeric: which columns are aligned to the right; None: none.
    """
    aligned = numeric or [False] * len(titles)
    return [
        _piped(titles),
        "|" + "|".join("---:" if right else "---" for right in aligned) + "|",
        *map(_piped, rows),
    ]


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    """A text that ends neither a table's cell nor a line of Markdown, and begins no tag."""
    escaped = escape(" ".join(text.split()), quote=False).replace("|", "\\|")
    return escaped.replace("&lt; ", "< ")  # before a space it begins no tag


def html_table(columns: Sequence[Column], rows: Sequence[Row], *, sortable: bool = True) -> str:
    """A table of a page, sortable by each column; or of a notebook, which has no script to sort it."""
    titles = ((column, escape(column.title)) for column in columns)
    head = "".join(
        f'<th class="{"n" if column.key else ""}" scope="col">{f"<button>{title}</button>" if sortable else title}</th>'
        for column, title in titles
    )
    body = "".join(f"<tr>{''.join(_html_cell(column, row) for column in columns)}</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _html_cell(column: Column, row: Row) -> str:
    """A cell with the number to sort by; a missing one sorts below all."""
    if column.key is None:
        return f"<td>{escape(column.shown(row))}</td>"
    key = column.key(row)
    return f'<td class="n" data-key="{"" if math.isnan(key) else repr(key)}">{escape(column.shown(row))}</td>'
