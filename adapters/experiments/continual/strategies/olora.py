"""O-LoRA: each task learns in low-rank subspaces orthogonal to those of the tasks before.

Wang et al. 2023, arXiv:2310.14152: the earlier tasks' A and B stay as they are and are used further; the new task's A
is penalised by the sum of |A_new A_oldᵀ|, as in the authors' code (eq. 8 has squares). Here the model is one LoRA
adapter whose rank grows by that of a task, so that stock PEFT loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.search_space import LogUniform, Space
from adapters.core.settings import require
from adapters.experiments.continual.objective import SequenceObjective
from adapters.experiments.continual.strategies import base
from adapters.experiments.continual.strategies.base.strategy import Penalised
from adapters.tasks.base.task import Objective

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """O-LoRA."""

    olora_lambda: float = 0.5
    """Weight of the orthogonality penalty."""


class Strategy(base.Strategy):
    """One adapter; the ranks of earlier tasks are frozen."""

    name = "olora"
    low_rank = True

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.olora_lambda >= 0, "olora_lambda", settings.olora_lambda, "0 or more")

    @classmethod
    def search_space(cls) -> Space:
        """The weight."""
        return {"olora_lambda": LogUniform(0.01, 10.0)}

    def method_settings(self, settings: Any, tasks: int) -> dict[str, Any]:
        """A rank for each task; alpha grows with it, so that the scaling stays. A pooler is low-rank, too."""
        low_rank = {"lora_train_pooler": False} if hasattr(settings, "lora_train_pooler") else {}
        return {"lora_r": settings.lora_r * tasks, "lora_alpha": settings.lora_alpha * tasks, **low_rank}

    def _sides(self, stage: base.Stage) -> list[tuple[torch.nn.Parameter, int, int]]:
        """Each A and B, the dimension of its ranks, and how many of these are earlier tasks'."""
        earlier = self.settings.lora_r * len(stage.learned)
        sides = []
        for name, parameter in stage.model.named_parameters():
            for part, dimension in ((".lora_A.", 0), (".lora_B.", 1)):
                if part in name and parameter.requires_grad:
                    sides.append((parameter, dimension, earlier))
        return sides

    def objective(self, stage: base.Stage, objective: SequenceObjective) -> Objective:
        """With the penalty, from the second task on."""
        import torch

        downs = [(side, earlier) for side, dimension, earlier in self._sides(stage) if dimension == 0 and earlier]
        if not downs:
            return objective

        def penalty() -> torch.Tensor:
            overlaps = [(a[earlier:] @ a[:earlier].detach().T).abs().sum() for a, earlier in downs]
            return torch.stack(overlaps).sum() * float(self.settings.olora_lambda)

        return Penalised(objective, penalty)

    def before_training(self, stage: base.Stage, optimizer: torch.optim.Optimizer) -> None:
        """Keep the earlier ranks as they are: no gradient reaches them, and no weight decay shrinks them."""
        import torch

        frozen = []
        for parameter, dimension, earlier in self._sides(stage):
            if not earlier:
                continue
            free = torch.ones_like(parameter)
            free.narrow(dimension, 0, earlier).zero_()
            parameter.register_hook(lambda grad, free=free: grad * free)  # type: ignore[no-untyped-call]
            part = parameter.detach().narrow(dimension, 0, earlier)
            frozen.append((part, part.clone()))

        def put_back(*_: Any) -> None:
            with torch.no_grad():
                for part, value in frozen:
                    part.copy_(value)

        optimizer.register_step_post_hook(put_back)
