"""Errors of scores and of differences between scores, from the effects of examples and seeds: intervals and tests.

With few seeds their spread is poorly known, so its part and that of the examples are not added up to one normal
variable: a difference's distribution is the sum of a resampled one for the examples and a t for the seeds (Behrens
1929, Fisher 1935).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapters.evaluation.random_effects import Effects, borrowed, components
from adapters.evaluation.significance import of_alike

LEVEL = 0.05
POWER_80 = 0.8416212335729143
"""The 80 % quantile of the normal distribution."""
SMOOTH_FROM = 1e-12
"""A standard error below this is none."""
MANY = 200
"""Degrees of freedom above which a t distribution is a normal one."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """The distribution of an estimate around what it estimates: examples, then seeds.

    Attributes:
        draws: `[resamples]`, deviations by the draw of examples, already without the interaction.
        seeds: standard error by the draw of seeds.
        freedom: its degrees of freedom.
    """

    draws: np.ndarray
    seeds: float
    freedom: float

    @property
    def size(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.draws.var() + self.seeds**2))

    def beyond(self, distance: float) -> float:
        """The chance of a deviation of at least this size, to either side."""
        from scipy import special

        far = abs(distance) - 1e-12  # a draw of the same size must count as such, regardless of rounding
        if self.seeds < SMOOTH_FROM:
            return float((1 + (np.abs(self.draws) >= far).sum()) / (1 + len(self.draws)))
        scaled = np.concatenate([self.draws - far, -self.draws - far]) / self.seeds
        return float(np.clip((1 + special.stdtr(self.freedom, scaled).sum()) / (1 + len(self.draws)), 0, 1))

    def below(self, at: float) -> float:
        """The chance of a deviation of at most this size."""
        from scipy import special

        if self.seeds < SMOOTH_FROM:
            return float((self.draws <= at).mean())
        return float(special.stdtr(self.freedom, (at - self.draws) / self.seeds).mean())

    def quantile(self, share: float) -> float:
        """The deviation below which this share lies."""
        from scipy import optimize, special

        if self.seeds < SMOOTH_FROM:
            return float(np.quantile(self.draws, share))
        far = 2 * abs(float(special.stdtrit(self.freedom, min(share, 1 - share) / 4))) * self.seeds
        low, high = float(self.draws.min()) - far, float(self.draws.max()) + far
        return float(optimize.brentq(lambda at: self.below(at) - share, low, high, xtol=1e-9))


def satterthwaite(size: float, seeds: float, freedom: float) -> float:
    """The degrees of freedom of a standard error, of which the part of the examples has infinitely many.

    Satterthwaite 1946, "An approximate distribution of estimates of variance components".

    Args:
        size: the standard error.
        seeds: its part by the draw of seeds.
        freedom: degrees of freedom of that part.
    """
    if seeds < SMOOTH_FROM or not np.isfinite(freedom):
        return float(np.inf)
    return float(freedom * (size / seeds) ** 4)


def with_power(critical: float, freedom: float) -> float:
    """The difference, in standard errors, that exceeds a critical value with a chance of 80 %.

    The standard error is estimated with some degrees of freedom, so the quotient has a noncentral t distribution.
    """
    from scipy import optimize, stats

    if freedom > MANY:
        return critical + POWER_80
    high = 2 * critical + 10.0
    return float(optimize.brentq(lambda at: stats.nct.sf(critical, freedom, at) - 0.8, 0.0, high, xtol=1e-6))


def centred(draws: np.ndarray) -> np.ndarray:
    """Resampled numbers as deviations from their mean."""
    out: np.ndarray = draws - draws.mean()
    return out


def shrunk(draws: np.ndarray, interaction: float) -> np.ndarray:
    """Deviations by the draw of examples, without the part that the seeds' spread contains already."""
    whole = float(draws.var())
    return draws if whole <= 0 else draws * np.sqrt(max(whole - interaction, 0) / whole)


def row_error(row: Effects, resampled: np.ndarray) -> Error:
    """The error of a row's score.

    Args:
        row: its effects.
        resampled: `[resamples]`, the mean over seeds of its scores on resampled examples.
    """
    draws = shrunk(centred(resampled), row.interaction)
    return Error(draws=draws, seeds=float(np.sqrt(row.seed_error)), freedom=row.freedom)


def row_interval(row: Effects, error: Error, bounds: tuple[float, float]) -> tuple[float, float]:
    """The 95 % interval of a row's score, within the bounds of the score."""
    if not error.size:
        return of_alike(row.value, len(row.influence), bounds)
    low, high = (float(np.clip(row.value + error.quantile(share), *bounds)) for share in (LEVEL / 2, 1 - LEVEL / 2))
    return low, high


def share_draws(one: Effects, other: Effects) -> bool:
    """Whether runs of the same number learned from the same draw, so that their luck is shared."""
    return bool(one.draws) and one.draws == other.draws


