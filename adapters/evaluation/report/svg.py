"""One picture as SVG; the same data give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = ("#3b6fb6", "#d1603d", "#4f9d69", "#8e5ea2", "#c2a136", "#5b6770", "#b5446e", "#2f9aa0")


def drawn(draw: Callable[[Axes], None], *, size: tuple[float, float] = (5.6, 3.9), **options: Any) -> str:
    """The SVG of one picture.

    Args:
        draw: draws into the axes.
        size: width and height in inches.
        options: matplotlib's settings (rcParams).
    """
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": "taskswap", "svg.fonttype": "none", "font.size": 9, **options}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
