"""Adapters merged after each task: every task is learned alone from the base model, then all deltas become one.

TIES (Yadav et al. 2023, arXiv:2306.01708): of each delta the largest values are kept, their signs elected, and those of
the elected sign averaged; PEFT's own functions do it. The sum is scaled by a factor that is chosen on the dev examples
of all tasks, and brought back to low rank by a singular value decomposition. These dev examples are kept, and counted
as remembered examples: no other strategy but replay needs any of the tasks before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.core.errors import numbered
from adapters.core.settings import require
from adapters.experiments.continual.strategies import base
from adapters.experiments.continual.strategies.base.strategy import bytes_of

if TYPE_CHECKING:
    import torch

FACTORS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
"""Of the merged delta."""
DOWN, UP = ".lora_A.", ".lora_B."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Merged adapters."""

    merge_density: float = 0.5
    """Share of each delta's values that TIES keeps."""


class Strategy(base.Strategy):
    """One adapter, which is made of those of all tasks; these are kept, to be merged again with the next one."""

    name = "merge"
    continues = False
    low_rank = True

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(0 < settings.merge_density <= 1, "merge_density", settings.merge_density, "above 0 and at most 1")
        self.single: dict[str, dict[str, torch.Tensor]] = {}
        """Trained parameters of each task's own adapter."""
        self.size = 0
        """Bytes of the dev examples."""

    def method_settings(self, settings: Any, tasks: int) -> dict[str, Any]:
        """A rank for each task, so that a sum of all deltas would fit."""
        return {"lora_r": settings.lora_r * tasks, "lora_alpha": settings.lora_alpha * tasks}

    def before_training(self, stage: base.Stage, optimizer: torch.optim.Optimizer) -> None:
        """Train a task with the rank of one: the others stay zero."""
        import torch

        rank = self.settings.lora_r
        frozen = []
        for name, parameter in stage.model.named_parameters():
            if UP in name and parameter.requires_grad and parameter.shape[1] > rank:
                free = torch.ones_like(parameter)
                free[:, rank:] = 0
                parameter.register_hook(lambda grad, free=free: grad * free)
                frozen.append(parameter.detach()[:, rank:])

        def zero(*_: Any) -> None:
            with torch.no_grad():
                for part in frozen:
                    part.zero_()

        optimizer.register_step_post_hook(zero)

    def after_training(self, stage: base.Stage) -> None:
        """Keep the task's own adapter, and merge all."""
        import torch

        trained = {name: p.detach().cpu().clone() for name, p in stage.model.named_parameters() if p.requires_grad}
        rank = self.settings.lora_r
        for name, value in trained.items():
            trained[name] = value[:rank] if DOWN in name else value[:, :rank] if UP in name else value
        (present,) = stage.present
        self.single[present.name] = {name: value.contiguous() for name, value in trained.items()}
        self.size += sum(map(bytes_of, present.dev))
        if len(self.single) == 1:
            return
        summed = {name: self._ties(name, stage) for name in trained if DOWN in name}
        others = self._others(stage)
        best = (-1.0, 0.0, 1.0)
        parameters = dict(stage.model.named_parameters())
        for factor in FACTORS:
            with torch.no_grad():
                for name, (down, up) in summed.items():
                    parameters[name].copy_(down)
                    parameters[name.replace(DOWN, UP)].copy_(up * factor)
                for name, value in others.items():
                    parameters[name].copy_(value)
            best = max(best, (stage.score(stage.tasks), -abs(math.log(factor)), factor))  # of equals that nearest 1
        with torch.no_grad():
            for name, (_, up) in summed.items():
                parameters[name.replace(DOWN, UP)].copy_(up * best[2])
        stage.say(f"merged {numbered(len(self.single), 'adapters')}, factor {best[2]}: mean dev score {best[0]:.2%}")

    def _ties(self, name: str, stage: base.Stage) -> tuple[torch.Tensor, torch.Tensor]:
        """A and B of the merged delta of a layer, with the rank that the model has."""
        import torch

        from adapters.models.peft_library import peft

        own = [self.single[one.name] for one in stage.tasks]
        deltas = [one[name.replace(DOWN, UP)] @ one[name] for one in own]
        merged = peft.utils.merge_utils.ties(deltas, torch.ones(len(deltas)), self.settings.merge_density, "total")
        u, s, v = torch.linalg.svd(merged.float(), full_matrices=False)
        rank = self.settings.lora_r * len(own)
        root = s[:rank].sqrt()
        down, up = root[:, None] * v[:rank], u[:, :rank] * root
        if len(root) < rank:  # the layer is smaller than the rank
            down = torch.nn.functional.pad(down, (0, 0, 0, rank - len(root)))
            up = torch.nn.functional.pad(up, (0, rank - len(root)))
        return down, up

    def _others(self, stage: base.Stage) -> dict[str, torch.Tensor]:
        """What is no low-rank delta: outputs of the head averaged over the tasks that have them, a pooler over all."""
        import torch

        wholes = dict(stage.model.named_parameters())
        found = {}
        for name in self.single[stage.present[0].name]:
            if DOWN in name or UP in name:
                continue
            whole = wholes[name]
            if name not in stage.head:
                found[name] = torch.stack([self.single[one.name][name] for one in stage.tasks]).mean(0)
                continue
            total, count = torch.zeros_like(whole, device="cpu"), torch.zeros(len(whole))
            for one in stage.tasks:
                outputs = stage.heads.classes(one.name)
                total[outputs] += self._own_outputs(name, one.name, stage)
                count[outputs] += 1
            found[name] = total / count.clamp(min=1).view(-1, *[1] * (total.ndim - 1))
        return found

    def _own_outputs(self, name: str, task: str, stage: base.Stage) -> torch.Tensor:
        """A task's own outputs in the head it was trained with, which had those of the tasks before, too."""
        return self.single[task][name][stage.heads.classes(task)]

    def kept(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The tasks' own adapters."""
        return {f"{task}/{name}": value for task, own in self.single.items() for name, value in own.items()}, {
            "tasks": list(self.single),
            "bytes": self.size,
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Take them back."""
        self.single, self.size = {task: {} for task in values["tasks"]}, values.get("bytes", 0)
        for key, value in tensors.items():
            task, _, name = key.partition("/")
            self.single[task][name] = value

    def memory_bytes(self) -> int:
        """Bytes of the dev examples by which the factor is chosen."""
        return self.size
