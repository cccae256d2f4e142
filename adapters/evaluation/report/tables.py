"""One table for three readers: columns that say how a row is shown, for the terminal, for Markdown and for a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.core.progress import duration
from adapters.evaluation.report.svg import amount

Row = Mapping[str, Any]
SHORT = 14
"""Characters up to which a text of a page's table stays on one line."""
GAP = 2
"""Blanks between two columns of a terminal's table."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        title: as printed.
        shown: text of a row's cell.
        key: number to sort by, nan where it is missing; a column of text has none.
        wide: left out, the last one first, where a terminal is too narrow for all.
        folds: whether its text continues on further lines in a narrow terminal.
        about: id of the page's paragraph about it, without `how-`.
        drawn: HTML that a page shows below a cell's text.
        scale: first and last value of the axis of what is drawn.
    """

    title: str
    shown: Callable[[Row], str]
    key: Callable[[Row], float] | None = None
    wide: bool = False
    folds: bool = False
    about: str = ""
    drawn: Callable[[Row], str] | None = None
    scale: tuple[str, str] | None = None


def points(value: float) -> str:
    """A share as people write scores: in percent, with one decimal."""
    return f"{round(100 * value, 1) + 0.0:.1f}"  # and no negative zero


def short_name(base: str | None) -> str:
    """The last part of a base's Hub id or path; empty without one."""
    return (base or "").rpartition("/")[2]


def interval(low: float | None, high: float | None) -> str:
    """An interval of shares, in percent, as short as it can be read; a dash where it is not known."""
    if low is None or high is None:
        return "–"
    ends = [points(end).replace("-", "−") for end in (low, high)]
    return (" to " if ends[0].startswith("−") else "–").join(ends)


def cost(key: str, row: Row) -> str:
    """What a row costs, as tables and sentences say it; a dash where it was not measured.

    Args:
        key: of the row: a number of bytes, `train_seconds` or `latency_p50_ms`.
        row: of a comparison.
    """
    value = row[key]
    if value is None:
        return "–"
    if key.endswith("bytes"):
        return amount(value, "B")
    if key == "train_seconds":
        return duration(value) if row["trainable_params"] else "none"
    return f"{amount(value)} ms" if value < 1000 else f"{amount(value / 1000)} s"


def number_column(title: str, name: str, form: str, scale: float = 1.0) -> Column:
    """A column of a number that a row holds under a name; `–` where it is None.

    Args:
        title: as printed.
        name: key of the row.
        form: format of the number.
        scale: factor of the number.
    """

    def value(row: Row) -> float:
        return math.nan if row[name] is None else float(row[name]) * scale

    return Column(title=title, shown=lambda row: "–" if row[name] is None else format(value(row), form), key=value)


def rich_table(
    columns: Sequence[Column], rows: Sequence[Row], *, width: int | None, among: Sequence[Row] | None = None
) -> Table:
    """A table for a terminal of that width (None: for a file).

    Where it does not fit, titles are folded first, and then wide columns left out.

    Args:
        columns: of the table.
        rows: of the table.
        width: of the terminal.
        among: rows of several tables whose columns are to be equally wide; None: those of this one.
    """
    chosen, all_rows = list(columns), rows if among is None else among
    widths = [_width(column, all_rows) for column in chosen]
    if width is not None and _total(widths) > width:
        widths = [_width(column, all_rows, folded=True) for column in chosen]
        while _total(widths) > width and any(column.wide for column in chosen):
            last = max(i for i, column in enumerate(chosen) if column.wide)
            del chosen[last], widths[last]
        for i, column in enumerate(chosen):
            if column.folds:  # it may have what the others leave
                most = max(cell_len(column.shown(row)) for row in all_rows)
                widths[i] += max(min(most - widths[i], width - _total(widths)), 0)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, least in zip(chosen, widths, strict=True):
        title = "\n".join(wrap(column.title, least, break_long_words=False)) or ""
        table.add_column(
            title,
            justify="right" if column.key else "left",
            no_wrap=not column.key and not column.folds,
            min_width=least,
            max_width=least if column.folds else None,
        )
    for row in rows:
        table.add_row(*(Text(column.shown(row)) for column in chosen))
    return table


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _width(column: Column, rows: Sequence[Row], *, folded: bool = False) -> int:
    """Characters of a column, with its title on one line or folded at its blanks."""
    cells = [column.shown(row) for row in rows]
    if folded:
        cells = [word for cell in cells for word in cell.split()] if column.folds else cells
        return max(map(cell_len, [*column.title.split(), *cells]), default=0)
    return max(map(cell_len, [column.title, *cells]), default=0)


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    narrow: Sequence[Column] | None = None,
    among: Sequence[Row] | None = None,
) -> None:
    """Print a table: in a terminal as wide as that allows, in a file as wide as it needs.

    Args:
        columns: of the table.
        rows: of the table.
        narrow: the columns for a terminal in which those do not fit; None: the same.
        among: as of `rich_table`; all of them decide whether the columns fit.
    """
    terminal = Console()
    width = terminal.width if terminal.is_terminal else None
    if narrow is not None and width is not None:
        fits = _natural_width(rich_table(columns, rows if among is None else among, width=width)) <= width
        columns = columns if fits else narrow
    table = rich_table(columns, rows, width=width, among=among)
    Console(highlight=False, width=width or _natural_width(table)).print(table)


