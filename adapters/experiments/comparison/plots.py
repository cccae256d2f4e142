"""Plots of a comparison, as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.evaluation.report.svg import COLOURS, drawn
from adapters.experiments.comparison import curve_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Rows = Sequence[Mapping[str, Any]]


COSTS = (
    ("trainable_params", "parameters trained"),
    ("train_seconds", "seconds of training"),
    ("artifact_bytes", "bytes to store for one more task"),
)


_MARKERS = ("o", "s", "^", "D", "v", "P")


def pictures(rows: Rows, score: str) -> list[tuple[str, str]]:
    """(title, SVG) of each plot for which the rows have data."""
    out = [
        (f"{score} against {title}", drawn(partial(_scatter, rows=rows, key=key, title=title, score=score)))
        for key, title in COSTS
    ]
    if any(row["size"] for row in rows):
        out.insert(0, ("How many labelled examples?", drawn(lambda ax: _sizes(ax, rows, score))))
    if any(row["curve"] for row in rows):
        out.append(("Learning curves (dev score)", drawn(lambda ax: _curves(ax, rows, score))))
    if curve_plots.timed(rows):
        by_time = drawn(lambda ax: curve_plots.score_by_time(ax, rows, score))
        out.append((f"Dev {score} after seconds of training", by_time))
    if any(row["by_label"] for row in rows):
        out.append((f"{score} by label", drawn(lambda ax: _labels(ax, rows, score))))
    return out


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto-optimal points: no other costs no more and scores no less, with one of the two better."""
    best, out = -math.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            out.append(i)
    return out


def name(row: Mapping[str, Any]) -> str:
    """A row's name in a legend."""
    size = f", {row['size']}" if row["size"] else ""
    return f"{row['method']} ({row['base'].rpartition('/')[2]}{size})"


def _scatter(axes: Axes, rows: Rows, key: str, title: str, score: str) -> None:
    """Score with interval against a cost; the Pareto front as a line."""
    points = [(float(row[key]), 100 * row["value"]) for row in rows]
    positive = [x for x, _ in points if x > 0]
    least = min(positive, default=1.0)
    axes.set_xscale("symlog", linthresh=least)
    for i, (row, (x, y)) in enumerate(zip(rows, points, strict=True)):
        error = [[max(y - 100 * row["low"], 0)], [max(100 * row["high"] - y, 0)]]
        axes.errorbar(x, y, error, capsize=3, label=name(row), **_look(rows, i))
    best = front(points)
    axes.plot(
        [points[i][0] for i in best],
        [points[i][1] for i in best],
        color="#999999",
        lw=1,
        ls="--",
        zorder=0,
        label="Pareto front",
    )
    if len(positive) < len(points):
        axes.set_xlim(left=-0.3 * least)
    axes.set(xlabel=title, ylabel=f"{score}, 95 % interval")
    _legend(axes)


def _sizes(axes: Axes, rows: Rows, score: str) -> None:
    """Score by number of labelled examples; prompted rows as horizontal lines."""
    sized: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        sized.setdefault((row["method"], row["base"]), []).append(row)
    for colour, own in zip(COLOURS * len(sized), sized.values(), strict=False):
        label = f"{own[0]['method']} ({own[0]['base'].rpartition('/')[2]})"
        if not own[0]["size"]:
            axes.axhline(100 * own[0]["value"], color=colour, ls="--", label=label)
            continue
        own = sorted(own, key=lambda row: row["train_examples"])
        at = [row["labels"] for row in own]
        axes.plot(at, [100 * row["value"] for row in own], "o-", color=colour, label=label)
        axes.fill_between(at, [100 * r["low"] for r in own], [100 * r["high"] for r in own], color=colour, alpha=0.15)
    axes.set_xscale("log")
    axes.set(xlabel="labelled examples (train and dev)", ylabel=score)
    _legend(axes)


def _curves(axes: Axes, rows: Rows, score: str) -> None:
    """Dev score after each epoch, of the first seed."""
    for i, row in enumerate(rows):
        steps = [point["step"] for point in row["curve"]]
        if steps:
            scores = [100 * point["score"] for point in row["curve"]]
            axes.plot(steps, scores, label=name(row), ms=4, **{**_look(rows, i), "ls": "-"})
    axes.set(xlabel="step", ylabel=f"dev {score}")
    _legend(axes)


def _labels(axes: Axes, rows: Rows, score: str) -> None:
    """Score of each label by method: one line of dots for each label."""
    labels = list(dict.fromkeys(label for row in rows for label in row["by_label"]))[:40]
    for i, row in enumerate(rows):
        found = [(100 * row["by_label"][label], y) for y, label in enumerate(labels) if label in row["by_label"]]
        axes.plot([x for x, _ in found], [y for _, y in found], label=name(row), alpha=0.85, **_look(rows, i))
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=score)
    _legend(axes)


def _look(rows: Rows, number: int) -> dict[str, Any]:
    """A method has one colour in every plot, and a base one marker."""
    kinds = list(dict.fromkeys(row["method"] for row in rows))
    bases = list(dict.fromkeys(row["base"] for row in rows))
    row = rows[number]
    colour = COLOURS[kinds.index(row["method"]) % len(COLOURS)]
    return {"color": colour, "marker": _MARKERS[bases.index(row["base"]) % len(_MARKERS)], "ls": ""}


def _legend(axes: Axes) -> None:
    """Below the plot, where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=8)
