"""The head alone: the base stays as it is, one linear layer on top of it is trained.

The cheapest method, and the measure of what a base already knows of a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters import methods
from adapters.tasks import Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A head on a frozen base."""

    learning_rate: float = 5e-3
    """Peak learning rate."""


class Method(methods.Method):
    """Only parameters that the base does not have; PEFT has no such method, so there is no adapter_config.json."""

    name = "head"

    def wrap(self, base: Base, task: Task) -> torch.nn.Module:
        """The headed base with a frozen body."""
        model: torch.nn.Module = methods.headed(base, task, self.settings)
        head = methods.head_names(model, model.base_model)  # type: ignore[arg-type]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in head)
        return model

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """The head's tensors, by their names in the headed model."""
        from safetensors.torch import save_file

        trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        save_file(trained, folder / methods.WEIGHTS)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """The headed base with the saved head in it."""
        from safetensors.torch import load_file

        model = self.wrap(base, task)
        left = model.load_state_dict(load_file(folder / methods.WEIGHTS), strict=False)
        assert not left.unexpected_keys, left.unexpected_keys
        return model.requires_grad_(False)
