"""The table of results: each method's score, how far it is from the best one, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from adapters.core.errors import numbered
from adapters.core.progress import duration
from adapters.evaluation.report.svg import COLOURS
from adapters.evaluation.report.tables import Column, cost, interval, points, short_name
from adapters.experiments.comparison.summary import compared_bases
from adapters.experiments.comparison.verdict import test_between, where

BEST, SIGNIFICANT, NOT_SIGNIFICANT, UNTESTED, INCOMPLETE = (
    "best",
    "significant",
    "no significant difference",
    "not tested",
    "incomplete, not tested",
)

NARROW = {NOT_SIGNIFICANT: "not significant"}


def entries(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table: bases apart, in each the best row of the largest training size first.

    Each has the row's keys and `best` (the row that it is compared with, None for an incomplete one), `difference`
    from it, `difference_low` and `difference_high` (None where it was not tested) and `result`.
    """
    rows = summary["rows"]
    bases = sorted(dict.fromkeys(row["base"] for row in rows), key=lambda base: not base)

    def rank(i: int) -> tuple[float, ...]:
        row = rows[i]
        examples = row["train_examples"] if row["size"] else math.inf
        return bases.index(row["base"]), row["incomplete"], -examples, -row["value"]

    order = sorted(range(len(rows)), key=rank)
    return [_entry(summary, i) for i in order]


def _entry(summary: Mapping[str, Any], i: int) -> dict[str, Any]:
    rows = summary["rows"]
    best = max((j for j in range(len(rows)) if j == i or _rivals(summary, i, j)), key=lambda j: rows[j]["value"])
    return against(rows, i, best, _test(summary, i, best))


def against(rows: Sequence[Mapping[str, Any]], i: int, best: int, test: Mapping[str, Any] | None) -> dict[str, Any]:
    """A row with its difference from the best one, as their test (None: there is none) says."""
    out = {**rows[i], "best": None, "difference": None, "difference_low": None, "difference_high": None}
    if rows[i]["incomplete"]:
        return {**out, "result": INCOMPLETE}
    out |= {"best": rows[best], "difference": rows[i]["value"] - rows[best]["value"]}
    if best == i:
        return {**out, "result": BEST}
    if test is None:
        return {**out, "result": UNTESTED}
    low, high = (test["low"], test["high"]) if i < best else (-test["high"], -test["low"])
    result = SIGNIFICANT if test["differs"] else NOT_SIGNIFICANT
    return {**out, "difference_low": low, "difference_high": high, "result": result}


def _rivals(summary: Mapping[str, Any], i: int, j: int) -> bool:
    """Whether a row is compared with another: of the same base and training size, or tested against it."""
    one, other = summary["rows"][i], summary["rows"][j]
    if other["incomplete"]:
        return False
    sized = one["size"] == other["size"] or not other["size"] or not one["size"]
    return (one["base"] == other["base"] and sized) or _test(summary, i, j) is not None


def _test(summary: Mapping[str, Any], i: int, j: int) -> Mapping[str, Any] | None:
    """The test of two rows, on the base that either has; of two without one, on the first base."""
    bases = [row["base"] for row in summary["rows"]]
    return test_between(summary, i, j, bases[i] or bases[j] or compared_bases(bases)[0])


def group(entry: Mapping[str, Any]) -> str:
    """Words above the rows of a base."""
    return where(entry["base"])


def columns(found: Sequence[Mapping[str, Any]], score: str, *, base: bool = True, narrow: bool = False) -> list[Column]:
    """The columns of entries: those of searches and of training sizes only where there are some.

    Args:
        found: of `entries`.
        score: the main score in words.
        base: whether the base is a column; False where the rows are listed below its name.
        narrow: for 80 characters: differences without their intervals, and shorter words.
    """
    out = [Column(title="Method", shown=lambda row: row["method"], about="method")]
    if base:
        out.append(Column(title="Base", shown=lambda row: short_name(row["base"]) or "–"))
    if any(row["size"] for row in found):
        out.append(
            Column(
                title="Examples", shown=_examples, key=lambda row: row["train_examples"], about="examples", wide=True
            )
        )
    out += score_columns(found, score, narrow=narrow)
    out += [
        _cost_column("Storage per task", "artifact_bytes", "storage"),
        _cost_column("Training time", "train_seconds", "training"),
        replace(_cost_column("Latency", "latency_p50_ms", "latency"), wide=True),
    ]
    if any(row.get("tuning") for row in found):
        out.append(Column(title="Tuning", shown=_tuned, key=_tuning_seconds, about="tuning", wide=True))
    return out


