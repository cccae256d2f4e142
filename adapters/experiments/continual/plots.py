"""Pictures of a continual experiment, as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.evaluation.report.labels import Label, at_ends
from adapters.evaluation.report.svg import COLOURS, INK, SIZE, amount, drawn, score_axis
from adapters.evaluation.report.tables import points
from adapters.experiments.comparison import plots
from adapters.experiments.continual.table import stage_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
TILE = (4.3, 3.0)
"""Width and height in inches of one of several pictures next to one another."""
DECIMALS_UP_TO = 8
"""Tasks up to which the numbers of a heatmap have a decimal."""
LONGEST_NAME, LONGEST_ROW = 14, 32
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def averages(rows: Rows, title: str) -> str:
    """SVG of the average over the tasks learned so far, by stage; bounds are dashed, of one stage as levels."""
    words = f"Average {title} over the tasks learned so far"
    known = [row for row in rows if row["averages"] and None not in row["averages"]]
    told = "; ".join(f"{row['name']}: {', '.join(map(points, row['averages']))}" for row in known)
    height = max(SIZE[1], 1.4 + 0.17 * len(known))
    return drawn(lambda axes: _averages(axes, known, title), size=(SIZE[0], height), title=words, description=told)


def _averages(axes: Axes, rows: Rows, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    most = max((len(row["averages"]) for row in rows), default=1)
    ends = []
    for number, row in enumerate(rows):
        scores, look = [100 * value for value in row["averages"]], _look(number)
        if len(scores) == 1:
            axes.axhline(scores[0], color=look["color"], lw=1.2, ls="--")
            ends.append(Label(x=most, y=scores[0], text=_at_line(row), colour=look["color"]))
        else:
            style = "--" if row["bound"] else ":" if row["routed"] else "-"
            axes.plot(range(1, len(scores) + 1), scores, **{**look, "ls": style}, ms=4.5)
            ends.append(Label(x=len(scores), y=scores[-1], text=_at_line(row), colour=look["color"]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Tasks learned")
    score_axis(axes, f"Average {title}")
    at_ends(axes, ends)


def _at_line(row: Mapping[str, Any]) -> str:
    """A row's name at the end of its line, which leaves room for the lines."""
    return str(row["name"]) if len(row["name"]) <= LONGEST_ROW else f"{row['name'][: LONGEST_ROW - 1]}…"


def _look(number: int) -> dict[str, Any]:
    """A colour and a marker for each row: more rows than colours differ by their markers."""
    rounds = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[(number + rounds) % len(MARKERS)], "ls": "-"}


def matrices(summary: Mapping[str, Any], order_number: int) -> list[tuple[str, Mapping[str, Any]]]:
    """(name of the row, matrix) of each row for an order; of all tasks at once whatever the order, rearranged."""
    order = next(one["order"] for one in summary["orders"] if one["order_number"] == order_number)
    out = []
    for row in summary["rows"]:
        own = [one for one in row["matrices"] if one["order_number"] == order_number]
        if not own and len(row["matrices"][0]["matrix"]) == 1:
            own = [_rearranged(row["matrices"][0], order)]
        out += [(row["name"], one) for one in own]
    return out


