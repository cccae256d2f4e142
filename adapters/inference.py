"""A model with a task's head as a predictor: examples in, predictions out, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from adapters.batching import by_length, collate, share
from adapters.processes import world
from adapters.sharding import in_parts
from adapters.tasks import Encoded, Example, Prediction, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

CHUNK = 2048
"""Examples encoded and held at a time, so that memory does not grow with the split."""


class Predictor(Protocol):
    """All that the evaluator knows of a method."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order."""


class ModelPredictor:
    """Runs a model with a head. With several processes each takes a share of the examples and all get all answers."""

    def __init__(
        self, model: torch.nn.Module, base: Base, task: Task, *, budget: int, batch_rows: int | None = None,
        batch_pieces: int | None = None, precision: str = "no",
    ) -> None:  # fmt: skip
        """Args:
        model: called as transformers' models are, on the device where its parameters lie.
        base: gives the tokenizer.
        task: encodes and decodes.
        budget: pieces of a window.
        batch_rows: rows of a batch; None bounds the batch by `batch_pieces` instead.
        batch_pieces: pieces of a batch, padding included; None takes what suits the device.
        precision: `no`, `bf16` or `fp16`: autocast of the forward pass.
        """
        self.model = model
        self.base = base
        self.task = task
        self.pieces = base.pieces()
        self.budget = budget
        self.batch_rows = batch_rows
        self.batch_pieces = None if batch_rows else batch_pieces or self._usual_pieces()
        self.precision = precision

    def _usual_pieces(self) -> int:
        """A CPU's caches hold the activations of so many; a GPU wants more at once."""
        return 1024 if next(self.model.parameters()).device.type == "cpu" else 16384

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order, each example computed once over all processes.

        Where each holds a part of the model, all of them compute all examples: none can run a batch without the others.
        """
        return shared_out(examples, self._predict_here, together=in_parts(self.model))

    def _predict_here(self, examples: list[Example]) -> list[Prediction]:
        encoded = self.task.encode(examples, self.pieces, self.budget)
        return self.task.decode(examples, encoded, self._forward(encoded), self.pieces)

    def _forward(self, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """The model's answers to each row, as the task takes them: `[pieces with padding, …]` of a token head, say."""
        import torch

        device = next(self.model.parameters()).device
        answers: list[np.ndarray] = [np.zeros(0)] * len(encoded)
        lengths = [len(row.input_ids) for row in encoded]
        training = self.model.training
        self.model.eval()
        # What inference mode makes of a parameter in parts could not be learned from afterwards.
        quiet = torch.no_grad() if in_parts(self.model) else torch.inference_mode()
        with quiet, autocast(device, self.precision):
            for batch in by_length(lengths, pieces=self.batch_pieces, rows=self.batch_rows):
                rows = [encoded[i] for i in batch]
                inputs, _ = collate(
                    [row.input_ids for row in rows], [[0]] * len(rows), self.base.tokenizer.pad_token_id,
                    [row.token_types for row in rows],
                )  # fmt: skip
                placed = {name: tensor.to(device) for name, tensor in inputs.items()}
                for i, answer in zip(batch, self.task.answers(self.model, placed, self.pieces), strict=True):
                    answers[i] = answer
        self.model.train(training)
        return answers


def shared_out(
    examples: Sequence[Example], predict: Callable[[list[Example]], list[Prediction]], *, together: bool = False
) -> list[Prediction]:
    """Predictions of all examples, of which each process computes a share (or `together` all), a chunk at a time."""
    rank, processes = (0, 1) if together else world()
    mine = share(range(len(examples)), rank, processes)
    found: list[tuple[int, Prediction]] = []
    for begin in range(0, len(mine), CHUNK):
        numbers = mine[begin : begin + CHUNK]
        found += zip(numbers, predict([examples[i] for i in numbers]), strict=True)
    if processes > 1:
        found = _gather(found)
    out: list[Prediction | None] = [None] * len(examples)
    for number, prediction in found:
        assert out[number] is None, number
        out[number] = prediction
    return [prediction for prediction in out if prediction is not None]


def autocast(device: torch.device, precision: str) -> Any:
    """torch's autocast in the given precision, or a context that does nothing for `no`."""
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "no")


def _gather(found: list[tuple[int, Prediction]]) -> list[tuple[int, Prediction]]:
    import torch.distributed as dist

    parts: list[list[tuple[int, Prediction]]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, found)
    return [item for part in parts for item in part]
