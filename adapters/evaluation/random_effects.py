"""Scores of several runs on the same examples: what the draw of examples and what the draw of seeds contributes.

A run's score differs from its expectation by an effect of the examples that were drawn, one of its seed, and their
interaction (a two-way random effects model; Cornfield & Tukey 1956, "Average values of mean squares in factorials").
Scores that are not means of examples, such as F1, are taken apart by the jackknife's pseudo-values (Efron & Stein
1981). The mean over m seeds of runs on n examples has the variance

    v_e / n  +  (v_s + v_es / n) / m

whose second part is what the spread of the runs' scores estimates, with m − 1 degrees of freedom. The bootstrap of the
seeds' mean over examples has v_e / n + v_es / (n m): adding both would count the interaction twice.

Examples of one document are not independent. Where documents are known, "examples" here are whole documents: their
counts are summed first (`documents.Units`), the jackknife leaves out a document (and swaps exchange a
document's answers: `differences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from adapters.evaluation.metrics.base.metric import Metric
from adapters.evaluation.significance import resampled_sums

FEWEST = 4
"""Spreads from which a scale that they share can be told; of two or three, false alarms rise to 7 %."""


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
        draws: what each run shares with the runs of other rows of the same draw (its training examples; for an export,
            what was trained); empty where it shares nothing.
    """

    values: np.ndarray
    influence: np.ndarray
    interaction: float
    spread: float
    freedom: float
    seeded: bool
    pseudo: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    draws: tuple[int | str, ...] = ()

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
    metric: Metric, counts: np.ndarray, score: str, *, seeded: bool = True, draws: Sequence[int | str] = ()
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


def of_runs(values: np.ndarray, pseudo: np.ndarray, *, seeded: bool = True, draws: Sequence[int | str] = ()) -> Effects:
    """The effects in runs whose scores are taken apart already.

    Args:
        values: `[seeds]`, each run's score.
        pseudo: `[seeds, examples]`, the jackknife's pseudo-values.
        seeded: whether a seed moves the method.
        draws: of each run; see `Effects`.
    """
    interaction, spread, freedom = components(values, pseudo)
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


def components(values: np.ndarray, pseudo: np.ndarray) -> tuple[float, float, float]:
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
    for i, spread, df in zip(moved, *borrowed(spreads, freedom, freedom.sum()), strict=True):
        out[i] = replace(rows[i], spread=float(spread), freedom=float(df))
    return out


def borrowed(spreads: np.ndarray, freedom: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
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
