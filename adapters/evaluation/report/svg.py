"""One picture as SVG; the same data give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = ("#0899e1", "#a23303", "#15714b", "#e1679a", "#444773", "#b98904", "#02012d", "#3c0602")
"""Of series: a contrast of at least 3 to 1 on white, and distinct for colour-blind people (Machado et al. 2009)."""
INK, DIM = "#1c2430", "#5b6776"
SIZE = (6.0, 4.2)


def drawn(
    draw: Callable[[Axes], None],
    *,
    size: tuple[float, float] = SIZE,
    title: str = "",
    description: str = "",
    **options: Any,
) -> str:
    """The SVG of one picture.

    Args:
        draw: draws into the axes.
        size: width and height in inches.
        title: what is shown, for screen readers.
        description: what can be read off the picture, the same.
        options: matplotlib's settings (rcParams).
    """
    import matplotlib
    from matplotlib.figure import Figure

    # Names come from the user: a `$` in one does not begin a formula.
    style: Any = {
        "svg.hashsalt": "taskswap",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": DIM,
        "xtick.color": DIM,
        "ytick.color": DIM,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        **options,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained", dpi=72)  # a pixel is an SVG's unit
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _for_readers(stream.getvalue(), title, description)


def _for_readers(text: str, title: str, description: str) -> str:
    """The SVG without what nobody reads, with a title and a description, and with no name that another one has too."""
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], count=1, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    if not title:
        return text
    about = f"<title>{escape(title)}</title>" + (f"<desc>{escape(description)}</desc>" if description else "")
    head, _, rest = text.partition(">")
    return f'{head} role="img">{about}{rest}'


def score_axis(axes: Axes, label: str) -> None:
    """Name the y axis of scores in points, when they are drawn: it counts to 100 at most where no score is above."""
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    if axes.dataLim.ymax <= 100:
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 100)])


def amount(value: float, unit: str = "") -> str:
    """A number of an axis or a cell with three digits: 12.3 k, 4.56 M; with a unit 12.3 kB."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * factor:
            return f"{_digits(value / factor)} {prefix}{unit}"
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    """Three digits of a number below a thousand, without zeros that say nothing."""
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
