"""A model for each task, trained alone, answering with the task identity given: no sharing, no forgetting."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.experiments.continual.strategies import base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Separate models."""


class Strategy(base.Strategy):
    """A model of its own for each task, from the base model."""

    name = "separate"
    bound = "a model for each task"
    shared = False
    continues = False

    @classmethod
    def same_training(cls, method: type[base.Method]) -> str:
        """With a method that leaves the base as it is, a model of its own is an adapter of its own."""
        return "" if method.trains_base or method.self_contained else "adapter_per_task"
