"""Elastic weight consolidation, online: parameters that mattered to earlier tasks are held near where these left them.

Kirkpatrick et al. 2017, arXiv:1612.00796; one anchor and one running diagonal Fisher information for all earlier tasks:
Schwarz et al. 2018, "Progress & compress", arXiv:1805.06370, sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Elastic weight consolidation."""

    ewc_lambda: float = 100.0
    """Strength of the penalty: lambda / 2 times the sum of Fisher information times squared change."""
    ewc_decay: float = 1.0
    """Factor of the earlier tasks' Fisher information when a task's own is added."""
    ewc_samples: int = 200
    """Training rows that a task's Fisher information is estimated from."""


class Strategy(base.Strategy):
    """The cross-entropy, and a quadratic penalty on leaving the former weights."""

    name = "ewc"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.ewc_lambda >= 0, "ewc_lambda", settings.ewc_lambda, "0 or more")
        require(0 <= settings.ewc_decay <= 1, "ewc_decay", settings.ewc_decay, "between 0 and 1")
        require(settings.ewc_samples >= 1, "ewc_samples", settings.ewc_samples, "at least 1")
        self.fisher: dict[str, torch.Tensor] = {}

    @classmethod
    def search_space(cls) -> Space:
        """The strength."""
        return {"ewc_lambda": LogUniform(1.0, 1e4)}

    def objective(self, stage: base.Stage, objective: SequenceObjective) -> Objective:
        """With the penalty, from the second task on."""
        import torch

        if not self.fisher or stage.weights is None:
            return objective
        device = next(stage.model.parameters()).device
        parts = []
        for name, parameter in stage.model.named_parameters():
            if parameter.requires_grad and name in self.fisher:
                corner = tuple(slice(size) for size in self.fisher[name].shape)  # new outputs are free
                parts.append((parameter, corner, self.fisher[name].to(device), stage.weights[name].to(device)))

        def penalty() -> torch.Tensor:
            terms = [(f * (p[c] - anchor) ** 2).sum() for p, c, f, anchor in parts]
            return torch.stack(terms).sum() * (0.5 * float(self.settings.ewc_lambda))

        return Penalised(objective, penalty)

    def after_training(self, stage: base.Stage) -> None:
        """Add the task's Fisher information."""
        own = fisher_information(stage, self.settings.ewc_samples)
        for name, value in own.items():
            before = self.fisher.get(name)
            if before is not None:
                value[tuple(slice(size) for size in before.shape)] += self.settings.ewc_decay * before.to(value.device)
        self.fisher = {name: value.cpu() for name, value in own.items()}

    def kept(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The Fisher information; the anchor is the model itself."""
        return self.fisher, {}

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Take it back."""
        self.fisher = dict(tensors)


def fisher_information(stage: base.Stage, samples: int) -> dict[str, torch.Tensor]:
    """The diagonal of the Fisher information of the trainable parameters, by name.

    The mean, over training rows, of the squared gradient of the log-likelihood of labels that are drawn from the
    model's own distribution (with the gold labels it would be the empirical one: Kunstner et al. 2019,
    arXiv:1905.12558).
    """
    import random

    import torch

    dataset, model, objective = stage.dataset, stage.model, SequenceObjective(stage.heads)
    assert dataset is not None
    rows = list(range(len(dataset.lengths)))
    chosen = random.Random(f"fisher/{stage.settings.seed}").sample(rows, min(samples, len(rows)))
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(stage.settings.seed)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in trained.items()}
    training = model.training
    model.eval()
    with torch.enable_grad():
        for row in chosen:
            inputs, targets = dataset.collate([row], device)
            logits = objective.logits(model, inputs)
            drawn = _drawn(objective, logits.detach(), targets, generator)
            loss, _ = objective.loss(logits, drawn)
            grads = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
            for (_, total), grad in zip(sums.items(), grads, strict=True):
                if grad is not None:
                    total += grad.float() ** 2
    model.train(training)
    return {name: total / len(chosen) for name, total in sums.items()}


def _drawn(
    objective: SequenceObjective, logits: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Targets drawn from the model's distribution, at the labelled positions."""
    import torch

    from adapters.models.tokenizer import IGNORED

    flat, out = logits.flatten(0, -2).float(), targets.clone().flatten()
    real = out != IGNORED
    tasks = out[real].long() // objective.width
    competing = objective.competing(flat.device)[tasks]
    shares = flat[real].masked_fill(~competing, -torch.inf).softmax(-1).cpu()
    labels = torch.multinomial(shares, 1, generator=generator)[:, 0].to(out.device)
    out[real] = (tasks * objective.width + labels).to(out.dtype)
    return out.view_as(targets)
