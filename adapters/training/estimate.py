"""Estimate the time and memory of a run by timing some batches. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.core.memory import available_bytes, peak_bytes
from adapters.core.progress import duration
from adapters.tasks.base.example import Example
from adapters.training.trainer import Trainer

TIMED_BATCHES, TIMED_EXAMPLES = 20, 64
FRAGMENTATION = 1.25
"""Growth of a CPU's memory after the first steps, as tensors of varying sizes fragment the heap.
Measured on four runs (tests/benchmarks/train_throughput.py --only dry_run, and conll2003): 1.17 to 1.39."""
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimate for a run.

    Attributes:
        steps: optimizer steps, without early stopping.
        scorings: number of times that dev is scored.
        training: seconds of all steps.
        dev: seconds of scoring dev so many times.
        final: seconds of scoring the last split.
        peak: peak memory in bytes.
    """

    steps: int
    scorings: int
    training: float
    dev: float
    final: float
    peak: int

    @property
    def seconds(self) -> float:
        """Seconds in total."""
        return self.training + self.dev + self.final

    def lines(self) -> list[str]:
        """Lines to print."""
        memory = f"memory   about {self.peak / GIB:.2f} GiB at most; {available_bytes() / GIB:.1f} GiB more are free"
        if not self.steps:
            return [f"time     about {duration(self.final)} of answering", memory]
        parts = [
            f"training {duration(self.training)}",
            f"scoring dev {self.scorings} times {duration(self.dev)}",
            f"the last score {duration(self.final)}",
        ]
        return [
            f"steps    {self.steps:,}, with {self.scorings} dev scores",
            f"time     about {duration(self.seconds)} ({', '.join(parts)})",
            memory,
        ]


def of_training(
    trainer: Trainer, predict: Callable[[Sequence[Example]], Any], dev: Sequence[Example], last: Sequence[Example]
) -> Estimate:
    """Take some training steps on batches of all sizes, the largest first, and predict some examples.

    Args:
        trainer: ready to run; its model is updated.
        predict: predicts examples.
        dev: examples that are scored after every epoch.
        last: examples that are scored at the end.

    Raises:
        ModelError: a GPU's memory does not hold one row of the largest batch.
    """
    trainer.model.train()
    dataset, accumulated = trainer.dataset, trainer.plan.accumulated
    batches = sorted(dataset.batches(0, trainer.accelerator.num_processes), key=dataset.padded, reverse=True)
    # The first is slower: it allocates and selects kernels.
    trainer.step_within_memory([batches[0]] * min(accumulated, 2), trainer.say)
    chosen = batches[:: max(len(batches) // TIMED_BATCHES, 1)][:TIMED_BATCHES]
    begin = time.perf_counter()
    for batch in chosen:
        trainer.step_within_memory([batch], trainer.say)
    seconds_per_token = (time.perf_counter() - begin) / sum(dataset.padded(batch) for batch in chosen)
    seconds_per_epoch = seconds_per_token * sum(dataset.padded(batch) for batch in batches)
    plan, device = trainer.plan, trainer.accelerator.device
    return Estimate(
        steps=plan.steps,
        scorings=plan.scorings,
        training=seconds_per_epoch * plan.steps / plan.steps_per_epoch,
        dev=plan.scorings * _prediction_seconds(predict, dev),
        final=_prediction_seconds(predict, last),
        peak=int(peak_bytes(device) * (FRAGMENTATION if device.type == "cpu" else 1)),
    )


def of_answering(predict: Callable[[Sequence[Example]], Any], last: Sequence[Example], device: Any) -> Estimate:
    """The estimate for a method that does not train."""
    final = _prediction_seconds(predict, last)
    return Estimate(steps=0, scorings=0, training=0.0, dev=0.0, final=final, peak=peak_bytes(device))


def _prediction_seconds(predict: Callable[[Sequence[Example]], Any], examples: Sequence[Example]) -> float:
    """Seconds to predict all examples, extrapolated from an evenly spaced sample."""
    sample = list(examples)[:: max(len(examples) // TIMED_EXAMPLES, 1)]
    predict(sample[:2])
    begin = time.perf_counter()
    predict(sample)
    return (time.perf_counter() - begin) * len(examples) / len(sample)
