"""The training loop on Accelerate. It is handed `score()` from above and knows neither metrics nor methods."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.alignment import IGNORED
from adapters.batching import by_length, collate, share
from adapters.errors import ModelError
from adapters.files import digest_value
from adapters.memory import check_fits, out_of_memory, saved_bytes
from adapters.optimization import adamw, schedule, start_at_prior
from adapters.progress import Bar
from adapters.settings import CommonSettings
from adapters.store import store
from adapters.tasks import Examples, Task

if TYPE_CHECKING:
    import datasets
    import torch
    from accelerate import Accelerator

    from adapters.model import Base

ENCODED_AS = 3
"""Raised when stored windows change their meaning, so that older caches are not read."""


@dataclass(kw_only=True)
class History:
    """What happened in a run of training."""

    seconds: float = 0.0
    pieces: int = 0
    steps: int = 0
    first_step_at: float = 0.0
    losses: list[float] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    best_score: float | None = None
    best_step: int = 0
    stopped_early: bool = False

    def record(self) -> dict[str, Any]:
        """For scores.json."""
        return {
            "seconds": round(self.seconds, 2),
            "pieces_per_second": round(self.pieces / max(self.seconds, 1e-9), 1),
            "steps": self.steps,
            "best_step": self.best_step,
            "stopped_early": self.stopped_early,
            "dev_scores": self.scores,
            "first_step_at": self.first_step_at,
            "last_loss": self.losses[-1] if self.losses else None,
        }


def encode_split(split: Examples, task: Task, base: Base, budget: int) -> datasets.Dataset:
    """The split's model inputs and targets, tokenised once and memory-mapped.

    Columns `input_ids`, `targets` and `token_types`, a list of numbers each; token types may be empty.
    """
    import pyarrow as pa

    made_of = [
        split.notes,
        split.dataset._fingerprint,
        task.card(),
        base.tokenizer_digest,
        base.kind,
        budget,
        ENCODED_AS,
    ]
    schema = pa.schema({name: pa.list_(pa.int32()) for name in ("input_ids", "targets", "token_types")})

    def rows() -> Iterator[dict[str, Any]]:
        pieces = base.pieces()
        for begin in range(0, len(split), 1024):
            for row in task.encode(split[begin : begin + 1024], pieces, budget, learning=True):
                yield {"input_ids": row.input_ids, "targets": row.targets, "token_types": row.token_types}

    return store(rows(), schema, digest_value(str(made_of)))


class Trainer:
    """AdamW with warm-up, clipping and early stopping; batches by length; the best model is kept.

    The loss of a step is the sum over all labelled positions of all processes and accumulated batches, divided by their
    number: neither the number of processes nor accumulation changes what is learnt.
    """

    def __init__(
        self, model: torch.nn.Module, task: Task, base: Base, train: Examples, settings: CommonSettings,
        accelerator: Accelerator, *, budget: int,
    ) -> None:  # fmt: skip
        """Args:
        model: its parameters with `requires_grad` are trained.
        task: gives inputs, targets and loss.
        base: gives the tokenizer.
        train: examples to learn from.
        settings: of the run.
        accelerator: places model and batches.
        budget: pieces of a window.
        """
        self.task, self.settings, self.accelerator = task, settings, accelerator
        self.pad_id = int(base.tokenizer.pad_token_id)
        with accelerator.main_process_first():
            self.windows = encode_split(train, task, base, budget)
        self.lengths = [len(row) for row in self.windows.with_format("numpy")["input_ids"]]
        self.steps_an_epoch = math.ceil(len(self._batches(0)) / settings.gradient_accumulation_steps)
        epochs = settings.num_train_epochs
        self.total = settings.max_train_steps or max(math.ceil(self.steps_an_epoch * epochs), 1)
        self.plain = model
        start_at_prior(model, task.prior(self.windows.with_format("numpy")["targets"]))
        self.check_memory()
        optimizer = adamw(model, settings)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.schedule = schedule(self.optimizer, settings, self.total)
        self.history = History()

    def run(self, score: Callable[[], float]) -> History:
        """Train to the end, or until `score()` (a dev score, higher is better) has not risen for the patience set."""
        settings, history = self.settings, self.history
        best: dict[str, torch.Tensor] = {}
        waited = 0
        self.model.train()
        with Bar("training", self.total, shown=self.accelerator.is_main_process) as bar:
            for epoch in range(math.ceil(self.total / self.steps_an_epoch)):
                self._epoch(epoch, bar)
                value = score()
                loss = sum(history.losses[-self.steps_an_epoch :]) / min(len(history.losses), self.steps_an_epoch)
                history.scores.append({"step": history.steps, "epoch": epoch + 1, "loss": loss, "score": value})
                bar.say(
                    f"epoch {epoch + 1}: loss {loss:.4f}, dev score {value:.2%}, {history.seconds:.0f} s of training"
                )
                if history.best_score is None or value > history.best_score:
                    history.best_score, history.best_step, waited = value, history.steps, 0
                    best = _snapshot(self.plain)
                else:
                    waited += 1
                if waited >= settings.early_stopping_patience and history.steps < self.total:
                    history.stopped_early = True
                    break
            if history.best_score == 0:
                lower = f"lower --learning_rate (it is {settings.learning_rate}) or train longer"
                bar.say(f"warning: the dev score stayed 0, the model finds nothing: {lower}.")
        _restore(self.plain, best)
        return history

    def _epoch(self, epoch: int, bar: Bar) -> None:
        """One pass over the batches, or up to the last step."""
        batches = self._batches(epoch)
        for begin in range(0, len(batches), self.settings.gradient_accumulation_steps):
            if self.history.steps >= self.total:
                return
            started = time.perf_counter()
            chosen = batches[begin : begin + self.settings.gradient_accumulation_steps]
            try:
                loss = self._step(chosen)
            except RuntimeError as error:
                if "out of memory" in str(error).lower():
                    raise out_of_memory(error, max(map(len, chosen))) from error
                raise
            history = self.history
            history.seconds += time.perf_counter() - started
            history.pieces += sum(self.lengths[row] for batch in chosen for row in batch)
            history.steps += 1
            history.losses.append(loss)
            if history.steps == 1:
                history.first_step_at = time.time()
            bar.step(f"loss {loss:.3f}  {history.pieces / history.seconds:.0f} pieces/s")

    def _step(self, batches: Sequence[Sequence[int]]) -> float:
        """One update from some batches, which all processes share. Returns the mean loss over labelled positions."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        rows = self.windows[[row for batch in batches for row in batch]]
        count = sum(target != IGNORED for targets in rows["targets"] for target in targets)
        total = 0.0
        begin = 0
        for number, batch in enumerate(batches):
            mine = [begin + i for i in share(range(len(batch)), accelerator.process_index, processes)]
            begin += len(batch)
            weight = 1.0
            if not mine:  # every process must take part in the backward pass: a row that counts nothing
                mine, weight = [begin - 1], 0.0
            inputs, targets = self._collate(rows, mine)
            last = number == len(batches) - 1
            with accelerator.autocast(), _sync(accelerator, self.model, last):
                summed, _ = self.task.loss(self.task.logits(self.model, inputs, targets), targets)
                # DDP averages gradients over processes; times their number it is the sum again.
                accelerator.backward(summed * (weight * processes / max(count, 1)))
            total += float(summed.detach()) * weight
        if processes > 1:
            import torch

            local = torch.tensor(total, dtype=torch.float64, device=accelerator.device)
            total = float(accelerator.reduce(local, reduction="sum"))
        if not math.isfinite(total):
            raise ModelError(
                f"The loss is {total} at step {self.history.steps + 1}; nothing was updated. "
                f"Lower --learning_rate ({self.settings.learning_rate}), or try --mixed_precision no."
            )
        accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(total / max(count, 1))

    def _batches(self, epoch: int) -> list[list[int]]:
        """The epoch's batches over all processes, the same in each of them."""
        settings = self.settings
        each = settings.per_device_train_batch_size
        return by_length(
            self.lengths,
            pieces=None if each else settings.train_batch_pieces,
            rows=each * self.accelerator.num_processes if each else None,
            generator=random.Random(f"{settings.seed}/{epoch}"),
        )

    def _collate(self, rows: Any, chosen: Sequence[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs and targets of some of the rows, where the model is."""
        columns = ("input_ids", "targets", "token_types")
        ids, targets, types = ([rows[name][i] for i in chosen] for name in columns)
        inputs, wanted = collate(ids, targets, self.pad_id, types)
        device = self.accelerator.device
        return {name: value.to(device) for name, value in inputs.items()}, wanted.to(device)

    def check_memory(self) -> None:
        """Refuse, before the first step, a batch that a CPU's memory cannot hold: one row is run and counted."""
        if self.accelerator.device.type != "cpu":
            return
        largest = max(self._batches(0), key=lambda batch: len(batch) * max(self.lengths[row] for row in batch))
        longest = max(largest, key=self.lengths.__getitem__)
        inputs, targets = self._collate(self.windows[[longest]], [0])
        with self.accelerator.autocast():
            self.plain.train()
            each = saved_bytes(
                lambda: self.task.loss(self.task.logits(self.plain, inputs, targets), targets)[0], self.plain
            )
        trained = sum(p.numel() for p in self.plain.parameters() if p.requires_grad)
        # A gradient, two moments and the kept best weights: four numbers of four bytes a trained parameter.
        processes = self.accelerator.num_processes  # on a CPU they share one memory
        check_fits(
            rows=math.ceil(len(largest) / processes),
            pieces=self.lengths[longest],
            row_bytes=each,
            fixed_bytes=16 * trained,
            sharing=processes,
        )


def _sync(accelerator: Accelerator, model: Any, last: bool) -> Any:
    """Gradients travel between processes only with the last batch of a step."""
    import contextlib

    return contextlib.nullcontext() if last else accelerator.no_sync(model)


def _snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of what training changes."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def _restore(model: torch.nn.Module, best: dict[str, torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in best:
                parameter.copy_(best[name])
