"""What a base says of a text without any adapter: the mean of its last hidden states, a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters import tasks
from adapters.alignment import Pieces, valid_text
from adapters.errors import DataError
from adapters.labels import LabelSet
from adapters.tasks import CAUSAL, ENCODER, Encoded, Example, Examples, Prediction

if TYPE_CHECKING:
    import torch


class Task(tasks.Task):
    """A text in, a vector out. No file of `tasks/`: nothing can be trained or scored by it."""

    name = "embedding"
    kinds = (ENCODER, CAUSAL)
    metrics = ()
    labels = LabelSet(())

    @classmethod
    def read(cls, sources: Mapping[str, Any], settings: Any) -> tuple[tasks.Task, dict[str, Examples]]:
        """Not for data."""
        raise AssertionError("nothing is trained for embeddings")

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> tasks.Task:
        """The task."""
        return cls()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a row with a text."""
        return Example(id=str(row["id"]), inputs={"text": row["text"]})

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}`."""
        if set(inputs) != {"text"} or not isinstance(inputs["text"], str):
            raise DataError(
                f"without an adapter a request is {{'text': a text}}, found {', '.join(inputs) or 'nothing'}."
            )
        return Example(id=id, inputs={"text": inputs["text"]})

    def auto_class(self, kind: str) -> str:
        """No head."""
        return "AutoModel"

    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Windows over each text."""
        windows = pieces.texts([valid_text(example.inputs["text"]) for example in examples], budget)
        return [Encoded(example=n, input_ids=ids, targets=[]) for n, rows in enumerate(windows) for ids in rows]

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, hidden]`: the mean of a row's states, padding left out."""
        states: torch.Tensor = model(**inputs).last_hidden_state
        mask = inputs.get("attention_mask")
        if mask is None:
            return states.mean(1)
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """The mean over a text's windows."""
        sums: list[list[np.ndarray]] = [[] for _ in examples]
        for row, answer in zip(encoded, answers, strict=True):
            sums[row.example].append(answer)
        return [Prediction(value=np.mean(vectors, axis=0)) for vectors in sums]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The text and its vector."""
        return {**example.inputs, "embedding": [round(float(number), 6) for number in prediction.value]}
