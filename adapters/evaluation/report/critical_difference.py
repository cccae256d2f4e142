"""The diagram of average ranks over data sets, with Nemenyi's critical difference (Demšar 2006, figure 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.evaluation.report.svg import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _BAR = "#1c2430", "#3b6fb6"


def picture(
    names: Sequence[str], mean_ranks: Sequence[float], critical: float | None, groups: Sequence[tuple[int, int]]
) -> str:
    """The SVG: a scale of ranks, each method's name outside it at the end of a line from its rank.

    Args:
        names: of the methods, the best first.
        mean_ranks: of the methods, ascending.
        critical: the critical difference, drawn as a ruler; None where nothing is tested.
        groups: first and last method of each group that is not significantly different, joined by a bar.
    """
    lines = (len(names) + 1) // 2
    height = 0.9 + 0.16 * len(groups) + 0.3 * lines + (0.4 if critical else 0)

    def draw(axes: Axes) -> None:
        _scale(axes, len(names))
        below = 0.35 + 0.35 * len(groups)
        for number, (name, rank) in enumerate(zip(names, mean_ranks, strict=True)):
            left = number < lines
            y = -below - 0.62 * (number if left else len(names) - 1 - number) - 0.3
            _method(axes, f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}", rank, y, len(names), left=left)
        for level, (first, last) in enumerate(groups):
            y, margin = -0.35 - 0.35 * level, 0.02 * (len(names) - 1)
            ends = [mean_ranks[first] - margin, mean_ranks[last] + margin]
            axes.plot(ends, [y, y], color=_BAR, lw=4, solid_capstyle="butt", zorder=3)
        if critical:
            _ruler(axes, critical)
        bottom = -below - 0.62 * (lines - 1) - 0.6
        margin = 0.06 * (len(names) - 1)  # the layout leaves room for the names beyond it
        axes.set(xlim=(1 - margin, len(names) + margin), ylim=(bottom, 1.9 if critical else 0.8))

    return drawn(draw, size=(5.8, height))


def _scale(axes: Axes, methods: int) -> None:
    """The line of ranks, 1 (the best) on the left."""
    axes.grid(visible=False)
    axes.set_axis_off()
    axes.plot([1, methods], [0, 0], color=_INK, lw=1.2)
    step = math.ceil(methods / 12)
    for rank in range(1, methods + 1, step):
        axes.plot([rank, rank], [0, 0.14], color=_INK, lw=1.2)
        axes.text(rank, 0.22, str(rank), ha="center", va="bottom", color=_INK)


def _method(axes: Axes, text: str, rank: float, y: float, methods: int, *, left: bool) -> None:
    """A method's line from its rank to its name, which is outside of the scale."""
    margin = 0.06 * (methods - 1)
    end = 1 - margin if left else methods + margin
    axes.plot([rank, rank, end], [0, y, y], color=_INK, lw=0.9)
    axes.text(
        end - margin / 3 if left else end + margin / 3,
        y,
        text,
        ha="right" if left else "left",
        va="center",
        color=_INK,
        clip_on=False,
    )


def _ruler(axes: Axes, critical: float) -> None:
    """How long the critical difference is on the scale."""
    axes.plot([1, 1 + critical], [1.1, 1.1], color=_BAR, lw=1.6)
    for end in (1, 1 + critical):
        axes.plot([end, end], [1.0, 1.2], color=_BAR, lw=1.6)
    axes.text(1 + critical / 2, 1.3, f"critical difference {critical:.2f}", ha="center", va="bottom", color=_BAR)