def score_columns(found: Sequence[Mapping[str, Any]], score: str, *, narrow: bool = False) -> list[Column]:
    """Score, difference and result of entries; see `columns`."""
    low, high = _axis(found)
    return [
        Column(
            title=f"{score}, 95 % interval",
            shown=lambda row: f"{points(row['value'])} ({interval(row['low'], row['high'])})",
            key=lambda row: row["value"],
            about="score",
            drawn=lambda row: _drawn(row, low, high),
            scale=(f"{100 * low:.0f}", f"{100 * high:.0f}"),
        ),
        Column(
            title="vs best" if narrow else "Difference to best",
            shown=lambda row: _difference(row, narrow=narrow),
            key=_number("difference"),
            about="difference",
        ),
        Column(
            title="Result",
            shown=lambda row: _result(row, narrow=narrow),
            about="result",
            folds=True,
        ),
    ]


def _examples(row: Mapping[str, Any]) -> str:
    return f"{row['train_examples']:,}" if row["size"] else "–"


def _difference(row: Mapping[str, Any], *, narrow: bool) -> str:
    """The difference with its interval; nothing for the best row itself."""
    if row["result"] == BEST or row["difference"] is None:
        return "–"
    difference = points(row["difference"]).replace("-", "−")
    if narrow or row["difference_low"] is None:
        return difference
    return f"{difference} ({interval(row['difference_low'], row['difference_high'])})"


def _result(row: Mapping[str, Any], *, narrow: bool) -> str:
    result = str(row["result"])
    return NARROW.get(result, result) if narrow else result


def _tuned(row: Mapping[str, Any]) -> str:
    """What the search for a method's settings took."""
    tuning = row.get("tuning")
    return f"{duration(tuning['seconds'])} ({numbered(tuning['trials'], 'trials')})" if tuning else "none"


def _tuning_seconds(row: Mapping[str, Any]) -> float:
    return float((row.get("tuning") or {}).get("seconds", 0))


def _cost_column(title: str, key: str, about: str) -> Column:
    return Column(title=title, shown=lambda row: cost(key, row), key=_number(key), about=about)


def _number(key: str) -> Any:
    return lambda row: math.nan if row[key] is None else float(row[key])


def interval_ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """A row's interval; its value alone where no interval is known."""
    return (row["value"], row["value"]) if row["low"] is None else (row["low"], row["high"])


def _axis(found: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Ends of the axis on which all intervals are drawn, in steps of 5 points."""
    low = math.floor(20 * min(interval_ends(row)[0] for row in found)) / 20
    high = math.ceil(20 * max(interval_ends(row)[1] for row in found)) / 20
    return low, max(high, low + 0.05)


def _drawn(row: Mapping[str, Any], low: float, high: float) -> str:
    """The score as a dot on its interval, and a dotted line at the best score."""

    def at(value: float) -> str:
        return f"{1 + 98 * (value - low) / (high - low):.1f}%"

    left, right = interval_ends(row)
    axis = f"on an axis of {100 * low:.0f} to {100 * high:.0f}"
    text = f"{points(row['value'])}, interval {interval(row['low'], row['high'])}, {axis}"
    best = row["best"]
    mark = f'<line x1="{at(best["value"])}" x2="{at(best["value"])}" y1="0" y2="14" class="best"/>' if best else ""
    return (
        f'<svg class="dot" width="100%" height="14" role="img" aria-label="{escape(text)}">'
        f'<line x1="0" x2="100%" y1="7" y2="7" class="axis"/>{mark}'
        f'<line x1="{at(left)}" x2="{at(right)}" y1="7" y2="7" stroke="{COLOURS[4]}" stroke-width="2.5"/>'
        f'<circle cx="{at(row["value"])}" cy="7" r="4.5" fill="{COLOURS[4]}"/></svg>'
    )