def paired_spreads(rows: Sequence[Effects], pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Spread]:
    """The spread of the differences, draw by draw, of each pair of rows that share their draws.

    With three draws such a spread is known to a factor of four, too, so the pairs' spreads borrow from one another as
    rows' do (`moderated`). Together they have the degrees of freedom of methods and draws taken apart: (m - 1)(k - 1)
    of k methods on m draws, however many pairs they make; of methods on other draws, theirs are added.
    """
    sharing = [(i, j) for i, j in pairs if share_draws(rows[i], rows[j])]
    found = {(i, j): components(rows[i].values - rows[j].values, rows[i].pseudo - rows[j].pseudo) for i, j in sharing}
    moved = [pair for pair, (_, spread, freedom) in found.items() if spread > 0 and np.isfinite(freedom)]
    out = {pair: Spread(interaction, spread, freedom) for pair, (interaction, spread, freedom) in found.items()}
    if not moved:
        return out
    spreads, freedom = np.array([found[pair][1:] for pair in moved]).T
    together: dict[tuple[int | str, ...], set[int]] = {}
    for pair in moved:
        together.setdefault(rows[pair[0]].draws, set()).update(pair)
    most = float(sum((len(draws) - 1) * (len(methods) - 1) for draws, methods in together.items()))
    for pair, spread, df in zip(moved, *borrowed(spreads, freedom, most), strict=True):
        out[pair] = Spread(found[pair][0], float(spread), float(df))
    return out


@dataclass(frozen=True)
class Spread:
    """Of the differences of two rows by draw: as `Effects.interaction`, `Effects.spread` and `Effects.freedom`."""

    interaction: float
    spread: float
    freedom: float


def difference_error(one: Effects, other: Effects, draws: np.ndarray, paired: Spread | None = None) -> Error:
    """The error of the difference of two rows' scores.

    Two rows have seeds of their own, unless their runs share their draws: then the spread is that of the differences
    by draw.

    Args:
        one, other: their effects.
        draws: `[resamples]`, deviations by the draw of examples, of mean 0, with what both rows' interactions add.
        paired: of rows that share their draws, the spread of their differences (`paired_spreads`); None computes it
            from these two rows alone.
    """
    if share_draws(one, other):
        by_draw = paired or Spread(*components(one.values - other.values, one.pseudo - other.pseudo))
        seeds = float(np.sqrt(by_draw.spread / len(one.draws)))
        return Error(draws=shrunk(draws, by_draw.interaction), seeds=seeds, freedom=by_draw.freedom)
    seeds = one.seed_error + other.seed_error
    parts = [(row.seed_error, row.freedom) for row in (one, other)]
    # Welch 1947; a part of infinite freedom adds nothing.
    below = sum(part**2 / df for part, df in parts if part > 0 and np.isfinite(df))
    return Error(
        draws=shrunk(draws, one.interaction + other.interaction),
        seeds=float(np.sqrt(seeds)),
        freedom=seeds**2 / below if below > 0 else np.inf,
    )


