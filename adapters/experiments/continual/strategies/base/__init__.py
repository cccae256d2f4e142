"""What strategies share."""

from adapters.experiments.continual.strategies.base.strategy import Stage, Strategy
from adapters.methods.base.method import Method

__all__ = ["Method", "Stage", "Strategy"]
