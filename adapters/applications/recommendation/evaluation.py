"""How well items are recommended: each case is a ranking of items, scored by where its targets are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.applications.base.scores import group_sums, mean, resampled_means
from adapters.applications.recommendation.events import Case
from adapters.core.holm import holm
from adapters.evaluation.differences import differences
from adapters.evaluation.random_effects import of_runs

System = Callable[[Case, np.ndarray], np.ndarray]
"""From a case and bool `[items]`, those that are ranked, to scores of all items, float `[items]`."""
METRICS = ("AUC", "MRR", "nDCG@5", "nDCG@10", "recall@50")
MAIN = "nDCG@10"
SHOWN = 10
"""Items of a list, for coverage and diversity."""
ALL, SAMPLED, WARM, COLD, NEW, KNOWN = "all items", "sampled", "warm items", "cold items", "new users", "known users"
DRAWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Cases, and of each the items among which its targets are ranked.

    Attributes:
        name: of the slice.
        cases: with the targets that are in it.
        among: bool `[cases, items]` by case: which items are ranked.
    """

    name: str
    cases: tuple[Case, ...]
    among: Callable[[Case], np.ndarray]


def slices(cases: Sequence[Case], cold: np.ndarray, groups: Mapping[str, np.ndarray]) -> list[Slice]:
    """All cases among all items; warm and cold items apart; new and known users apart; and the sampled candidates.

    Warm targets are ranked among warm items, and cold ones among cold ones, so that no system gains by what it does
    with the others.

    Args:
        cases: of the test.
        cold: bool `[items]`, items without a like before the test.
        groups: further kinds of items, by name, bool `[items]`.
    """

    def everything(case: Case) -> np.ndarray:
        return _unseen(case, len(cold))

    def only(kind: np.ndarray) -> Callable[[Case], np.ndarray]:
        return lambda case: _unseen(case, len(cold)) & kind

    found = [Slice(name=ALL, cases=tuple(cases), among=everything)]
    for name, kind in ((WARM, ~cold), (COLD, cold), *groups.items()):
        found.append(Slice(name=name, cases=_targets(cases, kind), among=only(kind)))
    for name, new in ((NEW, True), (KNOWN, False)):
        found.append(Slice(name=name, cases=tuple(case for case in cases if case.new is new), among=everything))
    given = tuple(case for case in cases if case.candidates is not None)

    def sampled(case: Case) -> np.ndarray:
        among = np.zeros(len(cold), bool)
        among[list(case.candidates or ())] = True
        return among

    found.append(Slice(name=SAMPLED, cases=given, among=sampled))
    return [one for one in found if one.cases]


def _unseen(case: Case, items: int) -> np.ndarray:
    among = np.ones(items, bool)
    among[list(case.seen)] = False
    return among


def _targets(cases: Sequence[Case], kind: np.ndarray) -> tuple[Case, ...]:
    """The cases that have targets of a kind, with these alone."""
    from dataclasses import replace

    chosen = ((case, tuple(target for target in case.targets if kind[target])) for case in cases)
    return tuple(replace(case, targets=targets) for case, targets in chosen if targets)


def case_scores(scores: np.ndarray, among: np.ndarray, targets: Sequence[int], tie: np.ndarray) -> np.ndarray:
    """The metrics of one ranking, in the order of `METRICS`.

    AUC counts equal scores half, as scikit-learn's `roc_auc_score`; it is nan where all that is ranked is a target. For
    the others equal scores are put in a random order, which is the same for all systems.

    Args:
        scores: float `[items]`.
        among: bool `[items]`, those that are ranked.
        targets: numbers of items, all among them.
        tie: `[items]`, random numbers.
    """
    from scipy.stats import rankdata

    numbers = np.flatnonzero(among)
    values = np.asarray(scores, float)[numbers]
    right = np.isin(numbers, list(targets))
    order = np.lexsort((tie[numbers], -values))
    hits = right[order]
    hit, count = int(right.sum()), len(numbers)
    below = rankdata(values)[right].sum() - hit * (hit + 1) / 2
    auc = below / (hit * (count - hit)) if count > hit else np.nan
    gains = 1 / np.log2(np.arange(2, 12))
    ndcg = [float(hits[:k] @ gains[: min(k, count)]) / gains[: min(k, hit)].sum() for k in (5, 10)]
    return np.array([auc, 1 / (1 + int(hits.argmax())), *ndcg, hits[:50].sum() / hit])


