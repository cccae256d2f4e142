"""Where a search's settings come from: random draws, or optuna's sampler, which learns from the scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from adapters.core import search_space
from adapters.core.environment import install_command
from adapters.core.errors import SettingsError
from adapters.core.search_space import Choice, LogUniform, Space

if TYPE_CHECKING:
    import optuna

NAMES = ("random", "optuna")
ATTEMPTS = 50
"""Draws that may not fit, one after the other, before a search goes on without another."""

Fits = Callable[[Mapping[str, Any]], bool]
"""Whether settings that were drawn together can be used."""


class Tuner(Protocol):
    """Proposes settings and hears of their scores."""

    independent: bool
    """Whether what it proposes does not depend on scores, so that all trials can run at once."""
    count: int
    """Settings that it can propose at most."""

    def propose(self) -> dict[str, Any] | None:
        """The next settings; None if the space has no others."""

    def tell(self, settings: Mapping[str, Any], score: float | None) -> None:
        """The dev score of proposed settings in the first rung they ran in; None if the trial failed."""

    def record(self) -> dict[str, Any]:
        """Name, seed and version."""


class RandomDraws:
    """Distinct settings, drawn at random."""

    independent = True

    def __init__(self, space: Space, seed: int, trials: int, fits: Fits) -> None:
        """Args:
        space: to draw from.
        seed: of the draws.
        trials: to draw at most, besides the method's own settings.
        fits: drops settings that cannot be used together.
        """
        self.seed = seed
        drawn = search_space.drawn(space, seed, ATTEMPTS * trials) if space else []
        self.waiting = list(itertools.islice(filter(fits, drawn), trials))
        self.count = len(self.waiting)

    def propose(self) -> dict[str, Any] | None:
        """The next draw."""
        return self.waiting.pop(0) if self.waiting else None

    def tell(self, settings: Mapping[str, Any], score: float | None) -> None:
        """Draws do not depend on scores."""

    def record(self) -> dict[str, Any]:
        """Name and seed."""
        return {"name": "random", "seed": self.seed}


class OptunaDraws:
    """What optuna's TPE sampler proposes. Its scores are those of the first rung."""

    independent = False

    def __init__(self, space: Space, seed: int, trials: int, fits: Fits) -> None:
        """Args: as of `RandomDraws`. Raises SettingsError where optuna is not installed."""
        try:
            import optuna
        except ImportError as error:
            raise SettingsError(
                f"--tuner optuna needs optuna, which is not installed: {install_command('tune')}."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.seed, self.fits, self.version = space, seed, fits, optuna.__version__
        self.sampler = optuna.samplers.TPESampler(seed=seed)
        self.study = optuna.create_study(direction="maximize", sampler=self.sampler)
        self.asked: list[tuple[dict[str, Any], optuna.Trial]] = []
        self.count = trials if space else 0

    def propose(self) -> dict[str, Any] | None:
        """What the sampler suggests next; what was tried before, or does not fit, is asked anew."""
        import optuna

        for _ in range(ATTEMPTS):
            trial = self.study.ask()
            settings: dict[str, Any] = {}
            for name, dimension in self.space.items():
                settings |= search_space.value(name, _suggested(trial, name, dimension))
            if self.fits(settings) and all(settings != before for before, _ in self.asked):
                self.asked.append((settings, trial))
                return settings
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def tell(self, settings: Mapping[str, Any], score: float | None) -> None:
        """The score of what was proposed; only the first one counts."""
        import optuna

        for known, trial in self.asked:
            if known == settings and trial.storage.get_trial(trial._trial_id).state == optuna.trial.TrialState.RUNNING:
                failed = score is None or not math.isfinite(score)
                self.study.tell(
                    trial, None if failed else score, state=optuna.trial.TrialState.FAIL if failed else None
                )

    def record(self) -> dict[str, Any]:
        """Sampler, seed and version."""
        return {"name": "optuna", "sampler": type(self.sampler).__name__, "seed": self.seed, "version": self.version}


def _suggested(trial: optuna.Trial, name: str, dimension: Any) -> Any:
    """A value of a dimension, as optuna suggests it."""
    if isinstance(dimension, LogUniform):
        return search_space.rounded(trial.suggest_float(name, dimension.low, dimension.high, log=True), dimension)
    assert isinstance(dimension, Choice), dimension
    return dimension.values[trial.suggest_categorical(name, range(len(dimension.values)))]


def tuner(name: str, space: Space, seed: int, trials: int, fits: Fits) -> Tuner:
    """The tuner of that name, which proposes at most so many settings."""
    kind = RandomDraws if name == "random" else OptunaDraws
    return kind(space, seed, trials, fits)
