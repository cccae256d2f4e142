"""tasks.html and tasks.md, and the tables of comparisons over several data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from adapters.evaluation.report import critical_difference, html
from adapters.evaluation.report.tables import (
    Column,
    html_table,
    interval,
    markdown_table,
    markdown_text,
    number_column,
    points,
    short_name,
)
from adapters.experiments.comparison.across_summary import TEST_NOTE

CAPTION = "Average ranks over the data sets; 1 is the best"
JOINED = "A bar joins methods whose average ranks differ by less than Nemenyi's critical difference (p ≥ 0.05)."


def picture(summary: Mapping[str, Any]) -> str:
    """The diagram of average ranks as SVG; empty where nothing is ranked."""
    methods = summary["methods"]
    if not methods:
        return ""
    names, mean_ranks = [one["name"] for one in methods], [one["average_rank"] for one in methods]
    return critical_difference.picture(names, mean_ranks, summary["critical_difference"], summary["groups"])


def rank_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of `summary["methods"]`: the average rank, and that on each data set."""
    by_set = [
        Column(title=one["name"], shown=_shown_rank(number), key=_rank(number), wide=True)
        for number, one in enumerate(summary["data_sets"])
    ]
    name = Column(title="method", shown=lambda row: row["name"])
    return [name, number_column("average rank", "average_rank", ".2f"), *by_set]


def _rank(number: int) -> Any:
    return lambda row: row["ranks"][number]


def _shown_rank(number: int) -> Any:
    return lambda row: f"{row['ranks'][number]:g}"


def pair_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of `summary["pairs"]`."""
    methods = summary["methods"]
    return [
        Column(title="pair", shown=lambda pair: " − ".join(methods[i]["name"] for i in pair["methods"])),
        number_column("higher on", "wins", ".0f"),
        number_column("lower on", "losses", ".0f"),
        number_column("p", "p", ".4f"),
        number_column("Holm-adjusted p", "p_holm", ".4f"),
        Column(title="result", shown=lambda pair: "significant" if pair["differs"] else "no significant difference"),
    ]


def set_columns(title: str) -> list[Column]:
    """The columns of a data set's rows. `title`: its main score in words."""
    return [
        Column(title="method", shown=lambda row: row["method"]),
        Column(title="base", shown=lambda row: ", ".join(filter(None, (short_name(row["base"]), row["size"])))),
        Column(title=title, shown=lambda row: points(row["value"]), key=lambda row: row["value"]),
        Column(title="95 % interval", shown=lambda row: interval(row["low"], row["high"])),
        Column(title="seeds", shown=lambda row: f"{len(row['seeds'])}{' (incomplete)' if row['incomplete'] else ''}"),
        number_column("rank", "rank", "g"),
    ]


def about(one: Mapping[str, Any]) -> str:
    """A data set's task, data, split and score in words."""
    data = one["dataset"]
    return f"{one['task']} on {short_name(data['name'])}, {data['split']}, n = {data['n']:,}; score: {one['title']}"


def page(
    summary: Mapping[str, Any], failures: Sequence[tuple[str, str]], folder: Path, repeat: Mapping[str, Any]
) -> str:
    """The page.

    Args:
        summary: of `across_summary.summarise`.
        failures: (data set, reason) of each comparison that failed.
        folder: of the page; the data sets' pages are linked from there.
        repeat: what it takes to repeat it.
    """
    title = f"The same methods over {len(summary['data_sets'])} data sets"
    parts = [f"<h1>{escape(title)}</h1>", html.verdict(summary["verdict"]), html.failed(failures, "comparisons")]
    if summary["methods"]:
        parts += [f'<div style="max-width:720px;margin-top:16px">{html.figure(CAPTION, picture(summary))}</div>']
        parts += [f'<p class="dim">{escape(JOINED)}</p>'] if summary["groups"] else []
        parts += ["<h2>Ranks</h2>", html_table(rank_columns(summary), summary["methods"])]
    if summary["pairs"]:
        parts += ["<h2>All pairs</h2>", html_table(pair_columns(summary), summary["pairs"])]
        parts += [f'<p class="dim">{escape(TEST_NOTE)}</p>']
    for one in summary["data_sets"]:
        link = os.path.relpath(Path(one["folder"]) / "comparison.html", folder)
        parts += [
            f'<h2><a href="{escape(Path(link).as_posix())}">{escape(one["name"])}</a></h2>',
            f'<p class="dim">{escape(about(one))}</p>',
            html_table(set_columns(one["title"]), one["rows"]),
        ]
    return html.document(title, [*parts, html.how_to_repeat(repeat)])


def markdown(summary: Mapping[str, Any], failures: Sequence[tuple[str, str]]) -> str:
    """tasks.md: the sentences, the ranks, the pairs, a table for each data set."""
    lines = [f"# The same methods over {len(summary['data_sets'])} data sets", ""]
    lines += [f"{markdown_text(line)}\n" for line in summary["verdict"]]
    lines += [f"**{markdown_text(name)} failed:** {markdown_text(why)}\n" for name, why in failures]
    if summary["methods"]:
        lines += [*markdown_table(rank_columns(summary), summary["methods"]), ""]
    if summary["pairs"]:
        lines += [*markdown_table(pair_columns(summary), summary["pairs"]), "", TEST_NOTE, ""]
    for one in summary["data_sets"]:
        lines += [f"## {markdown_text(one['name'])}", "", markdown_text(about(one)), ""]
        lines += [*markdown_table(set_columns(one["title"]), one["rows"]), ""]
    return "\n".join(lines)
