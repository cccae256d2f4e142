"""The training loop on Accelerate. It is handed `score()` from above and knows neither metrics nor methods."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adapters.attention import attention, leave_masks_out
from adapters.batching import share
from adapters.errors import ModelError
from adapters.history import History
from adapters.memory import free_cache, out_of_memory, rows_that_fit, saved_bytes
from adapters.optimization import adamw, schedule, start_at_prior
from adapters.progress import Bar
from adapters.settings import CommonSettings
from adapters.sharding import name_layers, whole
from adapters.stopping import Stopping, stop
from adapters.tasks import CAUSAL, Examples, Task
from adapters.training_state import captured, put, put_back, trained
from adapters.windows import Windows

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from adapters.checkpoint import Checkpoint, Checkpoints
    from adapters.model import Base

BEST, EPOCH = "best", "epoch"
SHOWN = 16


class Trainer:
    """AdamW with warm-up, clipping and early stopping; batches by length; the best model is kept.

    The loss of a step is the sum over all labelled positions of all processes and accumulated batches, divided by their
    number: neither the number of processes nor accumulation changes what is learnt.
    """

    def __init__(
        self, model: torch.nn.Module, task: Task, base: Base, train: Examples, settings: CommonSettings,
        accelerator: Accelerator, *, budget: int, checkpoints: Checkpoints,
    ) -> None:  # fmt: skip
        """Args:
        model: its parameters with `requires_grad` are trained.
        task: gives inputs, targets and loss.
        base: gives the tokenizer.
        train: examples to learn from.
        settings: of the run.
        accelerator: places model and batches.
        budget: pieces of a window.
        checkpoints: where they are written.
        """
        self.checkpoints = checkpoints
        self.parts, self.waited = 1, 0
        self.best: dict[str, torch.Tensor] = {}
        self.order: tuple[int, list[list[int]]] | None = None
        self.task, self.settings, self.accelerator = task, settings, accelerator
        with accelerator.main_process_first():
            self.windows = Windows(train, task, base, settings, budget=budget)
        self.steps_an_epoch = math.ceil(
            len(self.windows.batches(0, accelerator.num_processes)) / settings.gradient_accumulation_steps
        )
        epochs = settings.num_train_epochs
        self.total = settings.max_train_steps or max(math.ceil(self.steps_an_epoch * epochs), 1)
        self.plain = model
        start_at_prior(model, task.prior(self.windows.targets))
        if base.kind == CAUSAL:
            with accelerator.autocast():  # layers of fewer bits take nothing wider
                leave_masks_out(model)
        self.check_memory()
        optimizer = adamw(model, settings)
        name_layers(accelerator, model)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.schedule = schedule(self.optimizer, settings, self.total)
        self.history = History()

    def run(self, score: Callable[[], float]) -> History:
        """Train to the end, or until `score()` (a dev score, higher is better) has not risen for the patience set.

        Ctrl-C and SIGTERM end it behind the step that is being made, with a checkpoint.
        """
        history = self.history
        self.model.train()
        bar = Bar("training", self.total, shown=self.accelerator.is_main_process, done=history.steps)
        with bar, Stopping() as stopping:
            while not history.stopped_early:
                if self._epoch_ended():
                    self._judge(score(), bar)
                elif history.steps >= self.total:
                    break
                else:
                    self._advance(bar)
                due = self._due()
                asked = self._agreed(stopping.number)
                if due or asked:
                    self._keep(bar, stopped=bool(asked))
                if asked:
                    stop(asked)
            if history.best_score == 0:
                lower = f"lower --learning_rate (it is {self.settings.learning_rate}) or train longer"
                bar.say(f"warning: the dev score stayed 0, the model finds nothing: {lower}.")
        put(self.plain, self.best)
        return history

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same run: every number is what it was."""
        state, tensors = checkpoint.state, checkpoint.tensors
        put_back(tensors, state, self.plain, self.optimizer, self.schedule, self.accelerator)
        self.history = History(**state["history"])
        self.waited, self.parts = state["waited"], state["parts"]
        self.best = tensors.get(BEST, {})

    def _keep(self, bar: Bar, *, stopped: bool) -> None:
        """Write a checkpoint; where the run is stopped, say how to go on."""
        tensors, state = captured(self.plain, self.optimizer, self.schedule, self.accelerator)
        if self.best:
            tensors[BEST] = self.best
        state |= {"history": asdict(self.history), "waited": self.waited, "parts": self.parts}
        if self.accelerator.is_main_process:
            path = self.checkpoints.save(self.history.steps, tensors, state)
            if stopped:
                bar.say(f"stopped behind step {self.history.steps}; {path} holds it. "
                        "To go on: the same command with --resume_from_checkpoint latest")  # fmt: skip
        self.accelerator.wait_for_everyone()

    def _due(self) -> bool:
        """Whether a checkpoint is to be written now: every so many steps, or behind an epoch's score."""
        every, steps = self.settings.checkpointing_steps, self.history.steps
        judged = bool(self.history.scores) and self.history.scores[-1]["step"] == steps
        if every is None or every == EPOCH:
            return every == EPOCH and judged
        return steps % int(every) == 0 and not judged

    def _agreed(self, number: int) -> int:
        """The signal that any process was sent: all of them stop behind the same step."""
        if self.accelerator.num_processes == 1:
            return number
        import torch
        import torch.distributed as dist

        found = torch.tensor(number, device=self.accelerator.device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def _epoch_ended(self) -> bool:
        """Whether an epoch has ended that is not judged yet."""
        steps = self.history.steps
        judged = self.history.scores[-1]["step"] if self.history.scores else 0
        return steps > judged and (steps % self.steps_an_epoch == 0 or steps >= self.total)

    def _judge(self, value: float, bar: Bar) -> None:
        """Note an epoch's dev score, and keep the weights if it is the best so far."""
        history = self.history
        size = (history.steps - 1) % self.steps_an_epoch + 1
        loss = sum(history.losses[-size:]) / size
        epoch = math.ceil(history.steps / self.steps_an_epoch)
        history.scores.append({"step": history.steps, "epoch": epoch, "loss": loss, "score": value})
        self.accelerator.log({"dev/score": value, "dev/epoch": epoch}, step=history.steps)
        bar.say(f"epoch {epoch}: loss {loss:.4f}, dev score {value:.2%}, {history.seconds:.0f} s of training")
        if history.best_score is None or value > history.best_score:
            history.best_score, history.best_step, self.waited = value, history.steps, 0
            self.best = {name: tensor.clone() for name, tensor in trained(self.plain).items()}
        else:
            self.waited += 1
        history.stopped_early = self.waited >= self.settings.early_stopping_patience and history.steps < self.total

    def _advance(self, bar: Bar) -> None:
        """One step."""
        history, accumulated = self.history, self.settings.gradient_accumulation_steps
        epoch, number = divmod(history.steps, self.steps_an_epoch)
        if self.order is None or self.order[0] != epoch:
            self.order = epoch, self.windows.batches(epoch, self.accelerator.num_processes)
        chosen = self.order[1][number * accumulated : (number + 1) * accumulated]
        started = time.perf_counter()
        loss = self._fitting_step(chosen, bar)
        history.seconds += time.perf_counter() - started
        history.pieces += sum(self.windows.lengths[row] for batch in chosen for row in batch)
        history.steps += 1
        history.losses.append(loss)
        if history.first_step_at == 0:
            history.first_step_at = time.time()
        rate = history.pieces / history.seconds
        told = {
            "train/loss": loss,
            "train/learning_rate": self.schedule.get_last_lr()[0],
            "train/pieces_per_second": rate,
        }
        self.accelerator.log(told, step=history.steps)
        dev = f"  dev {history.scores[-1]['score']:.2%}" if history.scores else ""
        bar.step(f"loss {loss:.3f}{dev}  {rate:.0f} pieces/s")

    def _fitting_step(self, chosen: Sequence[Sequence[int]], bar: Bar) -> float:
        """One step; where a GPU's memory does not hold its batches, each is computed in more parts, with one result."""
        while True:
            try:
                return self._step(chosen)
            except RuntimeError as error:
                if "out of memory" not in str(error).lower():
                    raise
                rows = math.ceil(max(map(len, chosen)) / self.parts)
                if rows < 2 or self.accelerator.num_processes > 1:
                    raise out_of_memory(error, rows) from error
            self.optimizer.zero_grad()
            self.parts *= 2
            free_cache()
            bar.say(f"out of memory with {rows} rows at once: from here on a batch is computed in {self.parts} parts.")

    def _step(self, batches: Sequence[Sequence[int]]) -> float:
        """One update from some batches, which all processes share. Returns the mean loss over labelled positions."""
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        chosen = [row for batch in batches for row in batch]
        count = self.windows.labelled(chosen)
        summed: list[torch.Tensor] = []
        for number, batch in enumerate(batches):
            mine, weight = share(batch, accelerator.process_index, processes), 1.0
            if not mine:  # every process must take part in the backward pass: a row that counts nothing
                mine, weight = [batch[-1]], 0.0
            size = math.ceil(len(mine) / self.parts)
            for at in range(0, len(mine), size):
                inputs, targets = self.windows.collate(mine[at : at + size], accelerator.device)
                last = number == len(batches) - 1 and at + size >= len(mine)
                with accelerator.autocast(), self._attention(inputs), _sync(accelerator, self.model, last):
                    loss, _ = self.task.loss(self.task.logits(self.model, inputs, targets), targets)
                    # DDP averages gradients over processes; times their number it is the sum again.
                    accelerator.backward(loss * (weight * processes / max(count, 1)))
                summed.append(loss.detach() * weight)
        norm = whole(accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm))
        total, length = self._read(summed, norm)
        self._check_finite("loss", total, chosen)
        if accelerator.scaler is None:  # fp16's scaler looks for gradients that overflow, and leaves them out
            self._check_finite("gradient's norm", length, chosen)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(total / max(count, 1))

    def _read(self, summed: Sequence[torch.Tensor], norm: torch.Tensor) -> tuple[float, float]:
        """The losses' sum over all processes, and the norm: read together, as a GPU stands still meanwhile."""
        import torch

        numbers = torch.stack([*summed])
        if self.accelerator.num_processes > 1:
            numbers = self.accelerator.reduce(numbers.double().sum()[None], reduction="sum")
        *losses, length = torch.cat([numbers, norm.to(numbers)[None]]).tolist()
        return sum(losses), length

    def _check_finite(self, what: str, value: float, rows: Sequence[int]) -> None:
        """Raises ModelError, before anything is updated, where a number is none."""
        if math.isfinite(value):
            return
        ids = self.windows.ids(rows)
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise ModelError(
            f"The {what} is {value} at step {self.history.steps + 1}; nothing was updated. "
            f"Lower --learning_rate ({self.settings.learning_rate}), or try --mixed_precision no. "
            f"The step's examples by id: {', '.join(ids[:SHOWN])}{more}."
        )

    def _attention(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """The faster way of attention for rows as wide as these."""
        return attention(self.accelerator.device, self.accelerator.mixed_precision, inputs["input_ids"].shape[1])

    def check_memory(self) -> None:
        """Part, before the first step, batches that a CPU's memory cannot hold whole: one row is run and counted."""
        if self.accelerator.device.type != "cpu":
            return
        largest = max(
            self.windows.batches(0, self.accelerator.num_processes),
            key=self.windows.padded,
        )
        longest = max(largest, key=self.windows.lengths.__getitem__)
        inputs, targets = self.windows.collate([longest], self.accelerator.device)
        with self.accelerator.autocast(), self._attention(inputs):
            self.plain.train()
            each = saved_bytes(
                lambda: self.task.loss(self.task.logits(self.plain, inputs, targets), targets)[0], self.plain
            )
        changed = sum(p.numel() for p in self.plain.parameters() if p.requires_grad)
        # A gradient, two moments and the kept best weights: four numbers of four bytes a trained parameter.
        processes = self.accelerator.num_processes  # on a CPU they share one memory
        rows = math.ceil(len(largest) / processes)
        pieces = self.windows.lengths[longest]
        fitting = rows_that_fit(rows=rows, pieces=pieces, row_bytes=each, fixed_bytes=16 * changed, sharing=processes)
        self.parts = math.ceil(rows / fitting)
        if self.parts > 1 and self.accelerator.is_main_process:
            print(f"memory: {fitting} rows of {pieces} pieces fit at once, so a batch of {rows} is computed in "
                  f"{self.parts} parts, with the same result.", file=sys.stderr, flush=True)  # fmt: skip


def _sync(accelerator: Accelerator, model: Any, last: bool) -> Any:
    """Gradients travel between processes only with the last batch of a step."""
    import contextlib

    return contextlib.nullcontext() if last else accelerator.no_sync(model)
