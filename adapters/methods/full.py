"""Full fine-tuning: every parameter is trained; the artifact is an ordinary transformers folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters import methods
from adapters.tasks import Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Full fine-tuning."""

    learning_rate: float = 1e-4
    """Peak learning rate."""


class Method(methods.Method):
    """Every parameter of base and head."""

    name = "full"
    self_contained = True
    changes_base = True
    library = "transformers"

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base as it is: all of it trains."""
        return methods.headed(base, task, self.settings)  # type: ignore[no-any-return]

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """`save_pretrained` of model and tokenizer; the folder can be a base model itself."""
        model.save_pretrained(folder)  # type: ignore[operator]
        base.text_tokenizer.save_pretrained(folder)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The saved model; the base gives only the tokenizer."""
        import torch

        from adapters.model import load_quietly

        model: torch.nn.Module = load_quietly(task.auto_class(base.kind), folder, dtype=torch.float32)
        return model
