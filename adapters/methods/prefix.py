"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190) by PEFT: trained keys and values in front of every layer's own.

The reparametrising MLP (`--prefix_projection`) is a way to train the same prefix: what is saved is the prefix alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import methods
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Prefix tuning."""

    learning_rate: float = 1e-2
    """Peak learning rate."""
    num_virtual_tokens: int = 16
    """Length of the prefix; the text has so many positions less."""
    prefix_projection: bool = False
    """Train the prefix through an MLP, which is not saved."""


class Method(methods.Method):
    """PEFT's prefix tuning with the head trained whole beside it."""

    name = "prefix"
    library = "peft"
    kinds = (ENCODER, CAUSAL)

    def __init__(self, settings: Any) -> None:
        """Args: settings: `num_virtual_tokens` and `prefix_projection` of `Settings`."""
        super().__init__(settings)
        require(settings.num_virtual_tokens >= 1, "num_virtual_tokens", settings.num_virtual_tokens, "at least 1")

    @property
    def virtual_tokens(self) -> int:
        """The prefix takes positions from the text."""
        return int(self.settings.num_virtual_tokens)

    def wrap(self, base: Base, task: Task) -> torch.nn.Module:
        """The headed base, frozen, with a prefix and a trained head."""
        import peft

        model = methods.headed(base, task, self.settings)
        config = peft.PrefixTuningConfig(
            task_type=peft.TaskType.TOKEN_CLS,
            num_virtual_tokens=self.virtual_tokens,
            prefix_projection=self.settings.prefix_projection,
            encoder_hidden_size=base.config.hidden_size,
        )
        wrapped: torch.nn.Module = peft.get_peft_model(model, config)
        config.base_model_name_or_path = base.name
        return wrapped

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """PEFT's own folder."""
        model.save_pretrained(folder, save_embedding_layers=False)  # type: ignore[operator]

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """PEFT's own loading, onto the headed base."""
        import peft

        model = methods.headed(base, task, self.settings)
        wrapped: torch.nn.Module = peft.PeftModel.from_pretrained(model, folder)
        return wrapped
