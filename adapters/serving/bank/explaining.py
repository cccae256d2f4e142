"""An adapter of a bank as an explanation reads it: its answers, and gradients through the shared body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from adapters.artifacts.heads import Head
from adapters.core.errors import ModelError
from adapters.serving.bank.mixed_inference import MixedInference, Proceed, ResidentAdapter
from adapters.tasks.base.contrastive import EmbeddedTask
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch


class BankReader:
    """One adapter that is leased. It changes nothing that other threads read: embeddings are an input of the body."""

    def __init__(
        self,
        inference: MixedInference,
        resident: ResidentAdapter,
        embedding: Head,
        proceed: Proceed = lambda: None,
    ) -> None:
        """Args:
        inference: runs the bank's body.
        resident: the adapter.
        embedding: a head that returns the hidden states.
        proceed: called before each pass.
        """
        assert isinstance(resident.task, Task)  # the embedding alone is none, and is no adapter's
        self.inference, self.resident, self.embedding, self.task = inference, resident, embedding, resident.task
        self.tokenizer, self.budget, self.proceed = inference.tokenizer, resident.budget, proceed

    @contextmanager
    def reading(self) -> Iterator[BankReader]:
        """Itself: the caller keeps the adapter leased."""
        yield self

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order."""
        self.proceed()
        return self.inference.predict([(self.resident, example) for example in examples])

    def answers(self, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """What the task decodes of each row."""
        self.proceed()
        return self.inference.answers(self.resident, encoded)

    def embeddings(self, ids: Sequence[int]) -> torch.Tensor:
        """`[1, tokens, width]`."""
        return self.inference.mixed.embeddings(ids)

    def logits(self, embeddings: torch.Tensor, row: Encoded) -> torch.Tensor:
        """The head's logits of copies of a row with other embeddings, with gradients. Raises ModelError without a head.

        Args:
            embeddings: `[rows, tokens, width]`.
            row: what else the body reads.
        """
        head = self.resident.head
        if head is None:
            raise ModelError(f"The adapter generates its answers to {self.task.name}; they have no head.")
        self.proceed()
        return self.inference.logits(self.resident, head, embeddings, row)

    def features(self, encoded: Sequence[Encoded]) -> np.ndarray:
        """The mean of each row's last hidden states under the adapter."""
        self.proceed()
        embedder = replace(self.resident, task=EmbeddedTask(self.task), head=self.embedding)
        return np.stack(self.inference.answers(embedder, encoded))
