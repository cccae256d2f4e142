"""Scores against seconds of training."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.evaluation.report.svg import drawn
from adapters.experiments.comparison.curve_plots import best_so_far, score_by_time, timed

CURVES = st.lists(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10)), min_size=1, max_size=6, unique_by=lambda one: one[0]),
    min_size=1,
    max_size=4,
)


def row(method: str, *curves: list[tuple[float, float]], size: str = "", examples: int = 100) -> dict[str, Any]:
    points = [[{"step": k, "seconds": at, "score": score} for k, (at, score) in enumerate(one)] for one in curves]
    return {"method": method, "base": "mini/bert", "size": size, "train_examples": examples, "curves": points}


@given(CURVES)
def test_at_each_moment_a_seed_has_the_best_score_that_it_had_until_then(curves: list[list[tuple[int, int]]]) -> None:
    made = [[{"seconds": at, "score": score} for at, score in sorted(one)] for one in curves]
    moments, scores = best_so_far(made)
    assert moments[0] == max(min(at for at, _ in one) for one in curves)
    assert moments[-1] == max(at for one in curves for at, _ in one)
    for own, one in zip(scores, curves, strict=True):
        assert own.tolist() == [max(score for at, score in one if at <= moment) for moment in moments]


def test_the_picture_has_the_largest_size_of_each_method_and_says_which_have_no_curve() -> None:
    rows = [
        row("lora", [(1, 0.2), (3, 0.6)], [(1.5, 0.3), (4, 0.5)], size="50", examples=50),
        row("lora", [(2, 0.4), (9, 0.8)], [(2, 0.3), (8, 0.7)], size="all"),
        row("few_shot", []),
    ]
    assert timed(rows) == [rows[1]]
    svg = drawn(lambda axes: score_by_time(axes, rows, "Entity F1"))
    assert "lora (bert, all)" in svg and "lora (bert, 50)" not in svg
    assert "without a curve, as no step is taken: few_shot" in svg
    assert not timed([rows[2]])


def test_the_line_is_the_mean_and_the_band_the_range_of_the_seeds() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    score_by_time(axes, [row("lora", [(1, 0.2), (4, 0.6)], [(2, 0.4), (3, 0.3)])], "accuracy")
    line = axes.lines[0]
    assert np.allclose(line.get_xdata(), [2, 3, 4]) and np.allclose(line.get_ydata(), [30, 30, 50])
    assert axes.get_xscale() == "log"
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (20, 60)
