"""Where learning curves cross: against a slow version by bisection, and against simulations of a known crossing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from adapters.evaluation.crossings import BELOW, BEYOND, crossing, crossing_points, seed_noise
from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.evaluation.random_effects import Effects, effects, resampled_scores

SIZES = (50, 200, 1000)


def still(value: float, spread: float = 0.0, freedom: float = np.inf) -> Effects:
    """A row of one value for all examples."""
    values = np.full(3, value)
    return Effects(
        values=values, influence=np.full(4, value), interaction=0.0, spread=spread, freedom=freedom, seeded=spread > 0
    )


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([-1.0, 1.0, 2.0], 100.0),  # the middle of 50 and 200, of their logarithms
        ([1.0, 2.0, 3.0], BELOW),
        ([1.0, 2.0, -0.1], BEYOND),
        ([0.0, 1.0, 1.0], 50.0),
        ([0.0, 0.0, 0.0], BEYOND),
        ([3.0, -1.0, 1.0], np.sqrt(200 * 1000)),  # the last one counts
    ],
)
def test_the_crossing_is_from_where_on_the_difference_stays_positive(differences: list[float], expected: float) -> None:
    assert crossing_points(SIZES, np.array(differences)) == pytest.approx(expected)


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=1, max_size=6))
def test_it_is_that_of_a_walk_over_a_fine_grid(differences: list[float]) -> None:
    sizes = [10 * 3**k for k in range(len(differences))]
    grid = np.sort([*np.exp(np.linspace(np.log(sizes[0]), np.log(sizes[-1]), 20_001)), *sizes])
    curve = np.interp(np.log(grid), np.log(sizes), differences)
    down = np.flatnonzero(curve <= 0)
    slow = BELOW if not len(down) else BEYOND if differences[-1] <= 0 else grid[down[-1]]
    found = crossing_points(sizes, np.array([differences]))[0]
    assert found == pytest.approx(slow, rel=1e-3)


def test_without_noise_the_interval_is_the_point() -> None:
    rows = [still(value) for value in (0.1, 0.3, 0.5, 0.2)]
    resampled = np.repeat([[row.value for row in rows]], 100, axis=0)
    noise = seed_noise(rows, seed=0, resamples=100)
    assert not noise.any()
    found = crossing(SIZES, (0, 1, 2), (3, 3, 3), rows, resampled, noise, seed=0)
    assert found.value == pytest.approx(100)
    assert (found.low, found.high) == pytest.approx((100, 100), rel=0.02)
    never = crossing(SIZES, (3, 3, 3), (0, 1, 2), rows, resampled, noise, seed=0)
    assert never.value == never.low == never.high == BEYOND


def test_seeds_alone_widen_the_interval_as_their_t_distribution_says() -> None:
    """One size and one spread: the crossing is beyond the largest size in as many draws as the t has below -value."""
    rows = [still(0.02, spread=3e-4, freedom=2.0), still(0.0)]
    noise = seed_noise(rows, seed=1, resamples=20_000)
    drawn = crossing_points((50,), 0.02 + noise[:, :1] - noise[:, 1:])
    assert np.mean(drawn == BEYOND) == pytest.approx(scipy.stats.t.cdf(-0.02 / 0.01, 2), abs=0.01)


@pytest.fixture(scope="module")
def f1() -> Metric:
    return load_metric("entity_f1", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))


def counts(right: np.ndarray) -> np.ndarray:
    """int64 `[seeds, examples, 6]` for which F1 is the share of right examples `[seeds, examples]`."""
    none, whole = np.zeros_like(right), np.ones_like(right)
    return np.stack([right, none, whole, none, whole, none], axis=2).astype(np.int64)


def runs(
    generator: np.random.Generator,
    rate: float,
    difficulty: np.ndarray,
    sd: float,
    together: np.ndarray,
    shared: float = 0.0,
) -> np.ndarray:
    """Runs of a method of a known accuracy on examples of their own difficulty, `[seeds, examples]` right or wrong.

    `shared` is how far the luck of each run is `together` `[seeds, 1]`, that of all methods' runs of its draw.
    """
    at = scipy.stats.norm.ppf(rate)
    luck = sd * np.sqrt(2) / scipy.stats.norm.pdf(at)
    moved = np.sqrt(shared) * together + np.sqrt(1 - shared) * generator.standard_normal(together.shape)
    latent = at * np.sqrt(2 + luck**2) + difficulty + luck * moved
    return counts(latent + generator.standard_normal((len(together), len(difficulty))) > 0)


def covered(
    metric: Metric,
    one: Sequence[float],
    other: Sequence[float],
    *,
    sd: float,
    seeds: int,
    shared: float = 0.0,
    repeats: int = 200,
) -> tuple[float, float]:
    """Of simulated comparisons, the share whose interval has the crossing of the two true curves over four sizes.

    Also the mean logarithm of the ratio of an interval's ends. Where the other's curve is level, it is a prompted
    method: one row, which no seed moves.
    """
    sizes, prompted = (50, 150, 450, 1350), len(set(other)) == 1
    truth = crossing_points(sizes, np.subtract(one, other))
    generator, inside, ratios = np.random.default_rng(3), 0, []
    for repeat in range(repeats):
        difficulty = generator.standard_normal(300)
        drawn = [generator.standard_normal((seeds, 1)) for _ in sizes]
        made = [
            runs(generator, rate, difficulty, sd, together, shared)
            for curve in ([one] if prompted else [one, other])
            for rate, together in zip(curve, drawn, strict=True)
        ]
        made += [runs(generator, other[0], difficulty, 0.0, np.zeros((1, 1)))] * prompted
        draws = range(seeds) if shared else ()
        rows = [effects(metric, own, "f1", seeded=len(own) > 1, draws=draws) for own in made]
        resampled = resampled_scores(metric, made, "f1", seed=repeat, resamples=300)
        noise = seed_noise(rows, seed=repeat, resamples=300)
        found = crossing(sizes, range(4), [4] * 4 if prompted else range(4, 8), rows, resampled, noise, seed=repeat)
        inside += found.low <= truth <= found.high
        low, high = np.clip([found.low, found.high], sizes[0], sizes[-1])
        ratios.append(np.log(high / low))
    return inside / repeats, float(np.mean(ratios))


@pytest.mark.parametrize(
    ("one", "other", "sd", "seeds"),
    [
        ((0.5, 0.6, 0.7, 0.8), (0.62,) * 4, 0.01, 5),
        ((0.5, 0.6, 0.65, 0.66), (0.55, 0.59, 0.645, 0.655), 0.01, 3),  # they stay close
        ((0.5, 0.6, 0.7, 0.8), (0.45,) * 4, 0.03, 3),  # below the smallest size
    ],
)
def test_the_interval_has_a_known_crossing_about_as_often_as_it_says(
    f1: Metric, one: tuple[float, ...], other: tuple[float, ...], sd: float, seeds: int
) -> None:
    """At 95 % of 200, 190 with a standard deviation of 3; with three seeds intervals are careful."""
    assert covered(f1, one, other, sd=sd, seeds=seeds)[0] >= 0.91


def test_curves_whose_runs_share_their_draws_are_compared_draw_by_draw(f1: Metric) -> None:
    """The luck that the two share moves no crossing: it is covered as often, by narrower intervals."""
    one, other = (0.5, 0.6, 0.7, 0.8), (0.6, 0.64, 0.68, 0.72)
    share, width = covered(f1, one, other, sd=0.04, seeds=5, shared=0.9)
    assert share >= 0.91
    assert width < 0.8 * covered(f1, one, other, sd=0.04, seeds=5, repeats=60)[1]
