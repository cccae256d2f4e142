"""The table of how good explanations are, from the record of their tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

COLUMNS = {
    "comprehensiveness": "compre-hensive",
    "sufficiency": "suffi-cient",
    "auprc": "AUPRC",
    "token_f1": "token F1",
    "completeness": "adds up, %",
    "random_weights": "random weights",
}
"""Measures that are shown, and their titles."""
HOW = (
    "Comprehensive: fall of the probability without the words that count most (higher is better); sufficient: with "
    "these alone (lower is better). AUPRC, token F1: against what people marked. Adds up: examples within 5 %. Random "
    "weights: rank correlation with the explanations of a model with random weights (lower is better). Below each "
    "value its 95 % interval, by bootstrap over examples."
)


def table(record: Mapping[str, Any]) -> RenderableType:
    """A row for each method, the baselines last; a measure that nothing was judged by is a dash."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("method", no_wrap=True)
    for title in COLUMNS.values():
        shown.add_column(title, justify="right")
    for name, found in record["methods"].items():
        shown.add_row(name, *(cell(found.get(measure), measure) for measure in COLUMNS))
    title = (
        f"{record['task']} by {record['model']}: {record['examples']:,} examples, {record['marked']:,} with marks, "
        f"{record['skipped']:,} without an answer to explain"
    )
    return Group(Text(title, style="bold"), Text(), shown, Text(), Text(HOW, style="dim"))


def cell(found: Mapping[str, float] | None, measure: str) -> str:
    """A value above its interval."""
    if found is None:
        return "–"
    if measure == "completeness":
        return f"{100 * found['value']:.0f}"
    return f"{found['value']:.3f}\n{found['low']:.3f} to {found['high']:.3f}"
