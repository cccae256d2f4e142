"""A strip plot of all conditions: the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.evaluation.report.svg import COLOURS, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LONGEST_NAME = 40


def strip(rows: Sequence[Mapping[str, Any]], score: str, usual: float | None) -> str:
    """SVG: a line for each row, a dot for each condition, a bar at the mean.

    Args:
        rows: of a table.
        score: the main score in words.
        usual: the score of the most frequent answer, as a dotted line.
    """

    def draw(axes: Axes) -> None:
        axes.grid(visible=False, axis="y")
        _dots(axes, rows)
        if usual is not None:
            axes.axvline(100 * usual, color="#888888", ls=":", lw=1)
        axes.set(xlabel=f"{score} of each condition; bar: mean" + ("; dotted: most frequent answer" if usual else ""))

    title = f"{score} of each condition"
    return drawn(draw, size=(8.5, 1.2 + 0.24 * len(rows)), title=title)


def short(name: str) -> str:
    """The end of a name, as far as it fits alongside the plot."""
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def _dots(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Dots and means; a calibration has one colour."""
    kinds = list(dict.fromkeys(row["calibration"] for row in rows))
    for y, row in enumerate(rows):
        colour = COLOURS[kinds.index(row["calibration"]) % len(COLOURS)]
        scores = [100 * condition["score"] for condition in row["conditions"]]
        axes.plot(scores, [y] * len(scores), "o", color=colour, alpha=0.55, ms=5, mew=0)
        axes.plot([100 * row["mean"]], [y], "|", color=colour, ms=13, mew=2)
    axes.set_yticks(range(len(rows)), [f"{short(row['prompt'])}, {row['shots']}, {row['calibration']}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
