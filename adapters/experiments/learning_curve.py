"""A plot of training: the loss of each step, and the dev scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.evaluation.report.svg import COLOURS, drawn, score_axis
from adapters.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTHED = 0.95
"""Weight of the mean so far in the smoothed loss."""


def picture(history: History, score: str) -> str:
    """SVG: losses, raw and smoothed, on the left axis; dev scores on the right one, with the best marked."""

    def draw(axes: Axes) -> None:
        steps = range(1, len(history.losses) + 1)
        axes.plot(steps, history.losses, color=COLOURS[0], alpha=0.25, lw=0.7)
        axes.plot(steps, smooth(history.losses), color=COLOURS[0], lw=1.5)
        axes.set(xlabel="Step", ylabel="Loss")
        axes.set_ylim(bottom=0)
        right = axes.twinx()
        right.plot(
            [each["step"] for each in history.scores],
            [100 * each["score"] for each in history.scores],
            "o-",
            color=COLOURS[1],
            ms=4,
        )
        if history.best_score is not None:
            right.plot([history.best_step], [100 * history.best_score], "*", color=COLOURS[1], ms=11)
        score_axis(right, f"Dev {score}")
        right.yaxis.label.set_color(COLOURS[1])

    return drawn(draw, size=(7.0, 3.6), title=f"Loss and dev {score} while training")


def smooth(values: list[float]) -> list[float]:
    """Exponential moving average with bias correction (Kingma & Ba 2015, arXiv:1412.6980, sec. 3)."""
    out, mean = [], 0.0
    for number, value in enumerate(values, 1):
        mean = SMOOTHED * mean + (1 - SMOOTHED) * value
        out.append(mean / (1 - SMOOTHED**number))
    return out
