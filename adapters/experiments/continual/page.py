"""continual.html: one file that needs no network, for people who did not run the experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adapters.evaluation.report import html
from adapters.evaluation.report.tables import Column, html_table
from adapters.experiments.continual import plots
from adapters.experiments.continual.definitions import paragraphs
from adapters.experiments.continual.table import (
    TEST_NOTE,
    columns,
    cost_columns,
    entries,
    group,
    heading,
    made_of,
    matrix_columns,
    matrix_rows,
    measured_columns,
    pair_columns,
    task_columns,
    under,
)

HOW = '<a href="#how">How each number was made</a>'


def page(
    summary: Mapping[str, Any],
    verdict: Sequence[str],
    failures: Sequence[tuple[str, str]],
    repeat: Mapping[str, Any],
) -> str:
    """The page: the answer, the table of results and a picture; everything else is folded below.

    Args:
        summary: of `summary.summarise`.
        verdict: sentences.
        failures: (run, reason) of each failed run.
        repeat: what it takes to repeat it: command, settings, digests.
    """
    title, rows, found = summary["title"], summary["rows"], entries(summary)
    said = f'<p class="dim">{escape(under(summary))}</p>'
    average = f"Average {title} over the tasks learned so far"
    parts = [
        f"<h1>{escape(heading(summary))}</h1>",
        f'<p class="dim">{escape(made_of(summary))}</p>',
        html.verdict(verdict),
        html.failed(failures),
        "<h2>Results</h2>",
        html_table(columns(found, title), found, group=group, cards=True),
        f'<p class="dim">{HOW}</p>',
        html.figure(f"{average} ({summary['scenario']})", plots.averages(rows, title)),
    ]
    first, *others = summary["orders"]
    parts.append(_matrices(summary, first))
    if others:
        further = "".join(f"<h3>{escape(_order(one))}</h3>{_tables(summary, one)}" for one in others)
        parts.append(html.folded("The matrices of the other orders", [further]))
    parts.append(html.folded("Final score on each task", [said, html_table(task_columns(summary), rows)]))
    storage = plots.storage(rows, title)
    if storage is not None:
        parts.append(html.folded("Score against storage", [html.figure(f"Final average {title}, by storage", storage)]))
    measured, cost = (html_table(chosen, rows) for chosen in (measured_columns(summary), cost_columns(summary)))
    parts.append(html.folded("All scores, and cost", [said, measured, "<h3>Cost</h3>", cost]))
    if summary["tests"]:
        tests, note = html_table(pair_columns(summary), summary["tests"]), escape(TEST_NOTE)
        parts.append(html.folded("Significance tests", [said, tests, f'<p class="dim">{note}</p>']))
    parts += [_confusion(one) for one in summary["confusions"]]
    parts.append(html.how_made(paragraphs(summary)))
    return html.document(heading(summary), [*parts, html.how_to_repeat(repeat)])


def _matrices(summary: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """The matrices of an order: as pictures, over time, and as tables."""
    found, title = plots.matrices(summary, one["order_number"]), summary["title"]
    note = (
        f"{title} on each task (column) after each stage (row), in percent ({summary['scenario']}). {_order(one)}. "
        "Darker is higher, in the same colours in all pictures."
    )
    parts = [
        f'<p class="dim">{escape(note)} <a href="#how-matrix">How the matrix is made</a></p>',
        _tiles(plots.heatmaps(found, title)),
        *_over_time(plots.by_task(found, title)),
        html.folded("The same as tables", [_tables(summary, one)]),
    ]
    return html.folded("Task by task: the matrices of scores", parts)


def _order(one: Mapping[str, Any]) -> str:
    return f"Order {one['order_number']}: {', '.join(one['order'])}"


def _tables(summary: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """The matrices of an order as tables."""
    return "".join(
        f"<h4>{escape(name)}</h4>{html_table(matrix_columns(matrix), matrix_rows(matrix), sortable=False)}"
        for name, matrix in plots.matrices(summary, one["order_number"])
    )


def _over_time(pictures: Sequence[tuple[str, str]]) -> list[str]:
    return ["<h3>Each task over time</h3>", _tiles(pictures)] if pictures else []


def _tiles(pictures: Sequence[tuple[str, str]]) -> str:
    return f'<div class="plots tiles">{"".join(html.figure(*picture) for picture in pictures)}</div>'


def _confusion(one: Mapping[str, Any]) -> str:
    """Which task's examples were sent where, as a table of counts."""
    sent = one["confusion"]
    to = list(dict.fromkeys(found for row in sent.values() for found in row))

    def count(name: str) -> Column:
        return Column(
            title=name,
            shown=lambda row: f"{sent[row['name']].get(name, 0):,}",
            key=lambda row: float(sent[row["name"]].get(name, 0)),
        )

    shown = [Column(title="Task of the example", shown=lambda row: row["name"]), *map(count, to)]
    note = '<p class="dim">Columns: the task that the router chose, for the test examples of the first run.</p>'
    return html.folded(f"Routing of {one['name']}", [html_table(shown, [{"name": task} for task in sent]), note])
