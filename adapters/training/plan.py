"""How long a training is, and how often dev is scored in it, before its first step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapters.core.settings import CommonSettings
from adapters.training.train_dataset import TrainDataset

SCORINGS, UNSCORED = 20, 10
"""Dev is scored at the end of an epoch, in a training of more epochs than so many only after so many steps, or a share
of all steps if that is less: an epoch of few examples takes less time than scoring."""
FEW_STEPS = 50
"""Steps below which a training is warned about."""
FEW_LABELS = 6
"""Labels of a step below which a training is warned about. At four, LoRA learned nothing from long film reviews in 418
steps (loss 0.70); at 32 its loss fell to 0.27 in 28."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The optimizer steps of a training.

    Attributes:
        steps: in all, without early stopping.
        steps_per_epoch: of one pass over the examples.
        steps_per_score: after which dev is scored, a multiple of `steps_per_epoch`.
        note: why there are more steps than epochs were asked for; empty where there are not.
        warnings: what in it may keep the model from learning.
    """

    steps: int
    steps_per_epoch: int
    steps_per_score: int
    note: str
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, dataset: TrainDataset, settings: CommonSettings, processes: int) -> Plan:
        """The plan of a training by so many processes."""
        epochs, accumulated = settings.num_train_epochs, settings.gradient_accumulation_steps
        per_epoch = math.ceil(len(dataset.batches(0, processes)) / accumulated)
        whole = math.ceil(per_epoch * epochs)
        steps = settings.max_train_steps or max(whole, settings.min_train_steps or 1)
        note, warnings = "", []
        if not settings.max_train_steps and steps > whole:
            note = (
                f"{epochs:g} epochs would be {whole} optimizer steps; trained for {steps} (--min_train_steps), "
                f"{steps / per_epoch:.3g} epochs"
            )
        if steps < FEW_STEPS and not settings.max_train_steps:
            warnings.append(
                f"{steps} optimizer steps in all, and fewer than {FEW_STEPS} seldom train enough: "
                "--min_train_steps 200, or more --num_train_epochs, trains longer"
            )
        labels = dataset.labelled(range(len(dataset.rows))) / max(per_epoch, 1)
        if labels < FEW_LABELS and per_epoch > 1 and settings.per_device_train_batch_size is None:
            enough = math.ceil(32 / labels * accumulated)
            warnings.append(
                f"a step learns from {labels:.1f} labels on average, as texts are long, and so few may be too "
                f"noisy: --gradient_accumulation_steps {enough}"
            )
        unscored = math.ceil(min(steps / SCORINGS, UNSCORED) / per_epoch)
        return cls(
            steps=steps,
            steps_per_epoch=per_epoch,
            steps_per_score=unscored * per_epoch,
            note=note,
            warnings=tuple(warnings),
        )

    @property
    def scorings(self) -> int:
        """Times that dev is scored, without early stopping."""
        return -(-self.steps // self.steps_per_score)
