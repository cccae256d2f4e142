"""The table of a comparison: one list of columns for the terminal, for Markdown and for the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from adapters.comparison.verdict import points


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        title: as printed.
        shown: text of a row's cell.
        key: number to sort by; text columns have none.
        wide: left out where only 80 columns are to be had.
    """

    title: str
    shown: Callable[[Mapping[str, Any]], str]
    key: Callable[[Mapping[str, Any]], float] | None = None
    wide: bool = False


def number(name: str, form: str, scale: float = 1.0) -> tuple[Callable[..., str], Callable[..., float]]:
    """How a measured number is shown, and sorted."""

    def value(row: Mapping[str, Any]) -> float:
        return float("nan") if row[name] is None else float(row[name]) * scale

    return lambda row: "–" if math.isnan(value(row)) else format(value(row), form), value


def _plain(title: str, name: str, form: str, scale: float = 1.0, *, wide: bool = False) -> Column:
    shown, key = number(name, form, scale)
    return Column(title=title, shown=shown, key=key, wide=wide)


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['trainable_params'] / max(row['total_params'], 1):.2f}"


def columns(rows: Sequence[Mapping[str, Any]], score: str) -> list[Column]:
    """The columns that some rows need; those of prompts and of sizes only where there are some."""
    out = [
        Column(title="method", shown=lambda row: row["method"]),
        Column(title="base", shown=lambda row: row["base"].rpartition("/")[2]),
    ]
    if any(row["size"] for row in rows):
        out.append(_plain("examples", "train_examples", ",.0f"))
    out += [
        Column(title=score, shown=lambda row: points(row["value"]), key=lambda row: row["value"]),
        Column(title="95 % interval", shown=lambda row: f"{points(row['low'])} to {points(row['high'])}"),
        _plain("sd of seeds", "sd", ".2f", 100, wide=True),
        Column(title="seeds", shown=lambda row: str(len(row["seeds"])), key=lambda row: len(row["seeds"]), wide=True),
        _plain("without overlap", "without_overlap", ".1f", 100, wide=True),
        _plain("trained", "trainable_params", ",.0f"),
        Column(title="% trained", shown=_share, key=lambda row: row["trainable_params"], wide=True),
        _plain("train s", "train_seconds", ",.0f"),
        _plain("pieces/s", "train_pieces_per_second", ",.0f", wide=True),
        _plain("peak GiB", "peak_memory_bytes", ".2f", 1 / 1024**3, wide=True),
        _plain("MB/task", "artifact_bytes", ",.2f", 1e-6),
        _plain("p50 ms", "latency_p50_ms", ",.1f", wide=True),
        _plain("p95 ms", "latency_p95_ms", ",.1f", wide=True),
        _plain("examples/s", "examples_per_second", ",.1f"),
    ]
    if any(row["notes"] for row in rows):
        prompted = {"unreadable": "parse_failures", "truncated": "truncated", "shots dropped": "shots_dropped"}
        out += [_plain(title, name, ",.0f", wide=True) for title, name in prompted.items()]
    return out


def rich_table(summary: Mapping[str, Any], *, width: int | None) -> Table:
    """For a terminal of that width (None: for a file); all columns only where nothing of them would be cut."""
    every = columns(summary["rows"], summary["score"])
    table = _rich(summary["rows"], every)
    if width is None or natural_width(table) <= width:
        return table
    return _rich(summary["rows"], [column for column in every if not column.wide])


def natural_width(table: Table) -> int:
    """Characters that a table takes where nothing of it is wrapped or cut."""
    return Console(width=10_000).measure(table).maximum


def _rich(rows: Sequence[Mapping[str, Any]], chosen: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in chosen:
        table.add_column(column.title, justify="right" if column.key else "left", no_wrap=not column.key)
    for row in rows:
        table.add_row(*(column.shown(row) for column in chosen))
    return table


def markdown(summary: Mapping[str, Any], verdict: Sequence[str], failures: Sequence[tuple[str, str]]) -> str:
    """comparison.md: verdict, table, tests."""
    chosen = columns(summary["rows"], summary["score"])
    data = summary["dataset"]
    lines = [f"# {summary['task']} on {data['name']} ({data['split']}, n = {data['n']:,})", "", *verdict, ""]
    lines += ["| " + " | ".join(c.title for c in chosen) + " |"]
    lines += ["|" + "|".join("---:" if c.key else "---" for c in chosen) + "|"]
    lines += ["| " + " | ".join(c.shown(row) for c in chosen) + " |" for row in summary["rows"]]
    lines += [
        "",
        "| pair | difference | 95 % interval | p | p (Holm) | smallest difference to be seen |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for test in summary["tests"]:
        one, other = (summary["rows"][i] for i in test["rows"])
        lines.append(
            f"| {_named(one)} − {_named(other)} | {points(test['difference'])} | {points(test['low'])} to "
            f"{points(test['high'])} | {test['p']:.4f} | {test['p_holm']:.4f} | {points(test['detectable'])} |"
        )
    lines += [f"\n**{name} failed:** {why}" for name, why in failures]
    count = summary["overlap"]["count"]
    if count:
        lines += ["", f"{count} of the examples stand in train too; the column *without overlap* leaves them out."]
    return "\n".join(lines) + "\n"


def _named(row: Mapping[str, Any]) -> str:
    size = f" at {row['size']}" if row["size"] else ""
    return f"{row['method']}{size} on {row['base'].rpartition('/')[2]}"