def swapped_means(differences: np.ndarray, *, seed: int, resamples: int) -> np.ndarray:
    """float64 `[resamples, pairs]`: mean differences where each example's two answers are swapped with chance 1/2.

    Under the null hypothesis a swap changes nothing (approximate randomisation; Noreen 1989). All pairs are swapped
    alike, so that each set of swaps is drawn once.

    Args:
        differences: `[examples, pairs]`: influence on the first score minus that on the second.
        seed: of the swaps.
        resamples: number of sets of swaps.
    """
    examples, pairs = differences.shape
    generator = np.random.default_rng((seed, 1))  # independent of the bootstrap of the same seed
    out = np.empty((resamples, pairs))
    chunk = max(2**24 // max(examples, 1), 1)
    values, whole = differences.astype(np.float64), differences.sum(0)
    for begin in range(0, resamples, chunk):
        size = min(chunk, resamples - begin)
        bits = np.frombuffer(generator.bytes(size * ((examples + 7) // 8)), dtype=np.uint8).reshape(size, -1)
        kept = np.unpackbits(bits, axis=1, count=examples).astype(np.float64) @ values
        out[begin : begin + size] = (2 * kept - whole) / examples
    return out


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two rows' scores.

    Attributes:
        difference: score of the first minus score of the second.
        p: two-sided, under the hypothesis that both methods score alike.
        error: under that hypothesis, for powers and margins.
        around: of the difference that was found, for its interval.
        units: examples, or documents.
        bounds: of a score.
    """

    difference: float
    p: float
    error: Error
    around: Error
    units: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The ends of the interval that misses the true difference with this chance, within what scores can differ."""
        widest, unseen = self.bounds[1] - self.bounds[0], self._unseen(level / 2)
        low, high = (self.around.quantile(share) + self.difference for share in (level / 2, 1 - level / 2))
        return float(np.clip(low - unseen, -widest, widest)), float(np.clip(high + unseen, -widest, widest))

    def lower_bound(self, level: float) -> float:
        """The bound below which the true difference lies with this chance at most.

        Of shares of right answers, resampling knows too little where the two differ on few units: with one of 250 that
        only the other gets right, it would call a method non-inferior within a point whose true difference is a point
        20 times in a hundred. As in Wilson's interval of a share (1927), z² / 2 units each way are added to what
        differs, z being the normal distribution's quantile; that is z² / n, and soon nothing where many units differ.
        """
        from scipy import stats

        allowed = max(self.error.quantile(1 - level), 0.0) + self._unseen(level)
        if self.around.size and self.bounds == (0.0, 1.0):
            allowed = float(np.hypot(allowed, stats.norm.isf(level) ** 2 / self.units))
        return self.difference - allowed

    def _unseen(self, level: float) -> float:
        """What units that were not drawn may differ by, where those that were differ all alike, or not at all.

        Resampling cannot know of them: 7 answers that are right by both methods do not show that these score alike
        within a point. It is the Clopper-Pearson bound of the share of other units, as of `significance.of_alike`;
        where the units seen all have the largest difference, others can have the opposite one.
        """
        if self.around.size or self.bounds != (0.0, 1.0):
            return 0.0
        share = float(1 - level ** (1 / self.units))
        return 2 * share if abs(self.difference) == 1 else share

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return self.interval()[1]

    @property
    def standard_errors(self) -> tuple[float, float]:
        """By the draws of examples, and of seeds."""
        return float(self.error.draws.std()), self.error.seeds

    def detectable(self, tests: int) -> float:
        """The true difference that is significant with a power of 80 % as the first of so many tests (Holm's first).

        It is no more than scores can differ by. Of shares of right answers it is no less than the share of units that,
        if one method is right on them and the other wrong, makes an exact test of swaps significant with that power.
        """
        from scipy import stats

        widest, least = self.bounds[1] - self.bounds[0], 0.0
        if self.bounds == (0.0, 1.0):
            needed = int(np.ceil(np.log2(2 * tests / LEVEL)))
            least = float(stats.beta.ppf(0.8, needed, self.units - needed + 1)) if needed <= self.units else widest
        if not self.error.size:
            return least
        critical = self.error.quantile(1 - LEVEL / (2 * tests)) / self.error.size
        found = self.error.size * with_power(
            critical, satterthwaite(self.error.size, self.error.seeds, self.error.freedom)
        )
        return float(min(max(found, least), widest))


def differences(
    rows: Sequence[Effects],
    resampled: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    seed: int,
    resamples: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> list[Difference]:
    """Compare pairs of rows, on the same examples.

    Args:
        rows: effects, moderated.
        resampled: `[resamples, rows]`, each row's mean score on resampled examples, the same for all rows.
        pairs: indices of rows.
        seed: of the swaps.
        resamples: number of sets of swaps.
        bounds: of the scores.
    """
    if not pairs:
        return []
    influence = np.stack([rows[i].influence - rows[j].influence for i, j in pairs], axis=1)
    swapped = swapped_means(influence, seed=seed, resamples=resamples)
    spreads = paired_spreads(rows, pairs)
    out = []
    for number, (i, j) in enumerate(pairs):
        observed = rows[i].value - rows[j].value
        paired = spreads.get((i, j))
        # Swaps have the mean 0. Their sample's is not taken away: a draw as far as what was observed would move off it.
        null = difference_error(rows[i], rows[j], swapped[:, number], paired)
        around = difference_error(rows[i], rows[j], centred(resampled[:, i] - resampled[:, j]), paired)
        p, units = null.beyond(observed), len(influence)
        out.append(Difference(difference=observed, p=p, error=null, around=around, units=units, bounds=bounds))
    return out


def lower_bounds(rows: Sequence[int], compared: Mapping[tuple[int, int], Difference]) -> dict[int, float]:
    """By row, the least of the simultaneous lower bounds of its differences from all other rows.

    Multiple comparisons with the best (Hsu 1984, "Constrained simultaneous confidence intervals for multiple
    comparisons with the best"), with Bonferroni's level: each bound is one-sided at 5 % / (rows - 1), so that all rows
    whose bound is above -margin are, together, non-inferior within that margin with 95 % confidence. The best row need
    not be known.

    Args:
        rows: two or more.
        compared: differences of pairs of rows, the smaller index first; a row with a pair missing has no bound.
    """
    level = LEVEL / (len(rows) - 1)
    bounds = {}
    for i in rows:
        lows = []
        for j in rows:
            if i == j:
                continue
            test = compared.get((min(i, j), max(i, j)))
            if test is None:
                lows.append(-np.inf)
                continue
            turned = test if i < j else replace(test, difference=-test.difference)
            lows.append(turned.lower_bound(level))
        bounds[i] = float(min(lows))
    return bounds
