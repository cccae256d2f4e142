"""The head only, on a frozen body: the baseline for every other method.

The learning rate was chosen on dev (CoNLL-2003, minilm, 3,000 sentences, three epochs): 3e-3 57.0, 1e-2 65.2, 3e-2
68.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.core.errors import ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.methods.base.delta import AdapterDelta, AdapterTensors
from adapters.methods.base.method import TensorsMethod
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Training of the head only."""

    learning_rate: float = 3e-2
    """Peak learning rate."""
    num_train_epochs: float = 5.0
    """Number of training epochs; they are cheap without a backward pass through the body."""
    dropout: float | None = 0.0
    """Dropout probability of the base's hidden states; a linear layer on fixed features does not need it."""


class Method(TensorsMethod):
    """A frozen body and a trainable head."""

    name = "head"

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate and length of the training."""
        return {"learning_rate": LogUniform(3e-3, 1e-1), "num_train_epochs": Choice(5.0, 10.0, 20.0)}

    def check(self, base: Base, task: Task) -> None:
        """The task must have a head; one that generates has none."""
        super().check(base, task)
        if not task.has_head:
            raise ModelError(f"{task.name} has no head to train: use full, lora or prefix.")

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """Empty: the body is not changed."""
        return AdapterDelta()

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base; only the head is trainable, so no gradient is computed below it."""
        model: torch.nn.Module = self.frozen(base, task)
        return model