@dataclass(frozen=True, kw_only=True)
class SystemScores:
    """A system on a slice.

    Attributes:
        values: `[cases, metrics]`.
        coverage: share of the items that were ranked for somebody and are in somebody's list of 10.
        diversity: 1 - the mean cosine of two items of a list, over lists.
    """

    values: np.ndarray
    coverage: float
    diversity: float


def scored(system: System, part: Slice, frozen: np.ndarray, seed: int) -> SystemScores:
    """Score a system on a slice.

    Args:
        system: ranks.
        part: the slice.
        frozen: float `[items, hidden]`, vectors of the base without adapters, by which lists are called diverse.
        seed: of the order of equal scores.
    """
    tie = np.random.default_rng([seed, 1]).random(len(frozen))
    rows, lists, ranked = [], [], np.zeros(len(frozen), bool)
    for case in part.cases:
        among = part.among(case)
        scores = np.where(among, system(case, among), -np.inf)
        rows.append(case_scores(scores, among, case.targets, tie))
        lists.append(np.lexsort((tie, -scores))[: min(SHOWN, int(among.sum()))])
        ranked |= among
    shown = np.unique(np.concatenate(lists))
    diverse = [1 - _mean_cosine(frozen[one]) for one in lists if len(one) > 1]
    return SystemScores(
        values=np.stack(rows),
        coverage=len(shown) / max(int(ranked.sum()), 1),
        diversity=float(np.mean(diverse)) if diverse else float("nan"),
    )


def _mean_cosine(vectors: np.ndarray) -> float:
    """Of two different vectors of length 1."""
    count = len(vectors)
    total = float((vectors.sum(0) ** 2).sum()) - float((vectors**2).sum())
    return total / (count * (count - 1))


def evaluate(systems: Mapping[str, System], parts: Sequence[Slice], frozen: np.ndarray, seed: int) -> dict[str, Any]:
    """Scores of systems on slices, as JSON; the first system is the one that the others are compared with.

    Intervals are percentile bootstraps over users, whose cases are drawn together. A difference of the first system
    from another in nDCG@10 is tested by swapping the two systems' scores of all of a user's cases at random; p is
    adjusted by Holm's method over the others. It is about these trained models: what another seed would change is not
    in it.
    """
    found: dict[str, Any] = {}
    for part in parts:
        results = {name: scored(system, part, frozen, seed) for name, system in systems.items()}
        rows = []
        numbers: dict[str, int] = {}
        users = np.array([numbers.setdefault(case.user, len(numbers)) for case in part.cases])
        tests = compared([one.values[:, METRICS.index(MAIN)] for one in results.values()], seed, users)
        for (name, one), test in zip(results.items(), [None, *tests], strict=True):
            there = ~np.isnan(one.values)
            values = {
                metric: mean(one.values[there[:, place], place], seed, users[there[:, place]])
                for place, metric in enumerate(METRICS)
                if there[:, place].any()
            }
            row = {"name": name, **values, "coverage": one.coverage, "diversity": one.diversity}
            rows.append(row if test is None else {**row, "difference": test})
        targets = sum(len(case.targets) for case in part.cases)
        found[part.name] = {"cases": len(part.cases), "users": len(numbers), "targets": targets, "systems": rows}
    return found


def compared(values: Sequence[np.ndarray], seed: int, users: np.ndarray | None = None) -> list[dict[str, float]]:
    """Of the first system's scores `[cases]` and each other's: difference, its 95 % interval, p and Holm's p.

    Args:
        values: of each system.
        seed: of what is drawn.
        users: `[cases]`, the number of each one's user. None: each its own.
    """
    users = np.arange(len(values[0])) if users is None else users
    cases = np.stack(values, 1)
    own = group_sums(cases, users)
    if len(values) < 2 or len(own) < 2:
        return [{} for _ in values[1:]]
    # A user's part of the mean over cases, so that to swap it is to swap all of the user's cases.
    parts = own * (len(own) / len(cases))
    rows = [of_runs(np.array([part.mean()]), part[None], seeded=False) for part in parts.T]
    drawn = resampled_means(cases, users, seed)
    pairs = [(0, other) for other in range(1, len(values))]
    tests = differences(rows, drawn, pairs, seed=seed, resamples=DRAWS)
    adjusted = holm([test.p for test in tests])
    return [
        {"value": test.difference, "low": test.low, "high": test.high, "p": test.p, "p_adjusted": p}
        for test, p in zip(tests, adjusted, strict=True)
    ]
