"""A model with a task's head as a predictor: from examples to predictions, in the same order."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from adapters.core.processes import world
from adapters.models.batching import by_length, padded_inputs, share
from adapters.models.fsdp import is_sharded
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.task import InferenceTask

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base
    from adapters.models.tokenizer import WordTokenizer

CHUNK = 2048
"""Examples encoded at a time, so that memory does not grow with the split."""
CPU_BATCH_TOKENS = 1024
"""Tokens of a batch on a CPU, padding included."""
Turn = Callable[[], AbstractContextManager[Any]]
"""Gives what is held while a model computes, so that another thread may compute with it before or after."""


class Predictor(Protocol):
    """All that the evaluator needs of a method."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order."""


@runtime_checkable
class TakesTurns(Protocol):
    """A predictor whose model others can ask while it is at work on something long."""

    def in_turns(self, turn: Turn) -> Predictor:
        """The same predictor on the same model, with which it computes in short turns."""


class RowPredictor(ABC):
    """Encodes examples, answers their rows in batches of similar length, and decodes the answers."""

    def __init__(
        self,
        task: InferenceTask,
        tokenizer: WordTokenizer,
        *,
        budget: int,
        batch_rows: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        """Args:
        task: encodes and decodes.
        tokenizer: of the base.
        budget: tokens of a window.
        batch_rows: rows of a batch; None limits the batch by `batch_tokens` instead.
        batch_tokens: tokens of a batch, padding included.
        """
        self.task, self.tokenizer, self.budget = task, tokenizer, budget
        self.batch_rows, self.batch_tokens = batch_rows, batch_tokens

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order."""
        parts = (examples[begin : begin + CHUNK] for begin in range(0, len(examples), CHUNK))
        return [prediction for part in parts for prediction in self.predict_alone(part)]

    def predict_alone(self, examples: Sequence[Example]) -> list[Prediction]:
        """As `predict`, with all examples computed at once, by this process."""
        return self.encode_and_predict(examples)[1]

    def encode_and_predict(self, examples: Sequence[Example]) -> tuple[list[Encoded], list[Prediction]]:
        """The rows that the model reads, and one prediction per example."""
        encoded = self.task.encode(examples, self.tokenizer, self.budget)
        return encoded, self.task.decode(examples, encoded, self.answers(encoded), self.tokenizer)

    @property
    @abstractmethod
    def pad_id(self) -> int:
        """The token that rows are padded with."""

    def answers(self, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """The model's answers to each row, as the task decodes them (`[tokens with padding, …]` of a token head)."""
        return self._in_batches(encoded, self._answers)

    def _in_batches(
        self, encoded: Sequence[Encoded], read: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """What is read of each row, from model inputs of batches of similar length."""
        found: list[np.ndarray] = [np.zeros(0)] * len(encoded)
        lengths = [len(row.input_ids) for row in encoded]
        for batch in by_length(lengths, tokens=self.batch_tokens, rows=self.batch_rows):
            rows = [encoded[i] for i in batch]
            inputs = padded_inputs([row.input_ids for row in rows], self.pad_id, [row.token_types for row in rows])
            for i, one in zip(batch, read(inputs), strict=True):
                found[i] = one
        return found

    @abstractmethod
    def _answers(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """The answers to the rows of one batch, from model inputs as of `padded_inputs`."""


class ModelPredictor(RowPredictor):
    """Runs a model with a head. Of several processes, each computes a share of the examples; all get all results."""

    def __init__(
        self,
        model: torch.nn.Module,
        base: Base,
        task: InferenceTask,
        *,
        budget: int,
        batch_rows: int | None = None,
        batch_tokens: int | None = None,
        precision: str = "no",
    ) -> None:
        """Args:
        model: called as transformers' models are, on its parameters' device.
        base: has the tokenizer.
        task, budget, batch_rows: as of `RowPredictor`.
        batch_tokens: tokens of a batch, padding included; None chooses by the device.
        precision: `no`, `bf16` or `fp16`: autocast of the forward pass.
        """
        self.model, self.base, self.precision = model, base, precision
        most = None if batch_rows else batch_tokens or self._usual_tokens()
        super().__init__(task, base.word_tokenizer, budget=budget, batch_rows=batch_rows, batch_tokens=most)
        self.turn: Turn = nullcontext

    def in_turns(self, turn: Turn) -> ModelPredictor:
        """The same predictor on the same model, which computes a batch in a turn."""
        other = copy.copy(self)
        other.turn = turn
        return other

    def _usual_tokens(self) -> int:
        """The activations of 1024 tokens fit in a CPU's caches; a GPU needs larger batches."""
        return CPU_BATCH_TOKENS if next(self.model.parameters()).device.type == "cpu" else 16384

    @property
    def pad_id(self) -> int:
        """The base's."""
        return self.base.pad_id

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order, each example computed by one process.

        If the model is sharded, all processes compute all examples, since none can run a batch without the others.
        """
        return shared_out(examples, self.predict_alone, together=is_sharded(self.model))

    def answers(self, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """In evaluation mode, without gradients."""
        import torch

        training = self.model.training
        if training:  # walking through all modules takes as long as a layer does
            self.model.eval()
        # After inference mode, a sharded parameter could not be trained any more.
        no_gradients = torch.no_grad() if is_sharded(self.model) else torch.inference_mode()
        with no_gradients, autocast(next(self.model.parameters()).device, self.precision):
            answers = super().answers(encoded)
        if training:
            self.model.train()
        return answers

    def _answers(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """What the task reads of the model."""
        with self.turn():
            return self.task.answers(self.model, self._on_device(inputs), self.tokenizer)

    def _on_device(self, inputs: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Model inputs as tensors where the model is."""
        import torch

        device = next(self.model.parameters()).device
        return {name: torch.from_numpy(values).to(device) for name, values in inputs.items()}

    @contextmanager
    def reading(self) -> Iterator[ModelPredictor]:
        """The model as an explanation reads it: in evaluation mode, and without gradients of its parameters."""
        training = self.model.training
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.model.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield self
        finally:
            self.model.train(training)
            for parameter in trained:
                parameter.requires_grad_(True)

    def embeddings(self, ids: Sequence[int]) -> torch.Tensor:
        """What the model's embedding layer makes of the tokens of a row, `[1, tokens, width]`."""
        import torch

        body: Any = getattr(self.model, "body", self.model)  # a sentence classifier's encoder
        with torch.no_grad():
            layer = body.get_input_embeddings()
            embedded: torch.Tensor = layer(torch.tensor([list(ids)], device=layer.weight.device))
        return embedded

    def logits(self, embeddings: torch.Tensor, row: Encoded) -> torch.Tensor:
        """The task's logits `[rows, …]` of copies of a row with other embeddings, with their gradients.

        Args:
            embeddings: of its tokens in each copy, `[rows, tokens, width]`.
            row: what else the model reads.
        """
        import torch

        inputs = {"inputs_embeds": embeddings}
        if row.token_types:
            types = torch.tensor([row.token_types], device=embeddings.device)
            inputs["token_type_ids"] = types.expand(len(embeddings), -1)
        with self.turn():
            return self.task.logits(self.model, inputs).float()

    def with_random_weights(self, seed: int) -> ModelPredictor:
        """The same with a copy of the model in which the values of each tensor are in a random order."""
        import torch

        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in (*other.model.parameters(), *other.model.buffers()):
                if tensor.is_floating_point():
                    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
                    tensor.copy_(tensor.flatten()[order].view_as(tensor))
        return other

    def features(self, encoded: Sequence[Encoded]) -> np.ndarray:
        """Vectors of rows, `[rows, hidden]`: the mean of the model's own last hidden states."""
        import torch

        from adapters.models.sentence_classifier import mean_over_text

        def vectors(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            given = self._on_device(inputs)
            with self.turn():
                states = last_states(self.model, given).float()
            return [*mean_over_text(states, given.get("attention_mask")).cpu().numpy()]

        with torch.inference_mode():
            return np.stack(self._in_batches(encoded, vectors))


def last_states(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The last hidden states `[rows, tokens, hidden]` of a model with or without a head."""
    tokens = inputs["input_ids"].shape[1]
    whole = hasattr(model, "body")  # a sentence classifier, which returns no others
    out = model(**inputs) if whole else model(**inputs, output_hidden_states=True)
    states: torch.Tensor = out.last_hidden_state if whole else out.hidden_states[-1]
    return states[:, -tokens:]  # without a soft prompt


def shared_out(
    examples: Sequence[Example], predict: Callable[[list[Example]], list[Prediction]], *, together: bool = False
) -> list[Prediction]:
    """Predictions for all examples, of which each process computes a share (or, `together`, all), in chunks."""
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
    """torch's autocast in the given precision; for `no` it is disabled."""
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "no")


def _gather(found: list[tuple[int, Prediction]]) -> list[tuple[int, Prediction]]:
    import torch.distributed as dist

    parts: list[list[tuple[int, Prediction]]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, found)
    return [item for part in parts for item in part]
