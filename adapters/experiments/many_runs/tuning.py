"""Each method's settings chosen on dev, all with the same budget: random draws, of which ever fewer train longer.

A search tries the method's own settings first, then settings drawn from its search space. In each rung of successive
halving (Jamieson & Talwalkar 2016, arXiv:1502.07943) the best third goes on, with three times the training. A rung's
training is a run of its own, from the beginning, with a learning-rate schedule of its own length: scores within a rung
can be compared, those of different rungs cannot. A trial is an ordinary run with `trial` set, so it resumes like one,
runs under every launcher, and never scores test. Trials have a seed that no final run has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core import search_space
from adapters.core.errors import numbered
from adapters.core.files import read_json
from adapters.core.search_space import Space
from adapters.experiments.many_runs.planned_run import PlannedRun, RunOutcome
from adapters.experiments.many_runs.record import Record
from adapters.experiments.many_runs.tuners import Tuner

KEPT, RUNGS = 3, 3
"""One in so many trials goes on to the next rung, of which there are at most so many."""
SEED = 1000
"""Of every trial."""
FEWEST = 10
"""Dev examples below which nothing can be chosen."""
MOST_TRIALS = 100
"""That a budget of seconds or tokens is spent on."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Trials of one length.

    Attributes:
        fraction: of the full training.
        trials: how many of them.
    """

    fraction: float
    trials: int


def length_in_words(fraction: float) -> str:
    """The length of trials that have a fraction of the training."""
    return "the full training" if fraction == 1 else f"1/{round(1 / fraction)} of the training"


def rungs(trials: int) -> list[Rung]:
    """The rungs of a search, each of three times the training, up to the full one; without one of a single trial.

    Such a rung could choose nothing, as the final runs train the chosen settings anew.
    """
    steps = min(RUNGS - 1, int(math.log(trials, KEPT) + 1e-9))
    planned = [Rung(fraction=KEPT ** (k - steps), trials=max(trials // KEPT**k, 1)) for k in range(steps + 1)]
    return [rung for rung in planned if rung.trials > 1] or planned


def cost(trials: int) -> float:
    """What a search of so many trials costs, in full trainings."""
    return sum(rung.fraction * rung.trials for rung in rungs(trials))


def affordable(budget: float, each: float) -> int:
    """Trials that a budget pays for, given the cost of a full training, which has been spent once; 1 if none."""
    return max((n for n in range(2, MOST_TRIALS + 1) if (1 + cost(n)) * each <= budget), default=1)


def expected_best(scores: Sequence[float]) -> list[float]:
    """The expected best score after 1, 2, … of the given trials in random order, drawn without replacement.

    Σ v(i) · C(i − 1, k − 1) / C(n, k) over ascending scores v (Dodge et al. 2019, arXiv:1909.03004, have it with
    replacement, which is too low).
    """
    ascending, n = sorted(scores), len(scores)
    return [
        sum(value * math.comb(i, k - 1) for i, value in enumerate(ascending)) / math.comb(n, k) for k in range(1, n + 1)
    ]


@dataclass(kw_only=True)
class Trial:
    """One setting that is tried.

    Attributes:
        number: 0 for the method's own settings.
        settings: what it changes.
        runs: folder of its run at each fraction of the training that succeeded.
        scores: its dev score there.
        error: why it failed, if it did.
    """

    number: int
    settings: dict[str, Any]
    runs: dict[float, Path] = field(default_factory=dict)
    scores: dict[float, float] = field(default_factory=dict)
    error: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        scores = {f"{fraction:.4g}": score for fraction, score in self.scores.items()}
        return {
            "number": self.number,
            "settings": self.settings,
            "scores": scores,
            **({"error": self.error.splitlines()[-1]} if self.error else {}),
        }


Plan = Callable[[str, str, Mapping[str, Any], float], PlannedRun]
"""The run of a method on a base with changed settings, at a fraction of the training."""
Launch = Callable[[Sequence[PlannedRun]], list[RunOutcome]]
"""Runs some runs; empty where they were left to a scheduler."""


class Search:
    """The search for one method's settings on one base."""

    def __init__(self, method: str, base: str, space: Space, tuner: Tuner) -> None:
        """Args:
        method: its name.
        base: as the user named it.
        space: of its settings; if it is empty, there is nothing to search.
        tuner: proposes settings.
        """
        self.method, self.base, self.space, self.tuner = method, base, space, tuner
        self.trials = [Trial(number=0, settings={})]
        self.budgeted = 1
        self.costs: dict[str, tuple[float, int]] = {}
        """By run, seconds and tokens trained on."""

    @property
    def searched(self) -> bool:
        """Whether anything was tried; one trial is the method's own settings, which are not tried first."""
        return any(trial.scores or trial.error for trial in self.trials)

    def propose(self, trials: int) -> Iterator[Trial]:
        """Settings of further trials until there are so many, or the space has no others."""
        while len(self.trials) < trials and (settings := self.tuner.propose()) is not None:
            self.trials.append(Trial(number=len(self.trials), settings=settings))
            yield self.trials[-1]

    def best(self, fraction: float, count: int) -> list[Trial]:
        """The trials with the best dev scores at a fraction of the training; of equal ones the earlier."""
        scored = [trial for trial in self.trials if fraction in trial.scores]
        return sorted(scored, key=lambda trial: (-trial.scores[fraction], trial.number))[:count]

    def note(self, trial: Trial, fraction: float, outcome: RunOutcome) -> None:
        """Keep what came of a trial's run. One whose score is not a number has failed."""
        if outcome.error:
            trial.error = outcome.error
            self.costs[outcome.run.name] = outcome.seconds, 0
        else:
            record = read_json(outcome.folder / "scores.json")
            score = record["main"]["value"]
            if score is None or not math.isfinite(score):
                trial.error = f"its dev score is {score}"
            else:
                trial.scores[fraction], trial.runs[fraction] = float(score), outcome.folder
            self.costs[outcome.run.name] = record["seconds"], record["training"].get("tokens", 0)
        if trial.number:
            self.tuner.tell(trial.settings, None if trial.error else trial.scores[fraction])

    @property
    def seconds(self) -> float:
        """Time of all its runs."""
        return sum(seconds for seconds, _ in self.costs.values())

    @property
    def tokens(self) -> int:
        """Tokens that its runs trained on."""
        return sum(tokens for _, tokens in self.costs.values())

    @property
    def decided_at(self) -> float | None:
        """The fraction of the training at which the trials are compared last; None where every trial failed."""
        fractions = [rung.fraction for rung in rungs(self.budgeted) if self.best(rung.fraction, 1)]
        return max(fractions, default=None)

    def chosen(self) -> Trial:
        """The best trial of the last rung; the method's own settings where every trial failed."""
        decided = self.decided_at
        return self.trials[0] if decided is None else self.best(decided, 1)[0]

    def sentence(self) -> str:
        """What came of it."""
        where = f"{self.method} on {self.base}: "
        if not self.searched:
            return f"{where}nothing to search"
        trial, failed = self.chosen(), sum(bool(trial.error) for trial in self.trials)
        trials = numbered(len(self.trials), "trials")
        if (decided := self.decided_at) is None:
            return f"{where}all {trials} failed, so it runs at its default settings: {trial.error}"
        values = ", ".join(f"{name} {value}" for name, value in trial.settings.items()) or "its default settings"
        after = f" ({failed} failed)" if failed else ""
        best = f"best on dev {100 * trial.scores[decided]:.1f} after {length_in_words(decided)}"
        return f"{where}{trials}{after}, {best}: {values}"

    def record(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The search as JSON.

        Args:
            settings: values of the chosen settings, those that no trial changes included.
        """
        first = max((len([t for t in self.trials if f in t.scores]), f) for f in {1.0, *self._fractions()})[1]
        drawn = [trial.scores[first] for trial in self.trials if trial.number and first in trial.scores]
        runs = [trial.runs[first] for trial in self.trials if first in trial.runs]
        return {
            "trials": len(self.trials),
            "failed": sum(bool(trial.error) for trial in self.trials),
            "chosen": self.chosen().number,
            "settings": dict(settings),
            "space": search_space.records(self.space),
            "tuner": self.tuner.record(),
            "seconds": round(self.seconds, 1),
            "tokens": self.tokens,
            "compared_at": first,
            "default_score": self.trials[0].scores.get(first),
            "curve": expected_best(drawn) if self.tuner.independent else [],
            "resolution": resolution(runs),
            "all": [trial.record() for trial in self.trials],
        }

    def _fractions(self) -> set[float]:
        return {fraction for trial in self.trials for fraction in trial.scores}


def run(
    searches: Sequence[Search],
    plan: Plan,
    launch: Launch,
    *,
    trials: int,
    seconds: float | None = None,
    tokens: int | None = None,
) -> bool:
    """Run all searches, each rung of all of them together; False where a scheduler has yet to run some.

    Args:
        searches: one for each method and base.
        plan: makes a trial's run.
        launch: runs runs.
        trials: of each search.
        seconds: budget of each search instead, in seconds of its runs, scoring included.
        tokens: budget of each search instead, in tokens to train on; one that trains on none makes `trials`.
    """

    def try_all(pairs: Sequence[tuple[Search, Trial, float]]) -> bool:
        runs = [plan(search.method, search.base, trial.settings, fraction) for search, trial, fraction in pairs]
        outcomes = launch(runs) if runs else []
        for (search, trial, fraction), outcome in zip(pairs, outcomes, strict=bool(outcomes)):
            search.note(trial, fraction, outcome)
        return bool(outcomes) or not runs

    for search in searches:
        search.budgeted = trials if search.space else 1
    if seconds is not None or tokens is not None:
        if not try_all([(search, search.trials[0], 1.0) for search in searches if search.space]):
            return False
        for search in (one for one in searches if one.space):
            if seconds is not None:
                search.budgeted = affordable(seconds, search.seconds) if search.seconds > 0 else trials
            elif tokens is not None and search.tokens:
                search.budgeted = affordable(tokens, search.tokens)
    for search in searches:
        search.budgeted = min(search.budgeted, 1 + search.tuner.count)
    if not _first_rung(searches, try_all):
        return False
    for number in range(1, RUNGS):
        pairs = []
        for search in searches:
            planned = rungs(search.budgeted)
            if number < len(planned):
                before, now = planned[number - 1], planned[number]
                pairs += [(search, trial, now.fraction) for trial in search.best(before.fraction, now.trials)]
        if not try_all(pairs):
            return False
    return True


def _first_rung(searches: Sequence[Search], try_all: Callable[[Sequence[tuple[Search, Trial, float]]], bool]) -> bool:
    """All trials of each search at the least training; at once, unless a tuner needs their scores one by one."""
    pairs: list[tuple[Search, Trial, float]] = []
    for search in searches:
        if search.budgeted > 1:
            fraction = rungs(search.budgeted)[0].fraction
            pairs.append((search, search.trials[0], fraction))
            if search.tuner.independent:
                pairs += [(search, trial, fraction) for trial in search.propose(search.budgeted)]
    if not try_all(pairs):
        return False
    while True:
        pairs = []
        for search in searches:
            if search.budgeted > 1 and not search.tuner.independent:
                trial = next(search.propose(search.budgeted), None)
                pairs += [] if trial is None else [(search, trial, rungs(search.budgeted)[0].fraction)]
        if not pairs:
            return True
        if not try_all(pairs):
            return False


def resolution(runs: Sequence[Path]) -> float | None:
    """The difference of two trials' dev scores that the draw of dev examples alone exceeds once in twenty times.

    The median, over all other trials, of 1.96 standard errors of the difference from the best one, by the jackknife.

    Args:
        runs: folders of trials that were scored on the same examples.
    """
    from adapters.evaluation.metrics.base.metric import main_metric
    from adapters.evaluation.random_effects import effects

    if len(runs) < 2:
        return None
    found = []
    for record in map(Record.load, runs):
        metric = main_metric(record.scores["main"]["metric"], record.scores["labels"])
        found.append(effects(metric, record.counts(metric)[None], record.scores["main"]["score"]))
    best = max(found, key=lambda one: one.value)
    errors = [
        float((best.influence - one.influence).std(ddof=1)) / math.sqrt(len(one.influence))
        for one in found
        if one is not best
    ]
    return 1.96 * float(np.median(errors))
