"""Scores of several runs on the same examples: what the draw of examples and what the draw of seeds contributes.

A run's score differs from its expectation by an effect of the examples that were drawn, one of its seed, and their
interaction (a two-way random effects model; Cornfield & Tukey 1956, "Average values of mean squares in factorials").
Scores that are not means of examples, such as F1, are taken apart by the jackknife's pseudo-values (Efron & Stein
1981). The mean over m seeds of runs on n examples has the variance

    v_e / n  +  (v_s + v_es / n) / m

whose second part is what the spread of the runs' scores estimates, with m − 1 degrees of freedom. The bootstrap of the
seeds' mean over examples has v_e / n + v_es / (n m): adding both would count the interaction twice.

With few seeds that spread is poorly known, so the two parts are not added up to one normal variable: the difference's
distribution is the sum of a resampled one for the examples and a t for the seeds (Behrens 1929, Fisher 1935).

Examples of one document are not independent. Where documents are known, "examples" here are whole documents: their
counts are summed first (`documents.Units`), the jackknife leaves out a document, swaps exchange a document's answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric
from adapters.evaluation.significance import of_alike, resampled_sums

LEVEL = 0.05
POWER_80 = 0.8416212335729143
"""The 80 % quantile of the normal distribution."""
FEWEST = 4
"""Spreads from which a scale that they share can be told; of two or three, false alarms rise to 7 %."""
SMOOTH_FROM = 1e-12
"""A standard error below this is none."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """A method's runs on the same examples.

    Attributes:
        values: `[seeds]`, each run's score.
        influence: `[examples]`, the mean over seeds of the jackknife's pseudo-values; their mean is about the score.
        interaction: variance of the mean over seeds that is due to examples and seeds together, v_es / (n m).
        spread: variance of a run's score over seeds, v_s + v_es / n; 0 where no seed moves the method.
        freedom: degrees of freedom of `spread`; infinite where it is known to be 0.
        seeded: whether a seed moves the method. With one run of a seeded method nothing is known of its spread.
        pseudo: `[seeds, examples]`, the jackknife's pseudo-values of each run.
        draws: what each run shares with the runs of other methods of the same draw (its training examples); empty where
            it shares nothing.
    """

    values: np.ndarray
    influence: np.ndarray
    interaction: float
    spread: float
    freedom: float
    seeded: bool
    pseudo: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    draws: tuple[int, ...] = ()

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def of_one_model(self) -> bool:
        """Whether the numbers are about one trained model, and not about the method."""
        return self.seeded and len(self.values) == 1

    @property
    def seed_error(self) -> float:
        """Squared standard error of the mean over seeds."""
        return self.spread / len(self.values)


def effects(
    metric: Metric, counts: np.ndarray, score: str, *, seeded: bool = True, draws: Sequence[int] = ()
) -> Effects:
    """The effects in a method's runs.

    Args:
        metric: turns summed counts into scores.
        counts: int64 `[seeds, examples, width]`, in the same order of examples.
        score: which of the metric's scores.
        seeded: whether a seed moves the method.
        draws: of each run; see `Effects`.
    """
    examples, sums = counts.shape[1], counts.sum(1)
    values = np.asarray(metric.scores(sums)[score], np.float64)
    without = np.asarray(metric.scores((sums[:, None] - counts).astype(np.float64))[score], np.float64)
    pseudo = examples * values[:, None] - (examples - 1) * without
    return of_runs(values, pseudo, seeded=seeded, draws=draws)


def of_runs(values: np.ndarray, pseudo: np.ndarray, *, seeded: bool = True, draws: Sequence[int] = ()) -> Effects:
    """The effects in runs whose scores are taken apart already.

    Args:
        values: `[seeds]`, each run's score.
        pseudo: `[seeds, examples]`, the jackknife's pseudo-values.
        seeded: whether a seed moves the method.
        draws: of each run; see `Effects`.
    """
    interaction, spread, freedom = _components(values, pseudo)
    return Effects(
        values=values,
        influence=pseudo.mean(0),
        interaction=interaction,
        spread=spread,
        freedom=freedom,
        seeded=seeded and bool(len(values) == 1 or spread > 0),
        pseudo=pseudo,
        draws=tuple(draws),
    )


def _components(values: np.ndarray, pseudo: np.ndarray) -> tuple[float, float, float]:
    """Interaction, spread and its degrees of freedom, of runs' values (or of differences of two methods' runs)."""
    seeds, examples = pseudo.shape
    if seeds < 2:
        return 0.0, 0.0, np.inf
    own = pseudo - pseudo.mean(1, keepdims=True)
    residual = float(((own - own.mean(0)) ** 2).sum()) / max((examples - 1) * (seeds - 1), 1)
    return residual / (examples * seeds), float(values.var(ddof=1)), seeds - 1.0


def resampled_scores(
    metric: Metric, counts: Sequence[np.ndarray], score: str, *, seed: int, resamples: int
) -> np.ndarray:
    """`[resamples, rows]`: each row's mean over seeds on resampled examples, which are the same for all rows.

    Args:
        metric: turns summed counts into scores.
        counts: of each row, `[seeds, examples, width]`, in the same order of examples.
        score: which of the metric's scores.
        seed: of the resampling.
        resamples: number of resamples.
    """
    flat = [own.transpose(1, 0, 2).reshape(own.shape[1], -1) for own in counts]
    sums = resampled_sums(np.hstack(flat), seed=seed, resamples=resamples)
    ends = np.cumsum([own.shape[1] for own in flat])
    parts = zip(np.split(sums, ends[:-1], axis=1), counts, strict=True)
    scored = (metric.scores(part.reshape(resamples, len(own), -1))[score] for part, own in parts)
    return np.stack([np.asarray(values).mean(1) for values in scored], axis=1)


def moderated(rows: Sequence[Effects]) -> list[Effects]:
    """The rows, with spreads that borrow from one another where they are alike.

    With three seeds a spread is known to a factor of four. Where the spreads of all methods look like draws of one
    distribution, its scale and the degrees of freedom it is worth are estimated by moments of the spreads' logarithms
    (Smyth 2004, "Linear models and empirical Bayes methods for assessing differential expression", sec. 6.2). A
    method's spread is never taken for less than its own: one that seeds move more than the others keeps its own, with
    its own degrees of freedom, so that its false alarms are no likelier than without the others.
    """
    moved = [i for i, row in enumerate(rows) if row.spread > 0 and np.isfinite(row.freedom)]
    if len(moved) < FEWEST:
        return list(rows)
    spreads, freedom = np.array([(rows[i].spread, rows[i].freedom) for i in moved]).reshape(-1, 2).T
    out = list(rows)
    for i, spread, df in zip(moved, *_borrowed(spreads, freedom, freedom.sum()), strict=True):
        out[i] = replace(rows[i], spread=float(spread), freedom=float(df))
    return out


def _borrowed(spreads: np.ndarray, freedom: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Spreads, and their degrees of freedom, that borrow from one another as `moderated` says.

    Args:
        spreads: `[n]`, above 0.
        freedom: `[n]`, degrees of freedom of each.
        most: degrees of freedom of all of them together.
    """
    from scipy import special

    if len(spreads) < FEWEST:
        return spreads, freedom
    logs = np.log(spreads) - special.digamma(freedom / 2) + np.log(freedom / 2)
    beyond = float(logs.var(ddof=1) - special.polygamma(1, freedom / 2).mean())
    if beyond <= 0:
        prior, scale = np.inf, float((spreads * freedom).sum() / freedom.sum())
    else:
        prior = 2 * _trigamma_inverse(beyond)
        scale = float(np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2)))
    shared = np.full_like(spreads, scale)
    if np.isfinite(prior):
        shared = (prior * scale + freedom * spreads) / (prior + freedom)
    borrows = shared >= spreads
    return np.where(borrows, shared, spreads), np.where(borrows, np.minimum(prior + freedom, most), freedom)


