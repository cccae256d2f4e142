"""All tasks at once, from the base model: what a model reaches that never has to forget (an upper bound)."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.experiments.continual.strategies import base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Joint training."""


class Strategy(base.Strategy):
    """One model, trained on the data of all tasks together."""

    name = "joint"
    bound = "all tasks at once"
    together = True
    continues = False
