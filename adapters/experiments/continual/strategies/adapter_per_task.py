"""An adapter and a head for each task on one frozen base; without the task identity, a router chooses the adapter."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.core.errors import ModelError
from adapters.experiments.continual.strategies import base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """An adapter for each task."""


class Strategy(base.Strategy):
    """The base stays as it is, so no task can change what another has learned."""

    name = "adapter_per_task"
    shared = False
    continues = False
    routed = True

    @classmethod
    def check(cls, method: type[base.Method], scenario: str) -> None:
        """As any strategy; the method must leave the base as it is."""
        super().check(method, scenario)
        if method.trains_base or method.self_contained:
            raise ModelError(
                f"{method.name} trains the base model itself, so there would be a base for each task: that is the "
                "strategy separate. Use lora, prefix, head or bottleneck."
            )
