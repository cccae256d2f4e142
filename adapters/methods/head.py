"""The head alone: the body stays as it was trained, and is only read. What every other method must beat.

The rate was chosen on dev (CoNLL-2003, minilm, 3,000 sentences, three epochs): 3e-3 57.0, 1e-2 65.2, 3e-2 68.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters import methods
from adapters.changes import Change, Saved
from adapters.errors import ModelError
from adapters.tasks import Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The head alone."""

    learning_rate: float = 3e-2
    """Peak learning rate."""
    num_train_epochs: float = 5.0
    """Passes over the training examples; without a backward pass through the body they are cheap."""
    dropout: float | None = 0.0
    """Dropout of the base's hidden states while training: a linear layer on fixed features has no need of it."""


class Method(methods.TensorsMethod):
    """A frozen body under a trained head."""

    name = "head"

    def check(self, base: Base, task: Task) -> None:
        """A task that generates has no head of its own to train."""
        super().check(base, task)
        if not task.has_head:
            raise ModelError(f"{task.name} has no head to train alone: use full, lora or prefix.")

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """Nothing: the body is the base's."""
        return Change()

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base; only the head takes gradients, so none is computed below it."""
        model: torch.nn.Module = self.frozen(base, task)
        return model