def _trigamma_inverse(value: float) -> float:
    """The x at which the trigamma function has a value, by Newton's method (Smyth 2004, appendix)."""
    from scipy import special

    x = 0.5 + 1 / value
    for _ in range(50):
        now = special.polygamma(1, x)
        step = now * (1 - now / value) / special.polygamma(2, x)
        x += step
        if -step / x < 1e-10:
            break
    return float(x)


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
    draws = shrunk(resampled - resampled.mean(), row.interaction)
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
    of k methods on m draws, however many pairs they make.
    """
    sharing = [(i, j) for i, j in pairs if share_draws(rows[i], rows[j])]
    found = {(i, j): _components(rows[i].values - rows[j].values, rows[i].pseudo - rows[j].pseudo) for i, j in sharing}
    moved = [pair for pair, (_, spread, freedom) in found.items() if spread > 0 and np.isfinite(freedom)]
    out = {pair: Spread(interaction, spread, freedom) for pair, (interaction, spread, freedom) in found.items()}
    if not moved:
        return out
    methods = len({i for pair in moved for i in pair})
    spreads, freedom = np.array([found[pair][1:] for pair in moved]).T
    most = float(freedom.max()) * (methods - 1)
    for pair, spread, df in zip(moved, *_borrowed(spreads, freedom, most), strict=True):
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
        draws: `[resamples]`, deviations by the draw of examples, with what both rows' interactions add.
        paired: of rows that share their draws, the spread of their differences (`paired_spreads`); None computes it
            from these two rows alone.
    """
    if share_draws(one, other):
        by_draw = paired or Spread(*_components(one.values - other.values, one.pseudo - other.pseudo))
        seeds = float(np.sqrt(by_draw.spread / len(one.draws)))
        return Error(draws=shrunk(draws - draws.mean(), by_draw.interaction), seeds=seeds, freedom=by_draw.freedom)
    seeds = one.seed_error + other.seed_error
    parts = [(row.seed_error, row.freedom) for row in (one, other)]
    # Welch 1947; a part of infinite freedom adds nothing.
    below = sum(part**2 / df for part, df in parts if part > 0 and np.isfinite(df))
    return Error(
        draws=shrunk(draws - draws.mean(), one.interaction + other.interaction),
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
        """The bound below which the true difference lies with this chance at most."""
        return self.difference - self.error.quantile(1 - level) - self._unseen(level)

    def _unseen(self, level: float) -> float:
        """What units that were not drawn may differ by, where those that were differ all alike, or not at all.

        Resampling cannot know of them: 7 answers that are right by both methods do not show that these score alike
        within a point. It is the Clopper-Pearson bound of the share of other units, as of `significance.of_alike`.
        """
        return 0.0 if self.around.size or self.bounds != (0.0, 1.0) else float(1 - level ** (1 / self.units))

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

        It is no more than scores can differ by. Where no unit tells the two apart, it is the least share of units that,
        if one method is right on them and the other wrong, makes an exact test of swaps significant with that power.
        """
        from scipy import stats

        widest = self.bounds[1] - self.bounds[0]
        if self.error.size or self.bounds != (0.0, 1.0):
            return float(min(self.error.quantile(1 - LEVEL / (2 * tests)) + POWER_80 * self.error.size, widest))
        needed = int(np.ceil(np.log2(2 * tests / LEVEL)))
        return float(stats.beta.ppf(0.8, needed, self.units - needed + 1)) if needed <= self.units else widest


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
        null = difference_error(rows[i], rows[j], swapped[:, number], paired)
        around = difference_error(rows[i], rows[j], resampled[:, i] - resampled[:, j], paired)
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
