"""comparison.html: one file that needs no network, for people who did not run the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adapters.evaluation.report import html
from adapters.evaluation.report.tables import html_table
from adapters.experiments.comparison import plots
from adapters.experiments.comparison.table import TEST_NOTE, columns, overlap_sentence, test_columns


def page(
    summary: Mapping[str, Any],
    verdict: Sequence[str],
    failures: Sequence[tuple[str, str]],
    examples: Sequence[Mapping[str, Any]],
    repeat: Mapping[str, Any],
) -> str:
    """The page.

    Args:
        summary: of `results.summarise`.
        verdict: sentences.
        failures: (run, reason) of each failed run.
        examples: on which methods disagree most: `text`, `gold`, and `answers` by row.
        repeat: what it takes to repeat it: command, settings, digests.
    """
    data, rows, score = summary["dataset"], summary["rows"], summary["title"]
    title = f"{summary['task']} on {data['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(data["split"])} split, n = {data["n"]:,}; score: {escape(score)}</p>',
        html.verdict(verdict),
        *(f'<p class="failed"><b>{escape(name)} failed:</b> {escape(why)}</p>' for name, why in failures),
        "<h2>All methods</h2>",
        html_table(columns(rows, score), rows),
        f'<p class="dim">{escape(overlap_sentence(summary))}</p>',
        "<h2>Plots</h2>",
        f'<div class="plots">{"".join(html.figure(*picture) for picture in plots.pictures(rows, score))}</div>',
    ]
    if summary["tests"]:
        parts += [
            "<h2>Significance tests</h2>",
            html_table(test_columns(summary), summary["tests"]),
            f'<p class="dim">{escape(TEST_NOTE)}</p>',
        ]
    if examples:
        parts += ["<h2>Examples with the most different answers</h2>", *map(_example, examples)]
    return html.document(title, [*parts, html.how_to_repeat(repeat)])


def _example(example: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(answer)}</td></tr>"
        for name, answer in [("gold", example["gold"]), *example["answers"].items()]
    )
    return f'<div class="example"><p>{escape(example["text"])}</p><div class="scroll"><table>{rows}</table></div></div>'
