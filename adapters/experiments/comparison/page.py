"""comparison.html: one file that needs no network, for people who did not run the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adapters.core.errors import numbered
from adapters.core.progress import duration
from adapters.evaluation.report import html
from adapters.evaluation.report.tables import Column, html_table, number_column, short_name
from adapters.experiments.comparison import plots, results_table
from adapters.experiments.comparison.definitions import paragraphs
from adapters.experiments.comparison.table import TEST_NOTE, columns, overlap_sentence, test_columns, warnings


def page(
    summary: Mapping[str, Any],
    pictures: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    failures: Sequence[tuple[str, str]],
    examples: Sequence[Mapping[str, Any]],
    repeat: Mapping[str, Any],
) -> str:
    """The page: the answer, the table of results and a picture; everything else is folded below.

    Args:
        summary: of `summary.summarise`.
        pictures: of `plots.pictures`.
        verdict: sentences.
        failures: (run, reason) of each failed run.
        examples: on which methods disagree most: `text`, `gold`, and `answers` by row.
        repeat: what it takes to repeat it: command, settings, digests.
    """
    data, rows, score = summary["dataset"], summary["rows"], summary["title"]
    title = f"{summary['task']} on {data['name']}"
    first, *others = pictures
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(_scored_on(summary))}</p>',
        html.verdict(verdict),
        html.failed(failures),
        "<h2>Results</h2>",
        _results(summary),
        f'<p class="dim">{escape(overlap_sentence(summary))} <a href="#how">How each number was made</a></p>',
        *(f'<p class="dim">Warning of {escape(warning)}</p>' for warning in warnings(rows)),
        html.figure(*first),
        html.folded("All columns", [html_table(columns(rows, score), rows)]),
    ]
    if summary["tests"]:
        note = f'<p class="dim">{escape(TEST_NOTE)}</p>'
        parts.append(html.folded("Significance tests", [html_table(test_columns(summary), summary["tests"]), note]))
    if others:
        drawn = "".join(html.figure(*picture) for picture in others)
        parts.append(html.folded("More pictures", [f'<div class="plots">{drawn}</div>']))
    parts += _by_label(rows)
    parts += _searches(rows)
    if examples:
        parts.append(html.folded("Examples with the most different answers", list(map(_example, examples))))
    parts.append(html.how_made(paragraphs(summary)))
    return html.document(title, [*parts, html.how_to_repeat(repeat)])


def _scored_on(summary: Mapping[str, Any]) -> str:
    """What was scored, in a line."""
    data, counts = summary["dataset"], sorted({len(row["seeds"]) for row in summary["rows"]})
    seeds = numbered(counts[0], "seeds") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    return f"{summary['title']} on the {data['split']} split, n = {data['n']:,}; {seeds}"


def _results(summary: Mapping[str, Any]) -> str:
    """The table of results, the rows of each base below its name."""
    found = results_table.entries(summary)
    chosen = results_table.columns(found, summary["title"], base=False)
    return html_table(chosen, found, group=results_table.group, cards=True)


def _by_label(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A picture and a table of the labels, if the metric has any."""
    picture = plots.by_label(rows)
    if picture is None:
        return []
    labels = dict.fromkeys(label for row in rows for label in row["by_label"])
    cells = [{"label": label, **{str(i): row["by_label"].get(label) for i, row in enumerate(rows)}} for label in labels]
    shown = [Column(title="Label", shown=lambda cell: cell["label"])]
    shown += [number_column(plots.name(row), str(i), ".1f", 100) for i, row in enumerate(rows)]
    drawn = html.figure("F1 of each label, in percent", picture)
    return [html.folded("F1 by label", [drawn, html_table(shown, cells)])]


def _searches(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that each method's search chose, if there were searches."""
    found = {(row["method"], row["base"]): row for row in rows if row.get("tuning")}
    if not found:
        return []
    shown = [
        Column(title="Method", shown=lambda row: row["method"]),
        Column(title="Base", shown=lambda row: short_name(row["base"]) or "–"),
        Column(title="Chosen settings", shown=_settings),
        Column(title="Trials", shown=lambda row: str(row["tuning"]["trials"]), key=lambda row: row["tuning"]["trials"]),
        Column(
            title="Time",
            shown=lambda row: duration(row["tuning"]["seconds"]),
            key=lambda row: row["tuning"]["seconds"],
        ),
    ]
    return [html.folded("Settings chosen by tuning", [html_table(shown, list(found.values()))])]


def _settings(row: Mapping[str, Any]) -> str:
    """Chosen settings, as flags."""
    chosen = row["tuning"].get("settings") or {}
    return "  ".join(
        f"--{name} {value:.3g}" if isinstance(value, float) else f"--{name} {value}" for name, value in chosen.items()
    )


def _example(example: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(answer)}</td></tr>'
        for name, answer in [("gold", example["gold"]), *example["answers"].items()]
    )
    return f'<div class="example"><p>{escape(example["text"])}</p><div class="scroll"><table>{rows}</table></div></div>'
