"""Pictures of how scores grow with training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.evaluation.report.svg import COLOURS, score_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
DASHES = ("-", "--", ":", "-.")
"""By base."""


def timed(rows: Rows) -> list[Mapping[str, Any]]:
    """The rows that were trained and timed: of each method and base the one with the most training examples."""
    largest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["train_examples"]):
        if row["curves"] and all(curve and "seconds" in curve[0] for curve in row["curves"]):
            largest[row["method"], row["base"]] = row
    return [row for row in rows if any(row is one for one in largest.values())]


def best_so_far(curves: Sequence[Sequence[Mapping[str, float]]]) -> tuple[np.ndarray, np.ndarray]:
    """The best dev score of each seed up to each moment, from when every seed has one.

    Args:
        curves: of each seed, `seconds` of training and `score` of each scoring.

    Returns:
        Seconds `[moments]`, and scores `[seeds, moments]`; a training that has ended keeps its best.
    """
    seconds = [np.array([point["seconds"] for point in curve]) for curve in curves]
    best = [np.maximum.accumulate([point["score"] for point in curve]) for curve in curves]
    moments = np.unique(np.concatenate(seconds))
    moments = moments[moments >= max(own[0] for own in seconds)]
    scores = [own[np.searchsorted(at, moments, side="right") - 1] for at, own in zip(seconds, best, strict=True)]
    return moments, np.stack(scores)


def score_by_time(axes: Axes, rows: Rows, score: str) -> None:
    """Best dev score so far against seconds of training: the mean over seeds as steps, their range as a band."""
    from matplotlib.ticker import LogFormatter

    ends = []
    methods, bases = (list(dict.fromkeys(row[name] for row in rows)) for name in ("method", "base"))
    for row in timed(rows):
        moments, scores = best_so_far(row["curves"])
        colour = COLOURS[methods.index(row["method"]) % len(COLOURS)]
        dashes = DASHES[bases.index(row["base"]) % len(DASHES)]
        label = f"{row['method']} ({row['base'].rpartition('/')[2]}{', ' + row['size'] if row['size'] else ''})"
        axes.step(moments, 100 * scores.mean(0), where="post", color=colour, ls=dashes)
        low, high = 100 * scores.min(0), 100 * scores.max(0)
        axes.fill_between(moments, low, high, step="post", color=colour, alpha=0.15, lw=0)
        axes.plot(moments[-1], 100 * scores[:, -1].mean(), "o", color=colour, ms=4)
        ends.append((100 * float(scores[:, -1].mean()), label, colour))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter(minor_thresholds=(1.5, 0.4)))
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.4)))
    axes.set_xlabel(f"Seconds of training\n{_caption(rows)}")
    score_axis(axes, f"Best dev {score} so far")
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names to the right of the curves, at the height of their ends, moved apart where they would overlap.

    Args:
        axes: with the curves drawn.
        ends: height, name and colour of each.
    """
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    at = -np.inf
    for end, label, colour in sorted(ends):
        at = max((end - low) / (high - low), at + 0.06)
        axes.text(1.02, at, label, color=colour, fontsize=8, va="center", transform=axes.transAxes)


def _caption(rows: Rows) -> str:
    """What the lines are, and which methods have none."""
    out = "line: mean over seeds, band: lowest to highest;\nsearching settings and scoring dev not counted"
    untrained = list(dict.fromkeys(row["method"] for row in rows if not any(row["curves"])))
    if untrained:
        few = ", ".join(untrained[:4]) + (f" and {len(untrained) - 4} more" if len(untrained) > 4 else "")
        out += f"\nwithout a curve, as no step is taken: {few}"
    return out