def _natural_width(table: Table) -> int:
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


def html_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    sortable: bool = True,
    group: Callable[[Row], str] | None = None,
    cards: bool = False,
) -> str:
    """A table of a page, or of a notebook, which has neither its script nor its style.

    Args:
        columns: of the table; the first one names the row.
        rows: of the table; those of a group follow one another.
        sortable: whether a click on a title sorts the rows of each group, and drawings are shown.
        group: words above rows that have them in common.
        cards: whether each row becomes a card on a phone.
    """
    head = "".join(_html_head(column, sortable) for column in columns)
    short = [max((len(column.shown(row)) for row in rows), default=0) <= SHORT for column in columns]
    bodies = []
    for words, own in groupby(rows, group or (lambda row: "")):
        over = f'<tr class="group"><th scope="rowgroup" colspan="{len(columns)}">{escape(words)}</th></tr>'
        lines = "".join(_html_row(columns, row, short, drawn=sortable) for row in own)
        bodies.append(f"<tbody>{over if words else ''}{lines}</tbody>")
    kinds = " ".join(kind for kind, holds in (("sortable", sortable), ("cards", cards)) if holds)
    table = f'<table class="{kinds}">' if kinds else "<table>"
    return f'<div class="scroll" tabindex="0">{table}<thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>'


def _html_head(column: Column, sortable: bool) -> str:
    title = escape(column.title)
    parts = [f"<button>{title}</button>" if sortable else title]
    if column.about and sortable:
        parts.append(f' <a class="how" href="#how-{column.about}" aria-label="How it is made: {title}">?</a>')
    if column.scale and sortable:
        parts.append(f'<span class="scale" aria-hidden="true"><i>{column.scale[0]}</i><i>{column.scale[1]}</i></span>')
    return f'<th class="{"n" if column.key and not column.drawn else ""}" scope="col">{"".join(parts)}</th>'


def _html_row(columns: Sequence[Column], row: Row, short: Sequence[bool], *, drawn: bool) -> str:
    """A row, whose first cell names it. `short`: which columns have no long text."""
    name, *others = columns
    cells = "".join(
        _html_cell(column, row, short=one, drawn=drawn) for column, one in zip(others, short[1:], strict=True)
    )
    first = '<th class="short" scope="row">' if short[0] else '<th scope="row">'
    return f"<tr>{first}{escape(name.shown(row))}</th>{cells}</tr>"


def _html_cell(column: Column, row: Row, *, short: bool, drawn: bool) -> str:
    """A cell with the number to sort by; a missing one sorts below all."""
    text, label = escape(column.shown(row)), f' data-label="{escape(column.title)}"'
    number = column.key is not None and not (column.drawn and drawn)
    known = (("n", number), ("short", short and not number), (f"of-{column.about}", column.about and drawn))
    kinds = " ".join(kind for kind, holds in known if holds)
    attributes = (f' class="{kinds}"' if kinds else "") + (label if drawn else "")
    if column.key is None:
        return f"<td{attributes}>{text}</td>"
    key = column.key(row)
    picture = column.drawn(row) if column.drawn and drawn else ""
    return f'<td{attributes} data-key="{"" if math.isnan(key) else repr(key)}">{text}{picture}</td>'
