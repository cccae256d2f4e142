"""Names at points and at the ends of lines, placed so that none covers another: pictures that need no legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from adapters.evaluation.report.svg import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
DISTANCES = (5.0, 12.0, 20.0, 30.0, 42.0, 56.0)
"""From a point to its name, in pixels, nearest first."""
DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
TEXT = 10.0
"""How much worse it is to cover a name, or to leave the frame, than to cover what is drawn."""
FAR = 10.0
"""Pixels from which on a line leads from a point to its name."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name of a point.

    Attributes:
        x: of the point, as data.
        y: the same.
        text: the name.
        colour: of the line that leads to the name.
        low: y where something drawn at the point begins (an interval), which the name does not cover.
        high: y where it ends.
    """

    x: float
    y: float
    text: str
    colour: str = INK
    low: float | None = None
    high: float | None = None


def at_points(
    axes: Axes, labels: Sequence[Label], *, line: Sequence[tuple[float, float]] = (), size: float = 9.0
) -> None:
    """Write names next to their points. To be called when all else is drawn, as the limits must not change.

    Args:
        axes: of the points.
        labels: the names.
        line: points, as data, of a line that the names do not cover.
        size: of the letters.
    """
    halo = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.5}
    texts = [axes.text(one.x, one.y, one.text, size=size, in_layout=False, zorder=5, bbox=halo) for one in labels]
    sizes = _sizes(axes, texts)
    at = [axes.transData.transform((one.x, one.y)) for one in labels]
    drawn = [*(box for one in labels for box in _extent(axes, one)), *_along(axes, line)]
    frame = axes.get_window_extent()
    places = placed([(float(x), float(y)) for x, y in at], sizes, drawn, (frame.x0, frame.y0, frame.x1, frame.y1))
    back = axes.transData.inverted()
    for one, text, (x, y), (width, height), (left, bottom) in zip(labels, texts, at, sizes, places, strict=True):
        text.set(position=back.transform((left, bottom + height / 2)), ha="left", va="center_baseline")
        nearest = (min(max(x, left), left + width), min(max(y, bottom), bottom + height))
        if (nearest[0] - x) ** 2 + (nearest[1] - y) ** 2 > FAR**2:
            end = back.transform(nearest)
            axes.plot([one.x, end[0]], [one.y, end[1]], color=one.colour, lw=0.7, zorder=1, scalex=False, scaley=False)


def at_ends(axes: Axes, labels: Sequence[Label], *, size: float = 9.0) -> None:
    """Write names right of the plot, each at the height at which its line ends. To be called when all else is drawn."""
    beside = axes.get_yaxis_transform()
    texts = [axes.text(1.03, one.y, one.text, size=size, va="center", transform=beside) for one in labels]
    sizes = _sizes(axes, texts)
    heights = [float(axes.transData.transform((one.x, one.y))[1]) for one in labels]
    frame = axes.get_window_extent()
    apart = max((height for _, height in sizes), default=0.0)
    for one, text, y in zip(labels, texts, spread(heights, apart, frame.y0, frame.y1), strict=True):
        height = axes.transAxes.inverted().transform((0, y))[1]
        text.set(position=(1.03, height), transform=axes.transAxes, va="center")
        axes.annotate(
            "",
            (one.x, one.y),
            (1.02, height),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": one.colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        ).set_in_layout(False)


def _sizes(axes: Axes, texts: Sequence[Text]) -> list[tuple[float, float]]:
    """Width and height of texts in pixels, once the layout is made, which then stays."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    boxes = [text.get_window_extent() for text in texts]
    return [(box.width, box.height) for box in boxes]


def _extent(axes: Axes, one: Label) -> tuple[Box, Box]:
    """What is drawn at a point, in pixels: its marker and its interval."""
    low, high = (one.y if end is None else end for end in (one.low, one.high))
    (x, y), (_, bottom), (_, top) = (axes.transData.transform((one.x, y)) for y in (one.y, low, high))
    return (x - 4, y - 4, x + 4, y + 4), (x - 1.5, bottom, x + 1.5, top)


def _along(axes: Axes, line: Sequence[tuple[float, float]]) -> list[Box]:
    """Small boxes along a line, in pixels."""
    at = [tuple(map(float, axes.transData.transform(point))) for point in line]
    out = []
    for (a, b), (c, d) in pairwise(at):
        steps = max(int(max(abs(c - a), abs(d - b)) / 4), 1)
        for k in range(steps + 1):
            x, y = a + (c - a) * k / steps, b + (d - b) * k / steps
            out.append((x - 1.5, y - 1.5, x + 1.5, y + 1.5))
    return out


def placed(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], drawn: Sequence[Box], frame: Box
) -> list[tuple[float, float]]:
    """Left and bottom of each name: the nearest place inside the frame that covers no name and nothing drawn.

    Where there is no free place, the one that covers least is taken. Names of crowded points choose first.

    Args:
        points: to name.
        sizes: width and height of the names.
        drawn: what the names are not to cover.
        frame: in which names are to be.
    """
    taken: dict[int, Box] = {}
    reach = max((width for width, _ in sizes), default=0.0)

    def crowd(i: int) -> int:
        x, y = points[i]
        return sum(abs(x - a) < reach and abs(y - b) < 3 * sizes[i][1] for a, b in points)

    for i in sorted(range(len(points)), key=lambda i: (-crowd(i), points[i])):
        (x, y), (width, height) = points[i], sizes[i]
        best, least = (x, y), float("inf")
        for distance in DISTANCES:
            for across, up in DIRECTIONS:
                left = x - width / 2 + across * (distance + width / 2)
                bottom = y - height / 2 + up * (distance + height / 2)
                box = (left, bottom, left + width, bottom + height)
                covered = sum(_common(box, other) for other in drawn)
                covered += TEXT * sum(_common(box, other) for other in taken.values())
                covered += TEXT * (width * height - _common(box, frame))
                if covered < least - 1e-6:
                    best, least = (left, bottom), covered
            if least <= 1e-6:
                break
        taken[i] = (best[0], best[1], best[0] + width, best[1] + height)
    return [taken[i][:2] for i in range(len(points))]


def _common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def spread(heights: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Heights moved as little as needed to be `apart`, inside the limits if there is room for all.

    Neighbours that are too near form a block with the mean of its members' shifts, as in isotonic regression.
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    blocks: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        blocks.append((heights[i] - rank * apart, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m))
    starts = [start for start, count in blocks for _ in range(count)]
    most = max(high - (len(heights) - 1) * apart, low)
    out = [0.0] * len(heights)
    for rank, (i, start) in enumerate(zip(order, starts, strict=True)):
        out[i] = min(max(start, low), most) + rank * apart
    return out
