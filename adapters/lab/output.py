"""What the lab leaves: lab.json, lab.md, lab.html, and the table on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adapters.comparison.page import document
from adapters.comparison.table import natural_width
from adapters.comparison.verdict import points
from adapters.files import write_json, write_text
from adapters.lab.plot import strip

TEXTS = ("prompt", "calibration")
CALIBRATIONS = ("calibration", "rows", "mean", "sd", "worst", "best")
COLUMNS = {
    "prompt": "prompt", "shots": "shots", "calibration": "calibration", "mean": "mean", "sd": "sd", "worst": "worst",
    "best": "best", "orders": "orders", "shots_dropped": "shots dropped", "unreadable": "unreadable",
}  # fmt: skip
"""Columns of the table, in order: key of a row, and title."""
NOTE = ("Mean, sd (n − 1), worst and best are over the orders: draws of the shots and of their order by seed. "
        "Shots dropped and unreadable count examples, summed over the orders.")  # fmt: skip


def save_and_print(summary: Mapping[str, Any], folder: Path, repeat: Mapping[str, Any]) -> None:
    """Write the three files into the folder, and print the tables with the verdict.

    Args:
        summary: of the lab, with its `verdict`.
        folder: of the lab.
        repeat: what it takes to do it again: command, settings, digests.
    """
    write_json(folder / "lab.json", {**summary, **repeat})
    write_text(folder / "lab.md", markdown(summary))
    write_text(folder / "lab.html", page(summary, repeat))
    console = Console(highlight=False, markup=False)
    for table in summary["tables"]:
        shown = _rich(table["rows"])
        console.print(f"{_title(summary, table)}\n")
        width = None if console.is_terminal else natural_width(shown)
        Console(highlight=False, markup=False, width=width).print(shown)
        console.print()
    for line in summary["verdict"]:
        console.print(line)


def cell(row: Mapping[str, Any], key: str) -> str:
    """A value as people read it: scores in points."""
    value = row[key]
    if value is None:
        return "–"
    return points(value) if isinstance(value, float) else str(value)


def _title(summary: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    data = summary["dataset"]["name"]
    return f"{summary['task']} on {data} ({table['split']}, n = {table['n']:,}), {summary['score']}: {table['title']}"


def _rich(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for key, title in COLUMNS.items():
        table.add_column(title, justify="left" if key in TEXTS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(cell(row, key) for key in COLUMNS))
    return table


def markdown(summary: Mapping[str, Any]) -> str:
    """lab.md: verdict and tables."""
    lines = [f"# Prompts for {_safe(summary['task'])}, {_safe(summary['base'])}", ""]
    lines += [f"{_safe(line)}\n" for line in summary["verdict"]]
    for table in summary["tables"]:
        lines += [f"## {_safe(_title(summary, table))}", "", *_piped(COLUMNS, table["rows"]), ""]
    lines += [NOTE, "", "## By calibration", ""]
    lines += _piped({name: name for name in CALIBRATIONS}, summary["calibrations"])
    return "\n".join(lines) + "\n"


def _piped(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "| " + " | ".join(columns.values()) + " |",
        "|" + "|".join("---" if key in TEXTS else "---:" for key in columns) + "|",
        *("| " + " | ".join(_safe(cell(row, key)) for key in columns) + " |" for row in rows),
    ]


def _safe(text: str) -> str:
    """A text that neither ends a cell nor a line of Markdown, nor begins a tag."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def page(summary: Mapping[str, Any], repeat: Mapping[str, Any]) -> str:
    """lab.html: one file that needs no network."""
    title = f"Prompts for {summary['task']} on {summary['dataset']['name']}, {summary['base']}"
    parts = [f"<h1>{escape(title)}</h1>", '<div class="verdict">',
             *(f"<p>{escape(line)}</p>" for line in summary["verdict"]), "</div>"]  # fmt: skip
    for table in summary["tables"]:
        parts += [
            f"<h2>{escape(_title(summary, table))}</h2>",
            _html(COLUMNS, table["rows"]),
            f'<p class="dim">{escape(NOTE)}</p>',
            f"<figure><figcaption>Every draw</figcaption>{strip(table['rows'], summary['score'], table['usual'])}"
            "</figure>",
        ]
    parts += ["<h2>By calibration</h2>", _html({name: name for name in CALIBRATIONS}, summary["calibrations"])]
    parts += ["<h2>To repeat it</h2>", f"<pre>{escape(json.dumps(repeat, indent=1, ensure_ascii=False))}</pre>"]
    return document(title, parts)


def _html(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f'<th class="{"" if key in TEXTS else "n"}" scope="col"><button>{escape(title)}</button></th>'
                   for key, title in columns.items())  # fmt: skip
    body = ""
    for row in rows:
        cells = ""
        for key in columns:
            number = "" if row[key] is None else repr(row[key])
            kind = "" if key in TEXTS else f' class="n" data-key="{number}"'
            cells += f"<td{kind}>{escape(cell(row, key))}</td>"
        body += f"<tr>{cells}</tr>"
    return (f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            "</div>")  # fmt: skip