def _rearranged(found: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """A matrix with its columns in another order of the tasks."""
    at = [found["order"].index(task) for task in order]
    moved = {end: [[row[j] for j in at] for row in found[end]] for end in ("matrix", "low", "high")}
    return {**found, **moved, "order": list(order), "learned": [found["learned"][j] for j in at]}


def heatmaps(found: Sequence[tuple[str, Mapping[str, Any]]], title: str) -> list[tuple[str, str]]:
    """(caption, SVG) of each matrix, all in the same colours."""
    cells = [value for _, one in found for row in one["matrix"] for value in row if value is not None]
    low, high = 100 * min(cells, default=0.0), 100 * max(cells, default=1.0)
    ends = (low, max(high, low + 1))
    return [(name, _heatmap(name, one, title, ends)) for name, one in found]


def _heatmap(name: str, found: Mapping[str, Any], title: str, ends: tuple[float, float]) -> str:
    last = zip(found["order"], found["matrix"][-1], strict=True)
    told = "Final: " + ", ".join(f"{task} {_cell(value, 1)}" for task, value in last)
    stages, tasks = len(found["matrix"]), len(found["order"])
    upright = max(map(len, found["order"])) > 34 // tasks
    height = 0.5 + 0.3 * stages + (0.9 if upright else 0.2)
    return drawn(
        lambda axes: _cells(axes, found, ends, upright=upright),
        size=(TILE[0], height),
        title=f"{title} on each task after each stage: {name}",
        description=told,
    )


def _cells(axes: Axes, found: Mapping[str, Any], ends: tuple[float, float], *, upright: bool) -> None:
    """A coloured cell with its number for each score; what was not scored stays empty."""
    matrix = np.array([[np.nan if v is None else 100 * v for v in row] for row in found["matrix"]], np.float64)
    stages, tasks = matrix.shape
    drawn_cells = axes.pcolormesh(
        np.ma.masked_invalid(matrix), cmap="Blues", vmin=ends[0], vmax=ends[1], edgecolors="white", linewidth=1.5
    )
    size = 9.0 if tasks <= 5 else 8.0 if tasks <= 12 else 6.0
    for i, j in zip(*np.nonzero(~np.isnan(matrix)), strict=True):
        red, green, blue, _ = drawn_cells.cmap(drawn_cells.norm(matrix[i, j]))
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.55
        text = _cell(matrix[i, j] / 100, 1 if tasks <= DECIMALS_UP_TO else 0)
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", size=size, color="white" if dark else INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=size)
    axes.set_ylim(stages, 0)
    axes.set_xticks(np.arange(tasks) + 0.5, [_short(task) for task in found["order"]], rotation=90 if upright else 0)
    axes.set_yticks(np.arange(stages) + 0.5, [_short(stage_name(stage, tasks)) for stage in found["stages"]])
    axes.xaxis.tick_top()
    axes.set_ylabel("after learning", size=size)


def _cell(value: float | None, decimals: int) -> str:
    return "not scored" if value is None else f"{100 * value:.{decimals}f}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def by_task(found: Sequence[tuple[str, Mapping[str, Any]]], title: str) -> list[tuple[str, str]]:
    """(caption, SVG) of each matrix of several stages: each task's score from when it was learned on."""
    chosen = [(name, one) for name, one in found if len(one["matrix"]) > 1]
    cells = [value for _, one in chosen for row in one["matrix"] for value in row if value is not None]
    if not cells:
        return []
    ends = math.floor(20 * min(cells)) * 5 - 1, math.ceil(20 * max(cells)) * 5 + 1
    out = []
    for name, one in chosen:
        words = f"{title} of each task over time: {name}"
        size = TILE[0], max(TILE[1], 0.9 + 0.15 * len(one["order"]))
        out.append((name, drawn(partial(_by_task, found=one, title=title, ends=ends), size=size, title=words)))
    return out


def _by_task(axes: Axes, found: Mapping[str, Any], title: str, ends: tuple[float, float]) -> None:
    labels = []
    stages = len(found["matrix"])
    for j, task in enumerate(found["order"]):
        begin = found["learned"][j]
        at = [(i, found["matrix"][i][j]) for i in range(begin, stages)]
        known = [(i + 1, 100 * value) for i, value in at if value is not None]
        colour = COLOURS[j % len(COLOURS)]
        xs, ys = zip(*known, strict=True)
        axes.plot(xs, ys, color=colour, marker=MARKERS[j % len(MARKERS)], ms=4, lw=1.3)
        labels.append(Label(x=xs[-1], y=ys[-1], text=_short(task), colour=colour))
    axes.set_xticks(range(1, stages + 1))
    axes.set_ylim(*ends)
    axes.set_xlabel("Tasks learned")
    score_axis(axes, title)
    at_ends(axes, labels, size=8)


def storage(rows: Rows, title: str) -> str | None:
    """SVG of final average against bytes beyond the base model; None where no storage is known."""
    known = [row for row in rows if row["artifact_bytes"] is not None]
    if not known:
        return None
    # In the comparison's picture a method has a colour and a base a marker: here, a strategy and a method.
    one_method = len({row["method"] for row in known}) == 1
    shown = [
        {**row, "method": _row_name(row), "base": "" if one_method else row["method"], "size": ""} for row in known
    ]
    words = f"Final average {title}"
    told = "; ".join(f"{row['name']}: {points(row['value'])} at {amount(row['artifact_bytes'], 'B')}" for row in known)
    return drawn(
        lambda axes: plots.scatter(
            axes, shown, "artifact_bytes", "Stored beyond the base model", "B", words, all_rows=shown
        ),
        size=(SIZE[0], max(SIZE[1], 1.2 + 0.17 * len(shown))),
        title=f"{words} against storage beyond the base model",
        description=told,
    )


def _row_name(row: Mapping[str, Any]) -> str:
    """A row's name at a point, whose marker tells the method."""
    routed = "routed " if row["routed"] else ""
    return f"{routed}{row['strategy']}"
