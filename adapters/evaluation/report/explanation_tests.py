"""The table of how good explanations are, from the record of their tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

COLUMNS = {
    "comprehensiveness": "compr.",
    "sufficiency": "suff.",
    "auprc": "AUPRC",
    "token_f1": "token F1",
    "completeness": "adds up",
    "random_weights": "random",
}
"""Measures that are shown, and their titles."""
HOW = (
    "compr. (comprehensiveness): fall of the probability without the words that count most, higher is better; suff. "
    "(sufficiency): with these alone, lower is better. AUPRC, token F1: against what people marked. adds up: % of "
    "examples within 5 %. random: rank correlation with the explanations of a model with random weights, near 0 is "
    "better. Below each value its 95 % interval, by bootstrap over examples."
)


def table(record: Mapping[str, Any]) -> RenderableType:
    """A row for each method, the baselines last; a measure that nothing was judged by is a dash."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("method", no_wrap=True)
    for title in COLUMNS.values():
        shown.add_column(title, justify="right", no_wrap=True)
    for name, found in record["methods"].items():
        shown.add_row(name.replace("_", "\n", 1), *(cell(found.get(measure), measure) for measure in COLUMNS))
    title = (
        f"{record['task']} by {record['model']}: {record['examples']:,} examples, {record['marked']:,} with marks, "
        f"{record['skipped']:,} not explained"
    )
    reasons = [Text(f"not explained: {reason}") for reason in record["reasons"]]
    return Group(Text(title, style="bold"), Text(), shown, Text(), *reasons, Text(HOW, style="dim"))


def cell(found: Mapping[str, float] | None, measure: str) -> str:
    """A value above its interval."""
    if found is None:
        return "–"
    if measure == "completeness":
        return f"{100 * found['value']:.0f}"
    return f"{found['value']:.2f}\n{found['low']:.2f}…{found['high']:.2f}"
