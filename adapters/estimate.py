"""What a run will take, before it runs: some batches are computed and timed, nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.memory import available_bytes, peak_bytes
from adapters.tasks import Example
from adapters.training import Trainer

TIMED, ANSWERED = 20, 64
"""Batches and examples that are timed."""
HOLES = 1.25
"""By what a CPU's memory grows behind the first steps: tensors of ever other sizes leave holes that nothing fits into.
Measured on four runs (tests/benchmarks/train_throughput.py --only dry_run, and conll2003): 1.17 to 1.39."""
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of a run: steps, seconds of each part, and bytes.

    Attributes:
        steps: optimizer steps, should no early stopping end it.
        epochs: times that dev is scored.
        training: seconds of the steps.
        dev: seconds of scoring dev so often.
        final: seconds of scoring the last split.
        peak: bytes held at once, at most.
    """

    steps: int
    epochs: int
    training: float
    dev: float
    final: float
    peak: int

    @property
    def seconds(self) -> float:
        """Of everything that is estimated."""
        return self.training + self.dev + self.final

    def lines(self) -> list[str]:
        """For the screen."""
        said = [f"memory   about {self.peak / GIB:.2f} GiB at most; {available_bytes() / GIB:.1f} GiB more are free"]
        if not self.steps:
            return [f"time     about {spoken(self.final)} of answering", *said]
        parts = [f"training {spoken(self.training)}", f"scoring dev {self.epochs} times {spoken(self.dev)}",
                 f"the last score {spoken(self.final)}"]  # fmt: skip
        return [
            f"steps    {self.steps:,}, with a dev score after each of {self.epochs} epochs",
            f"time     about {spoken(self.seconds)} ({', '.join(parts)})",
            *said,
        ]


def of_training(
    trainer: Trainer, predict: Callable[[Sequence[Example]], Any], dev: Sequence[Example], last: Sequence[Example]
) -> Estimate:
    """Take some steps on batches of every size, the largest first, and answer some examples.

    Args:
        trainer: ready to run; its model is changed.
        predict: answers examples.
        dev: what is scored after every epoch.
        last: what is scored at the end.
    """
    trainer.model.train()
    windows, accumulated = trainer.windows, trainer.settings.gradient_accumulation_steps
    batches = sorted(windows.batches(0, trainer.accelerator.num_processes), key=windows.padded, reverse=True)
    trainer._step([batches[0]] * min(accumulated, 2))  # the first is slower: memory is taken, kernels are chosen
    chosen = batches[:: max(len(batches) // TIMED, 1)][:TIMED]
    begin = time.perf_counter()
    for batch in chosen:
        trainer._step([batch])
    a_piece = (time.perf_counter() - begin) / sum(windows.padded(batch) for batch in chosen)
    an_epoch = a_piece * sum(windows.padded(batch) for batch in batches)
    epochs = -(-trainer.total // trainer.steps_an_epoch)
    return Estimate(
        steps=trainer.total, epochs=epochs, training=an_epoch * trainer.total / trainer.steps_an_epoch,
        dev=epochs * _answering(predict, dev), final=_answering(predict, last),
        peak=int(peak_bytes(trainer.accelerator.device) * (HOLES if trainer.accelerator.device.type == "cpu" else 1)),
    )  # fmt: skip


def of_answering(predict: Callable[[Sequence[Example]], Any], last: Sequence[Example], device: Any) -> Estimate:
    """Of a method that trains nothing."""
    return Estimate(steps=0, epochs=0, training=0.0, dev=0.0, final=_answering(predict, last), peak=peak_bytes(device))


def _answering(predict: Callable[[Sequence[Example]], Any], examples: Sequence[Example]) -> float:
    """Seconds of answering them, from a part of them that is spread over the whole."""
    some = list(examples)[:: max(len(examples) // ANSWERED, 1)]
    predict(some[:2])
    begin = time.perf_counter()
    predict(some)
    return (time.perf_counter() - begin) * len(examples) / len(some)


def spoken(seconds: float) -> str:
    """As people say it: `45 s`, `5 min 20 s`, `3 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
