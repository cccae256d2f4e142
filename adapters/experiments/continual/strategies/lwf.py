"""Learning without forgetting: on the new task's texts, the model's answers to earlier tasks stay what they were.

Li & Hoiem 2016, arXiv:1606.09282: distillation from the model before the task, at a temperature of 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.search_space import LogUniform, Space
from adapters.core.settings import require
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.objective import SequenceObjective
from adapters.experiments.continual.strategies import base
from adapters.experiments.continual.strategies.base.strategy import WrappedObjective
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base.task import Objective

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Learning without forgetting."""

    lwf_lambda: float = 1.0
    """Weight of the distillation loss of each earlier task."""
    lwf_temperature: float = 2.0
    """Temperature of both distributions."""


class Strategy(base.Strategy):
    """The cross-entropy, and the distillation of what the model before would have said."""

    name = "lwf"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.lwf_lambda >= 0, "lwf_lambda", settings.lwf_lambda, "0 or more")
        require(settings.lwf_temperature > 0, "lwf_temperature", settings.lwf_temperature, "above 0")

    @classmethod
    def search_space(cls) -> Space:
        """The weight."""
        return {"lwf_lambda": LogUniform(0.1, 10.0)}

    def objective(self, stage: base.Stage, objective: SequenceObjective) -> Objective:
        """With distillation, from the second task on."""
        if stage.former is None:
            return objective
        before = Heads(stage.heads.scenario, stage.learned)
        groups = [list(range(len(before.outputs)))] if before.shared else [before.of(one.name) for one in before.tasks]
        settings = self.settings
        return Distilled(
            objective,
            stage.former(),
            groups,
            strength=settings.lwf_lambda,
            temperature=settings.lwf_temperature,
        )


class Distilled(WrappedObjective):
    """The cross-entropy and, for each group of earlier outputs, T² KL(teacher ‖ student), summed over positions."""

    def __init__(
        self,
        inner: SequenceObjective,
        teacher: Any,
        groups: list[list[int]],
        *,
        strength: float,
        temperature: float,
    ) -> None:
        """Args:
        inner: the cross-entropy.
        teacher: the model before, frozen.
        groups: outputs of the teacher, and of the student, that compete with each other.
        strength: weight of the distillation.
        temperature: of both distributions.
        """
        super().__init__(inner)
        self.teacher, self.groups, self.strength, self.temperature = teacher, groups, strength, temperature

    def logits(self, model: Any, inputs: Any, targets: Any = None) -> torch.Tensor:
        """The student's, then the teacher's."""
        import torch

        with torch.no_grad():
            taught = self.teacher(**inputs).logits
        return torch.cat([self.inner.logits(model, inputs), taught.detach()], -1)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both losses, summed over labelled positions."""
        import torch.nn.functional as f

        own, taught = logits[..., : self.inner.width], logits[..., self.inner.width :]
        summed, count = self.inner.loss(own, targets)
        real = targets.flatten() != IGNORED
        student, teacher = (part.flatten(0, -2).float()[real] / self.temperature for part in (own, taught))
        for group in self.groups:
            kept = f.kl_div(
                student[:, group].log_softmax(-1), teacher[:, group].log_softmax(-1), reduction="sum", log_target=True
            )
            summed = summed + self.strength * self.temperature**2 * kept
        return summed, count
