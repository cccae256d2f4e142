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
"""Labels of a step below which it is too noisy: of four, LoRA learned nothing from long film reviews in 418 steps (loss
0.70); of 32 its loss fell to 0.27 in 28."""
ENOUGH_LABELS = 16
"""Labels of a step whose batches are accumulated because one has too few."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The optimizer steps of a training.

    Attributes:
        accumulated: batches of a step.
        steps: in all, without early stopping.
        steps_per_epoch: of one pass over the examples.
        steps_per_score: after which dev is scored, a multiple of `steps_per_epoch`.
        notes: what was chosen: batches of a step, and more steps than epochs were asked for.
        warnings: what in it may keep the model from learning.
    """

    accumulated: int
    steps: int
    steps_per_epoch: int
    steps_per_score: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, dataset: TrainDataset, settings: CommonSettings, processes: int) -> Plan:
        """The plan of a training by so many processes."""
        batches = len(dataset.batches(0, processes))
        labels = dataset.labelled(range(len(dataset.rows))) / max(batches, 1)
        notes, warnings = [], []
        accumulated = settings.gradient_accumulation_steps or 1
        few = 0 < labels * accumulated < FEW_LABELS and accumulated < batches
        if few and settings.per_device_train_batch_size is None:
            enough = min(math.ceil(ENOUGH_LABELS / labels), batches)
            learned = f"{labels * accumulated:.1f} labels on average, as texts are long"
            if settings.gradient_accumulation_steps is None:
                accumulated = enough
                notes.append(f"a batch has {learned}: {enough} make a step (--gradient_accumulation_steps)")
            else:
                warnings.append(
                    f"a step learns from {learned}, and so few may be too noisy: --gradient_accumulation_steps {enough}"
                )
        epochs, per_epoch = settings.num_train_epochs, math.ceil(batches / accumulated)
        whole = math.ceil(per_epoch * epochs)
        steps = settings.max_train_steps or max(whole, settings.min_train_steps or 1)
        if not settings.max_train_steps and steps > whole:
            notes.append(
                f"{epochs:g} epochs would be {whole} optimizer steps; trained for {steps} (--min_train_steps), "
                f"{steps / per_epoch:.3g} epochs"
            )
        if steps < FEW_STEPS and not settings.max_train_steps:
            warnings.append(
                f"{steps} optimizer steps in all, and fewer than {FEW_STEPS} seldom train enough: "
                "--min_train_steps 200, or more --num_train_epochs, trains longer"
            )
        unscored = math.ceil(min(steps / SCORINGS, UNSCORED) / per_epoch)
        return cls(
            accumulated=accumulated,
            steps=steps,
            steps_per_epoch=per_epoch,
            steps_per_score=unscored * per_epoch,
            notes=tuple(notes),
            warnings=tuple(warnings),
        )

    @property
    def scorings(self) -> int:
        """Times that dev is scored, without early stopping."""
        return -(-self.steps // self.steps_per_score)
