"""The output of the lab: lab.json, lab.md, lab.html, and the tables on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from adapters.core.files import write_json, write_text
from adapters.evaluation.report import html
from adapters.evaluation.report.tables import (
    Column,
    html_table,
    markdown_table,
    markdown_text,
    number_column,
    print_table,
)
from adapters.experiments.prompt_lab.plot import strip

SPREAD = tuple(number_column(name, name, ".1f", 100) for name in ("mean", "sd", "worst", "best"))
COLUMNS = (
    Column(title="prompt", shown=lambda row: row["prompt"]),
    number_column("shots", "shots", ",.0f"),
    Column(title="calibration", shown=lambda row: row["calibration"]),
    *SPREAD,
    number_column("seeds", "seeds", ",.0f"),
    number_column("shots dropped", "shots_dropped", ",.0f"),
    Column(
        title="parse failures",
        shown=lambda row: f"{row['parse_failures']:,} ({100 * row['parse_failure_share']:.1f} %)",
        key=lambda row: row["parse_failures"],
    ),
)
"""Columns of a row: a prompt with a number of shots and a calibration."""
CALIBRATION_COLUMNS = (
    Column(title="calibration", shown=lambda row: row["calibration"]),
    number_column("rows", "rows", ",.0f"),
    *SPREAD,
)
NOTE = (
    "Mean, sd (n − 1), worst and best are over the seeds, each of which draws and orders the shots. Shots dropped and "
    "parse failures count examples, summed over the seeds."
)


def save_and_print(summary: Mapping[str, Any], folder: Path, repeat: Mapping[str, Any]) -> None:
    """Write the three files into the folder, and print the tables with the verdict.

    Args:
        summary: of the lab, with its `verdict`.
        folder: of the lab.
        repeat: what it takes to repeat it: command, settings, digests.
    """
    write_json(folder / "lab.json", {**summary, **repeat})
    write_text(folder / "lab.md", markdown(summary))
    write_text(folder / "lab.html", page(summary, repeat))
    console = Console(highlight=False, markup=False)
    for table in summary["tables"]:
        console.print(f"{_title(summary, table)}\n")
        print_table(COLUMNS, table["rows"])
        console.print()
    for line in summary["verdict"]:
        console.print(line)


def _title(summary: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    data = summary["dataset"]["name"]
    return f"{summary['task']} on {data} ({table['split']}, n = {table['n']:,}), {summary['title']}: {table['title']}"


def markdown(summary: Mapping[str, Any]) -> str:
    """lab.md: verdict and tables."""
    lines = [f"# Prompts for {markdown_text(summary['task'])}, {markdown_text(summary['base'])}", ""]
    lines += [f"{markdown_text(line)}\n" for line in summary["verdict"]]
    for table in summary["tables"]:
        lines += [f"## {markdown_text(_title(summary, table))}", "", *markdown_table(COLUMNS, table["rows"]), ""]
    lines += [NOTE, "", "## By calibration", ""]
    lines += markdown_table(CALIBRATION_COLUMNS, summary["calibrations"])
    return "\n".join(lines) + "\n"


def page(summary: Mapping[str, Any], repeat: Mapping[str, Any]) -> str:
    """lab.html: one file that needs no network."""
    title = f"Prompts for {summary['task']} on {summary['dataset']['name']}, {summary['base']}"
    parts = [f"<h1>{escape(title)}</h1>", html.verdict(summary["verdict"])]
    for table in summary["tables"]:
        parts += [
            f"<h2>{escape(_title(summary, table))}</h2>",
            html_table(COLUMNS, table["rows"]),
            f'<p class="dim">{escape(NOTE)}</p>',
            html.figure("Every condition", strip(table["rows"], summary["title"], table["usual"])),
        ]
    parts += ["<h2>By calibration</h2>", html_table(CALIBRATION_COLUMNS, summary["calibrations"])]
    return html.document(title, [*parts, html.how_to_repeat(repeat)])
