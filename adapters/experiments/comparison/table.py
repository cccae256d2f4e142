"""The tables of a comparison: columns of the rows and of the significance tests, and comparison.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.evaluation.report.tables import Column, markdown_table, markdown_text, number_column, points

TEST_NOTE = (
    "All pairs of methods on the same base, trained on the same data. Tested is the difference of the means over "
    "seeds, as it is in the table. p and interval cover the draw of the test examples (paired: random swaps, "
    "bootstrap) and of the seeds (t; two-way random effects); with one seed the examples alone. Significant: "
    "Holm-adjusted p < 0.05, over all pairs of a base. A true difference of the smallest detectable size would be "
    "significant four times out of five."
)


def columns(rows: Sequence[Mapping[str, Any]], score: str) -> list[Column]:
    """The columns that some rows need; those of prompts and of sizes only where there are some.

    Args:
        rows: of a summary.
        score: the main score in words.
    """
    out = [
        Column(title="method", shown=lambda row: row["method"]),
        Column(title="base", shown=lambda row: row["base"].rpartition("/")[2]),
    ]
    if any(row["size"] for row in rows):
        out.append(number_column("examples", "train_examples", ",.0f"))
    out += [
        Column(title=score, shown=lambda row: points(row["value"]), key=lambda row: row["value"]),
        Column(title="95 % interval", shown=lambda row: f"{points(row['low'])} to {points(row['high'])}"),
        number_column("sd of seeds", "sd", ".2f", 100, wide=True),
        Column(title="seeds", shown=_seeds, key=lambda row: len(row["seeds"]), wide=True),
        number_column("without overlap", "without_overlap", ".1f", 100, wide=True),
        number_column("labels", "labels", ",.0f", wide=True),
        number_column("trained", "trainable_params", ",.0f"),
        Column(title="% trained", shown=_share, key=lambda row: row["trainable_params"], wide=True),
        number_column("train s", "train_seconds", ",.0f"),
        *([number_column("search s", "tuning_seconds", ",.0f")] if any(row["tuning"] for row in rows) else []),
        number_column("tokens/s", "train_tokens_per_second", ",.0f", wide=True),
        number_column("peak GiB", "peak_memory_bytes", ".2f", 1 / 1024**3, wide=True),
        number_column("MB/task", "artifact_bytes", ",.2f", 1e-6),
        number_column("p50 ms", "latency_p50_ms", ",.1f", wide=True),
        number_column("p95 ms", "latency_p95_ms", ",.1f", wide=True),
        number_column("examples/s", "examples_per_second", ",.1f"),
    ]
    if any(row["notes"] for row in rows):
        prompted = {"parse failures": "parse_failures", "truncated": "truncated", "shots dropped": "shots_dropped"}
        out += [number_column(title, name, ",.0f", wide=True) for title, name in prompted.items()]
    return out


def _seeds(row: Mapping[str, Any]) -> str:
    return f"{len(row['seeds'])}{' (incomplete)' if row['incomplete'] else ''}"


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['trainable_params'] / max(row['total_params'], 1):.2f}"


def test_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of `summary["tests"]`."""
    rows, n = summary["rows"], summary["dataset"]["n"]

    def result(test: Mapping[str, Any]) -> str:
        return "significant" if test["differs"] else f"no significant difference (n = {n:,})"

    return [
        Column(title="pair", shown=lambda test: _pair(*(rows[i] for i in test["rows"]))),
        number_column("difference", "difference", ".1f", 100),
        Column(title="95 % interval", shown=lambda test: f"{points(test['low'])} to {points(test['high'])}"),
        number_column("p", "p", ".4f"),
        number_column("Holm-adjusted p", "p_holm", ".4f"),
        Column(title="result", shown=result),
        number_column("smallest detectable difference", "detectable", ".1f", 100),
    ]


def _pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Two compared rows, which are always of one base."""
    size = f" at {one['size']}" if one["size"] and one["size"] == other["size"] else ""
    names = [row["method"] + (f" at {row['size']}" if row["size"] and not size else "") for row in (one, other)]
    return f"{names[0]} − {names[1]}{size} ({one['base'].rpartition('/')[2]})"


def overlap_sentence(summary: Mapping[str, Any]) -> str:
    """How many of the scored examples are in train too, and where the first of them is."""
    count, first = summary["overlap"]["count"], summary["overlap"]["first"]
    if not count:
        return "No example of this split is in train."
    example = f", the first {_place(first[0]['test'])} as {_place(first[0]['train'])}" if first else ""
    return f"{count:,} examples of this split are in train too{example}; the column “without overlap” leaves them out."


def _place(where: str) -> str:
    """`file:line` without the folders above the data's own, which differ on another machine."""
    return "/".join(Path(where).parts[-2:])


def markdown(summary: Mapping[str, Any], verdict: Sequence[str], failures: Sequence[tuple[str, str]]) -> str:
    """comparison.md: verdict, table, tests."""
    data = summary["dataset"]
    title = f"# {summary['task']} on {data['name']} ({data['split']}, n = {data['n']:,})"
    lines = [markdown_text(title), "", *(f"{markdown_text(line)}\n" for line in verdict)]
    lines += [*markdown_table(columns(summary["rows"], summary["title"]), summary["rows"]), ""]
    lines += [*markdown_table(test_columns(summary), summary["tests"]), "", TEST_NOTE]
    lines += [f"\n**{name} failed:** {markdown_text(why)}" for name, why in failures]
    return "\n".join([*lines, "", overlap_sentence(summary)]) + "\n"
