"""Full fine-tuning of every parameter, but of word embeddings that are most of them.

The artifact is an ordinary transformers folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.core.search_space import Choice, LogUniform, Space
from adapters.methods.base.method import Method as BaseMethod
from adapters.methods.base.method import headed
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Full fine-tuning."""

    learning_rate: float = 1e-4
    """Peak learning rate."""
    train_embeddings: bool | None = None
    """Train the word embeddings, too. Default: unless they are three quarters of the base's parameters or more, as in
    multilingual bases (e5), and its output layer does not share them."""


class Method(BaseMethod):
    """Trains every parameter of base and head, but large word embeddings."""

    name = "full"
    self_contained = True
    trains_base = True
    library = "transformers"

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate and length of the training."""
        return {"learning_rate": LogUniform(3e-5, 1e-3), "num_train_epochs": Choice(3.0, 5.0, 10.0)}

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The headed base; all of it is trainable, but word embeddings that are most of it."""
        from adapters.models import word_embeddings

        model: torch.nn.Module = headed(base, task, self.settings)
        word_embeddings.set_training(model, self.settings.train_embeddings)
        return model

    def left_out(self, model: torch.nn.Module) -> str:
        """Its word embeddings, where they do not train."""
        from adapters.models import word_embeddings

        return word_embeddings.left_out(model)

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Save model and tokenizer by `save_pretrained`; the folder can itself be used as a base model."""
        model.save_pretrained(folder)  # type: ignore[operator]
        base.tokenizer.save_pretrained(folder)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The saved model; only the tokenizer is taken from the base."""
        import torch

        from adapters.models.base_model import load_quietly

        model: torch.nn.Module = load_quietly(task.auto_class(base.kind), folder, dtype=torch.float32)
        return model
