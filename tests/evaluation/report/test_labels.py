"""Names in pictures: apart from one another, near their points, the same each time."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from adapters.evaluation.report.labels import placed, spread
from adapters.evaluation.report.svg import COLOURS, amount, drawn

FRAME = (0.0, 0.0, 400.0, 300.0)
POINTS = st.lists(
    st.tuples(st.floats(10, 390, allow_subnormal=False), st.floats(10, 290, allow_subnormal=False)), max_size=9
)


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_names_of_points_do_not_overlap_and_stay_in_the_frame(points: list[tuple[float, float]]) -> None:
    sizes = [(40.0, 10.0)] * len(points)
    places = placed(points, sizes, [], FRAME)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(places, sizes, strict=True)]
    for one, other in combinations(boxes, 2):
        gaps = (other[0] - one[2], one[0] - other[2], other[1] - one[3], one[1] - other[3])
        assert max(gaps) >= -1e-9, "but for rounding"
    assert all(box[0] >= -1e-6 and box[1] >= -1e-6 and box[2] <= 400 + 1e-6 and box[3] <= 300 + 1e-6 for box in boxes)
    assert placed(points, sizes, [], FRAME) == places


def test_a_name_leaves_free_what_is_drawn_and_lies_next_to_its_point() -> None:
    ((left, bottom),) = placed([(100.0, 100.0)], [(40.0, 10.0)], [(96.0, 60.0, 104.0, 140.0)], FRAME)
    assert left == 105.0 and bottom == 95.0
    ((left, _),) = placed([(380.0, 100.0)], [(40.0, 10.0)], [], FRAME)
    assert left + 40 < 380, "on the other side, where the frame ends"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 300, allow_subnormal=False), max_size=12))
def test_names_at_ends_of_lines_keep_their_distance_order_and_limits(heights: list[float]) -> None:
    moved = spread(heights, 12.0, 0.0, 300.0)
    ordered = sorted(moved)
    assert all(b - a >= 12 - 1e-6 for a, b in pairwise(ordered))
    assert all(-1e-6 <= y <= 300 + 1e-6 for y in moved)
    for (a, x), (b, y) in combinations(zip(heights, moved, strict=True), 2):
        assert a == b or (a < b) == (x < y)


def test_names_at_ends_of_lines_are_moved_as_little_as_a_solver_moves_them() -> None:
    heights = [50.0, 52.0, 55.0, 90.0, 200.0, 203.0]
    limits = [{"type": "ineq", "fun": lambda y, k=k: y[k + 1] - y[k] - 12} for k in range(5)]
    found = minimize(lambda y: ((y - heights) ** 2).sum(), heights, constraints=limits, method="SLSQP")
    assert spread(heights, 12.0, 0.0, 300.0) == pytest.approx(list(found.x), abs=0.01)


def _linear(colour: str) -> list[float]:
    """A colour's linear red, green and blue (IEC 61966-2-1)."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def test_colours_have_a_contrast_of_three_to_one_on_white() -> None:
    for colour in COLOURS:
        red, green, blue = _linear(colour)
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 3, colour


SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
"""Linear red, green and blue as colour-blind people see them (Machado et al. 2009, severity 1)."""


@pytest.mark.parametrize("eyes", SEEN)
def test_colours_differ_for_colour_blind_people_too(eyes: str) -> None:
    """By CIE 1976, where 2.3 is just noticeable; Okabe and Ito's eight colours reach 16."""

    def lab(colour: str) -> tuple[float, float, float]:
        rgb = [min(max(sum(a * b for a, b in zip(row, _linear(colour), strict=True)), 0), 1) for row in SEEN[eyes]]
        xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
        shares = [sum(a * b for a, b in zip(row, rgb, strict=True)) for row in xyz]
        x, y, z = (
            share ** (1 / 3) if share > 0.008856 else 7.787 * share + 16 / 116
            for share in (shares[0] / 0.9505, shares[1], shares[2] / 1.089)
        )
        return 116 * y - 16, 500 * (x - y), 200 * (y - z)

    for one, other in combinations(COLOURS, 2):
        assert sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5 > 18, (one, other)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (0, "B", "0 B"),
        (12.34, "", "12.3"),
        (999.6, "B", "1 kB"),
        (5943, "B", "5.94 kB"),
        (22_568_841, "", "22.6 M"),
        (541_660_000, "B", "542 MB"),
        (3.2e9, "B", "3.2 GB"),
    ],
)
def test_amounts_have_three_digits_and_a_multiple(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_a_picture_says_what_it_shows_and_shows_names_as_text() -> None:
    def draw(axes) -> None:
        axes.text(0.5, 0.5, "$x & <b>")

    svg = drawn(draw, title="A & B", description="x: 1")
    assert svg.startswith("<svg") and 'role="img"><title>A &amp; B</title><desc>x: 1</desc>' in svg
    assert "$x &amp; &lt;b" in svg and "<metadata" not in svg and "<g id" not in svg
    assert drawn(draw, title="A & B", description="x: 1") == svg
