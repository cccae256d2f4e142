"""The training loop on Accelerate. It gets `score()` as an argument and knows neither metrics nor methods."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adapters.core.errors import CheckpointError, ModelError, numbered, verb
from adapters.core.memory import free_cache, out_of_memory, rows_that_fit, saved_bytes
from adapters.core.processes import first_alone
from adapters.core.progress import ProgressBar
from adapters.core.settings import CommonSettings
from adapters.core.signals import SignalGuard, end_by_signal
from adapters.models.attention import cast_once, drop_padding_masks, fastest_attention
from adapters.models.base_model import CAUSAL
from adapters.models.batching import share
from adapters.models.fsdp import full_tensor, set_wrapped_layers
from adapters.tasks.base.example import Examples
from adapters.tasks.base.task import Objective
from adapters.training.checkpoint import TRAINED
from adapters.training.history import History
from adapters.training.optimizer import adamw, schedule, start_at_prior
from adapters.training.plan import Plan
from adapters.training.state import (
    capture_state,
    check_parameters,
    restore_state,
    set_parameters,
    trainable_parameters,
)
from adapters.training.train_dataset import TrainDataset

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from adapters.models.base_model import Base
    from adapters.training.checkpoint import Checkpoint, Checkpoints

BEST, EPOCH = "best", "epoch"
SHOWN = 16


class Trainer:
    """AdamW with warm-up, gradient clipping and early stopping; batches by length; the best weights are kept.

    The loss of a step is the sum over all labelled positions of all processes and accumulated batches, divided by their
    number: neither the number of processes nor accumulation changes the result.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        task: Objective,
        base: Base,
        train: Examples,
        settings: CommonSettings,
        accelerator: Accelerator,
        *,
        budget: int,
        checkpoints: Checkpoints,
        before_training: Callable[[torch.optim.Optimizer, int], None] = lambda *_: None,
    ) -> None:
        """Args:
        model: parameters with `requires_grad` are trained.
        task: provides inputs, targets and loss.
        base: provides the tokenizer.
        train: training examples.
        settings: of the run.
        accelerator: moves model and batches to the device.
        budget: longest row in tokens.
        checkpoints: to write to.
        before_training: called with the optimizer and the number of steps, to add hooks to it.
        """
        self.checkpoints = checkpoints
        self.micro_batches, self.epochs_without_gain = 1, 0
        """Micro-batches that a batch is split into to fit the memory; dev scores since the best one."""
        self.best: dict[str, torch.Tensor] = {}
        self.epoch_batches: tuple[int, list[list[int]]] | None = None
        self.task, self.settings, self.accelerator = task, settings, accelerator
        self.dataset = first_alone(accelerator, lambda: TrainDataset(train, task, base, settings, budget=budget))
        self.plan = Plan.of(self.dataset, settings, accelerator.num_processes)
        for note in self.plan.notes:
            self.say(note)
        for warning in self.plan.warnings:
            self.say(f"warning: {warning}")
        self.unwrapped = model
        if not start_at_prior(model, task.prior(self.dataset.targets)):
            self.say("the head has no bias: training does not start at the frequencies of the classes")
        if base.kind == CAUSAL:
            with accelerator.autocast():  # quantized layers accept no wider input
                drop_padding_masks(model)
        cast_once(model)
        self.check_memory()
        optimizer = adamw(model, settings)
        before_training(optimizer, self.plan.steps)
        set_wrapped_layers(accelerator, model)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.schedule = schedule(self.optimizer, settings, self.plan.steps)
        self.history = History()

    def run(self, score: Callable[[], float]) -> History:
        """Train to the end, or until `score()` (a dev score, higher is better) has not improved for the set patience.

        Ctrl-C and SIGTERM end it after the current step, with a checkpoint.
        """
        history, warnings = self.history, [*self.plan.warnings]
        self.model.train()
        bar = ProgressBar("training", self.plan.steps, shown=self.accelerator.is_main_process, done=history.steps)
        with bar, SignalGuard() as guard:
            while not history.stopped_early:
                if self._epoch_ended():
                    self._evaluate_epoch(score(), bar)
                elif history.steps >= self.plan.steps or history.out_of_time:
                    break
                else:
                    self._next_step(bar)
                due = self._checkpoint_due()
                signal = self._highest(guard.number)  # of any process, so that all stop after the same step
                if due or signal:
                    self._save_checkpoint(bar, stopped=bool(signal))
                if signal:
                    end_by_signal(signal)
            if idle := history.idle():
                lower = f"lower --learning_rate (it is {self.settings.learning_rate}) or train longer"
                warnings.append(f"{idle}: {lower}")
                bar.say(f"warning: {warnings[-1]}.")
            bar.say(history.kept())
        history.warnings = warnings
        self._save_trained()
        set_parameters(self.unwrapped, self.best)
        return history

    def resume(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint of the same run, bit by bit.

        Raises CheckpointError, before anything is changed, unless its tensors are those that the model trains.
        """
        state, tensors = checkpoint.state, checkpoint.tensors
        if tensors.get(BEST):
            check_parameters(self.unwrapped, tensors[BEST])
        if checkpoint.path.name != TRAINED:  # else there is nothing more to train
            restore_state(tensors, state, self.unwrapped, self.optimizer, self.schedule, self.accelerator)
        self.history = History(**state["history"])
        self.epochs_without_gain, self.micro_batches = state["epochs_without_gain"], state["micro_batches"]
        self.best = tensors.get(BEST, {})

    def _save_checkpoint(self, bar: ProgressBar, *, stopped: bool) -> None:
        """Write a checkpoint; if the run was stopped, print how to resume it."""
        tensors, state = capture_state(self.unwrapped, self.optimizer, self.schedule, self.accelerator)
        if self.best:
            tensors[BEST] = self.best
        state |= self._progress()
        if self.accelerator.is_main_process:
            path = self.checkpoints.save(self.history.steps, tensors, state)
            if stopped:
                bar.say(
                    f"stopped after step {self.history.steps}, saved in {path}. "
                    "To resume: the same command with --resume_from_checkpoint latest"
                )
        self.accelerator.wait_for_everyone()

    def _progress(self) -> dict[str, Any]:
        """How far the training has come, for a checkpoint's state."""
        return {
            "history": asdict(self.history),
            "epochs_without_gain": self.epochs_without_gain,
            "micro_batches": self.micro_batches,
        }

    def _save_trained(self) -> None:
        """Write the best weights: scoring can take longer than training, and can be interrupted."""
        if self.accelerator.is_main_process:
            try:
                self.checkpoints.save_trained({BEST: self.best}, self._progress())
            except CheckpointError as error:  # the model is still in memory, and there may be room for the artifact
                self.say(f"warning: {error}")
        self.accelerator.wait_for_everyone()

    def _checkpoint_due(self) -> bool:
        """Whether to write a checkpoint now: at every n-th step, or after the evaluation of an epoch."""
        every, steps = self.settings.checkpointing_steps, self.history.steps
        evaluated = bool(self.history.scores) and self.history.scores[-1]["step"] == steps
        if every is None or every == EPOCH:
            return every == EPOCH and evaluated
        return steps % int(every) == 0 and not evaluated

    def _highest(self, number: int) -> int:
        """The highest of all processes' numbers."""
        if self.accelerator.num_processes == 1:
            return number
        import torch
        import torch.distributed as dist

        highest = torch.tensor(number, device=self.accelerator.device)
        dist.all_reduce(highest, op=dist.ReduceOp.MAX)
        return int(highest)

    def _out_of_time(self) -> bool:
        """Whether any process has trained for as long as it may, so that all of them stop after the same step."""
        most = self.settings.max_train_seconds
        return most is not None and bool(self._highest(int(self.history.seconds >= most)))

    def _epoch_ended(self) -> bool:
        """Whether epochs have ended after which dev is to be scored, and has not been."""
        steps = self.history.steps
        evaluated = self.history.scores[-1]["step"] if self.history.scores else 0
        return steps > evaluated and (
            steps % self.plan.steps_per_score == 0 or steps >= self.plan.steps or self.history.out_of_time
        )

    def _evaluate_epoch(self, value: float, bar: ProgressBar) -> None:
        """Record the dev score of an epoch, and keep the weights if it is the best so far."""
        history = self.history
        size = (history.steps - 1) % self.plan.steps_per_epoch + 1
        loss = sum(history.losses[-size:]) / size
        epoch = math.ceil(history.steps / self.plan.steps_per_epoch)
        history.scores.append(
            {"step": history.steps, "epoch": epoch, "loss": loss, "score": value, "seconds": history.seconds}
        )
        self.accelerator.log({"dev/score": value, "dev/epoch": epoch}, step=history.steps)
        bar.say(f"epoch {epoch}: loss {loss:.4f}, dev score {value:.2%}, {history.seconds:.0f} s of training")
        if history.best_score is None or value > history.best_score:
            history.best_score, history.best_step, self.epochs_without_gain = value, history.steps, 0
            self.best = {name: tensor.clone() for name, tensor in trainable_parameters(self.unwrapped).items()}
        else:
            self.epochs_without_gain += 1
        out_of_patience = self.epochs_without_gain >= self.settings.early_stopping_patience
        short = history.steps < (self.settings.min_train_steps or 0)
        history.stopped_early = out_of_patience and history.steps < self.plan.steps and not short
        if history.out_of_time and not history.stopped_early:
            bar.say(
                f"stopped at step {history.steps:,} of {self.plan.steps:,}, after {history.seconds:.0f} s of training "
                f"(--max_train_seconds {self.settings.max_train_seconds:g})"
            )

    def _next_step(self, bar: ProgressBar) -> None:
        """Take the next step of the epoch, and record and report it."""
        history, accumulated = self.history, self.plan.accumulated
        epoch, number = divmod(history.steps, self.plan.steps_per_epoch)
        if self.epoch_batches is None or self.epoch_batches[0] != epoch:
            self.epoch_batches = epoch, self.dataset.batches(epoch, self.accelerator.num_processes)
        batches = self.epoch_batches[1][number * accumulated : (number + 1) * accumulated]
        started = time.perf_counter()
        loss = self.step_within_memory(batches, bar.say)
        history.seconds += time.perf_counter() - started
        history.tokens += sum(self.dataset.lengths[row] for batch in batches for row in batch)
        history.steps += 1
        history.losses.append(loss)
        history.out_of_time = history.steps < self.plan.steps and self._out_of_time()
        if history.first_step_at == 0:
            history.first_step_at = time.time()
        rate = history.tokens / history.seconds
        values = {
            "train/loss": loss,
            "train/learning_rate": self.schedule.get_last_lr()[0],
            "train/tokens_per_second": rate,
        }
        self.accelerator.log(values, step=history.steps)
        dev = f"  dev {history.scores[-1]['score']:.2%}" if history.scores else ""
        bar.step(f"loss {loss:.3f}{dev}  {rate:.0f} tokens/s")

    def step_within_memory(self, batches: Sequence[Sequence[int]], say: Callable[[str], None]) -> float:
        """One step; if a GPU runs out of memory, batches are split into more micro-batches, with the same result.

        Args:
            batches: as of `train_step`.
            say: is told when batches are split.

        Raises:
            ModelError: not even one row fits, or several processes ran out of memory.
        """
        while True:
            try:
                return self.train_step(batches)
            except RuntimeError as error:
                if "out of memory" not in str(error).lower():
                    raise
                rows = math.ceil(max(map(len, batches)) / self.micro_batches)
                if rows < 2 or self.accelerator.num_processes > 1:
                    raise out_of_memory(error, rows) from error
            self.optimizer.zero_grad()
            self.micro_batches *= 2
            free_cache()
            say(
                f"out of memory with {numbered(rows, 'rows')} at once: from now on a batch is split into "
                f"{self.micro_batches} "
                "micro-batches."
            )

    def train_step(self, batches: Sequence[Sequence[int]]) -> float:
        """One optimizer step on accumulated batches, shared by all processes.

        Returns:
            The mean loss over labelled positions.
        """
        accelerator, processes = self.accelerator, self.accelerator.num_processes
        rows = [row for batch in batches for row in batch]
        count = self.dataset.labelled(rows)
        summed: list[torch.Tensor] = []
        for number, batch in enumerate(batches):
            parts = passes(batch, accelerator.process_index, processes, self.micro_batches)
            for part, own in enumerate(parts, 1):
                # Every process must take part in the backward pass: without rows of its own, by one of weight 0.
                weight = 1.0 if own else 0.0
                inputs, targets = self.dataset.collate(own or [batch[-1]], accelerator.device)
                last = number == len(batches) - 1 and part == len(parts)
                with accelerator.autocast(), self._attention(inputs), _sync(accelerator, self.model, last):
                    loss, _ = self.task.loss(self.task.logits(self.model, inputs, targets), targets)
                    # DDP averages gradients over processes; multiplied by their number, it is the sum.
                    accelerator.backward(loss * (weight * processes / max(count, 1)))
                summed.append(loss.detach() * weight)
        norm = full_tensor(accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm))
        total, norm_value = self._loss_and_norm(summed, norm)
        self._check_finite("loss", total, rows)
        if accelerator.scaler is None:  # fp16's scaler detects overflowing gradients itself and skips the step
            self._check_finite("gradient norm", norm_value, rows)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(total / max(count, 1))

    def _loss_and_norm(self, summed: Sequence[torch.Tensor], norm: torch.Tensor) -> tuple[float, float]:
        """The sum of losses over all processes, and the gradient norm; read together, as reading stalls a GPU."""
        import torch

        numbers = torch.stack([*summed])
        if self.accelerator.num_processes > 1:
            numbers = self.accelerator.reduce(numbers.double().sum()[None], reduction="sum")
        *losses, norm_value = torch.cat([numbers, norm.to(numbers)[None]]).tolist()
        return sum(losses), norm_value

    def _check_finite(self, what: str, value: float, rows: Sequence[int]) -> None:
        """Raises ModelError, before anything is updated, if a value is not finite."""
        if math.isfinite(value):
            return
        ids = self.dataset.ids(rows)
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise ModelError(
            f"The {what} is {value} at step {self.history.steps + 1}; nothing was updated. "
            f"Lower --learning_rate ({self.settings.learning_rate}), or try --mixed_precision no. "
            f"Ids of the examples in this step: {', '.join(ids[:SHOWN])}{more}."
        )

    def _attention(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """A context with the fastest attention for rows of this length."""
        accelerator = self.accelerator
        return fastest_attention(accelerator.device, accelerator.mixed_precision, inputs["input_ids"].shape[1])

    def check_memory(self) -> None:
        """Before the first step, choose micro-batches that fit a CPU's memory, from what one row takes."""
        if self.accelerator.device.type != "cpu":
            return
        largest = max(
            self.dataset.batches(0, self.accelerator.num_processes),
            key=self.dataset.padded,
        )
        longest = max(largest, key=self.dataset.lengths.__getitem__)
        one, two = (self._saved_bytes([longest] * rows) for rows in (1, 2))
        row_bytes = two - one
        trainable = sum(p.numel() for p in self.unwrapped.parameters() if p.requires_grad)
        processes = self.accelerator.num_processes  # on a CPU they share one memory
        rows = math.ceil(len(largest) / processes)
        tokens = self.dataset.lengths[longest]
        # A gradient, two moments and the best weights: four numbers of four bytes per trainable parameter. What one row
        # saves beyond its own share is autocast's copies of the weights, which any number of rows has once.
        fixed = 16 * trainable + max(one - row_bytes, 0)
        fitting = self._fewest(
            lambda: rows_that_fit(rows=rows, tokens=tokens, row_bytes=row_bytes, fixed_bytes=fixed, sharing=processes)
        )
        self.micro_batches = math.ceil(rows / fitting)
        if self.micro_batches > 1:
            self.say(
                f"memory: {numbered(fitting, 'rows')} of {tokens} tokens {verb(fitting, 'fit')} at once, so a batch "
                f"of {rows} is split into "
                f"{self.micro_batches} micro-batches, with the same result."
            )

    def _saved_bytes(self, rows: Sequence[int]) -> int:
        """Bytes that a forward pass of some rows keeps for its backward pass."""
        inputs, targets = self.dataset.collate(rows, self.accelerator.device)
        with self.accelerator.autocast(), self._attention(inputs):
            self.unwrapped.train()
            return saved_bytes(
                lambda: self.task.loss(self.task.logits(self.unwrapped, inputs, targets), targets)[0], self.unwrapped
            )

    def _fewest(self, rows: Callable[[], int]) -> int:
        """The fewest rows that any process can take: all must do as many passes, or they would wait for each other.

        Raises ModelError, in every process, where one of them can't take any.
        """
        from accelerate.utils import gather_object

        found: int | str
        try:
            found = rows()
        except ModelError as error:
            found = str(error)
        everywhere = gather_object([found]) if self.accelerator.num_processes > 1 else [found]
        refused = [one for one in everywhere if isinstance(one, str)]
        if refused:
            raise ModelError(refused[0])
        return int(min(everywhere))

    def say(self, line: str) -> None:
        """Print a line on stderr, in the main process."""
        if self.accelerator.is_main_process:
            print(line, file=sys.stderr, flush=True)


def passes(batch: Sequence[int], rank: int, world: int, micro_batches: int) -> list[list[int]]:
    """The rows of a batch that one of several processes takes in each of its passes, which may be none.

    Every process has as many passes, by the largest share: sharded parameters are gathered in each, by all processes.
    """
    own, largest = share(batch, rank, world), math.ceil(len(batch) / world)
    size = math.ceil(largest / micro_batches)
    return [own[begin : begin + size] for begin in range(0, largest, size)]


def _sync(accelerator: Accelerator, model: Any, last: bool) -> Any:
    """Gradients are exchanged between processes only in the last micro-batch of a step."""
    import contextlib

    return contextlib.nullcontext() if last else accelerator.no_sync(model)
