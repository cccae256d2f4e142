"""Plain training on one task after the other: what forgets."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.experiments.continual.strategies import base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sequential training."""


class Strategy(base.Strategy):
    """One model, trained on each task from where the one before left it."""

    name = "sequential"
