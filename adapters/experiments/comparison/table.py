"""The tables of a comparison: columns of the rows and of the significance tests, and comparison.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.core.errors import numbered, verb
from adapters.evaluation.report.tables import (
    Column,
    interval,
    markdown_table,
    markdown_text,
    number_column,
    points,
    short_name,
)
from adapters.experiments.comparison import plots, results_table
from adapters.experiments.comparison.verdict import sample_size

TEST_NOTE = (
    "All pairs of methods on the same base, trained on the same data; a method without a base competes on every base. "
    "Tested is the difference of the means over seeds, as it is in the table. p and interval cover the draw of the "
    "test examples (paired: random swaps, bootstrap) and of the seeds (t; two-way random effects); with one seed the "
    "examples alone. Significant: Holm-adjusted p < 0.05, over all pairs of a base. A true difference of the smallest "
    "detectable size would be significant four times out of five; each pair has its own, as it is the larger the more "
    "examples its two methods answer differently."
)


def columns(rows: Sequence[Mapping[str, Any]], score: str) -> list[Column]:
    """The columns that some rows need; those of prompts and of sizes only where there are some.

    Args:
        rows: of a summary.
        score: the main score in words.
    """
    out = [
        Column(title="Method", shown=lambda row: row["method"]),
        Column(title="Base", shown=lambda row: short_name(row["base"]) or "–"),
    ]
    if any(row["size"] for row in rows):
        out.append(number_column("Examples", "train_examples", ",.0f"))
    out += [
        Column(title=score, shown=lambda row: points(row["value"]), key=lambda row: row["value"]),
        Column(title="95 % interval", shown=lambda row: interval(row["low"], row["high"])),
        number_column("Sd of seeds", "sd", ".2f", 100),
        Column(title="Seeds", shown=_seeds, key=lambda row: len(row["seeds"])),
        number_column("Without overlap", "without_overlap", ".1f", 100),
        number_column("Labelled examples", "labels", ",.0f"),
        number_column("Parameters trained", "trainable_params", ",.0f"),
        Column(title="% trained", shown=_share, key=lambda row: row["trainable_params"]),
        number_column("Training, s", "train_seconds", ",.1f"),
        *([number_column("Search, s", "tuning_seconds", ",.0f")] if any(row["tuning"] for row in rows) else []),
        number_column("Tokens per s", "train_tokens_per_second", ",.0f"),
        number_column("Peak memory, GiB", "peak_memory_bytes", ".2f", 1 / 1024**3),
        number_column("Storage, MB", "artifact_bytes", ",.2f", 1e-6),
        number_column("Latency p50, ms", "latency_p50_ms", ",.1f"),
        number_column("p95, ms", "latency_p95_ms", ",.1f"),
        number_column("Examples per s", "examples_per_second", ",.1f"),
    ]
    if any(row["notes"] for row in rows):
        out.append(Column(title="Parse failures", shown=_failures, key=lambda row: row["parse_failures"]))
        prompted = {"Truncated": "truncated", "Shots dropped": "shots_dropped"}
        out += [number_column(title, name, ",.0f") for title, name in prompted.items()]
    return out


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{len(row['seeds'])}{' (incomplete)' if row['incomplete'] else ''}"


def _failures(row: Mapping[str, Any]) -> str:
    """Parse failures of a run (the mean over seeds) and their share of the answers; – where nothing is prompted."""
    if not row["notes"]:
        return "–"
    return f"{row['parse_failures']:,.0f} ({100 * row['parse_failure_share']:.1f} %)"


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['trainable_params'] / max(row['total_params'], 1):.2f}"


def test_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of `summary["tests"]`."""
    rows, number = summary["rows"], sample_size(summary)
    bases = {row["base"] for row in rows if row["base"]}

    def result(test: Mapping[str, Any]) -> str:
        return "significant" if test["differs"] else f"no significant difference ({number})"

    def pair(test: Mapping[str, Any]) -> str:
        one, other = (rows[i] for i in test["rows"])
        names, base = _pair(one, other), short_name(test["base"])
        if one["base"] or other["base"]:
            return f"{names} ({base})"
        return f"{names} (no base; adjusted with {base})" if len(bases) > 1 else f"{names} (no base)"

    return [
        Column(title="Pair", shown=pair),
        Column(
            title="Difference",
            shown=lambda test: points(test["difference"]).replace("-", "−"),
            key=lambda test: test["difference"],
        ),
        Column(
            title="Interval, at the level of the test",
            shown=lambda test: f"{interval(test['low'], test['high'])} ({100 * (1 - test['level']):.4g} %)",
        ),
        number_column("p", "p", ".4f"),
        number_column("Holm-adjusted p", "p_holm", ".4f"),
        Column(title="Result", shown=result),
        number_column("Smallest detectable difference", "detectable", ".1f", 100),
    ]


def _pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The names of two compared rows."""
    size = f" at {one['size']}" if one["size"] and one["size"] == other["size"] else ""
    names = [row["method"] + (f" at {row['size']}" if row["size"] and not size else "") for row in (one, other)]
    return f"{names[0]} − {names[1]}{size}"


def overlap_sentence(summary: Mapping[str, Any]) -> str:
    """How many of the scored examples are in train too, and where the first of them is."""
    count, first = summary["overlap"]["count"], summary["overlap"]["first"]
    if not count:
        return "No example of this split is in train."
    example = f", the first {_place(first[0]['test'])} as {_place(first[0]['train'])}" if first else ""
    shared = f"{numbered(count, 'examples')} of this split {verb(count, 'are')} in train too{example}"
    return f"{shared}; the column “Without overlap” leaves {'it' if count == 1 else 'them'} out."


def _place(where: str) -> str:
    """`file:line` without the folders above the data's own, which differ on another machine."""
    return "/".join(Path(where).parts[-2:])


def warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the trainings were warned of, each warning once with the rows that it is of: `lora, full: 30 steps …`."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for warning in row["warnings"]:
            found.setdefault(warning, []).append(plots.name(row))
    return [f"{', '.join(names)}: {warning}." for warning, names in found.items()]


def markdown(summary: Mapping[str, Any], verdict: Sequence[str], failures: Sequence[tuple[str, str]]) -> str:
    """comparison.md: verdict, results, all columns, tests."""
    data = summary["dataset"]
    title = f"# {summary['task']} on {data['name']} ({data['split']}, n = {data['n']:,})"
    lines = [markdown_text(title), "", *(f"{markdown_text(line)}\n" for line in verdict)]
    found = results_table.entries(summary)
    lines += [*markdown_table(results_table.columns(found, summary["title"]), found), ""]
    lines += ["## All columns", "", *markdown_table(columns(summary["rows"], summary["title"]), summary["rows"]), ""]
    lines += ["## Significance tests", "", *markdown_table(test_columns(summary), summary["tests"]), "", TEST_NOTE]
    lines += [f"\n**{name} failed:** {markdown_text(why)}" for name, why in failures]
    lines += [f"\nWarning of {markdown_text(warning)}" for warning in warnings(summary["rows"])]
    return "\n".join([*lines, "", overlap_sentence(summary)]) + "\n"
