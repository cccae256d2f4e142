"""A base model's embedding of a text, without any adapter: the mean of its last hidden states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError
from adapters.models.base_model import open_base
from adapters.models.fast_layers import quicken
from adapters.models.tokenizer import WordTokenizer, valid_text
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.predictor import ModelPredictor
from adapters.tasks.base.task import InferenceTask

if TYPE_CHECKING:
    import torch

EMBEDDED_TOKENS = 256
"""Tokens of the longest window over a text."""
BATCH_TOKENS = 4096


class Task(InferenceTask):
    """A text in, a vector out. It is no file of `tasks/`, since it has no data to train or score it."""

    name = "embedding"

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}`."""
        return Example(id=id, inputs={"text": text_of(inputs)})

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Windows over each text; there are no targets to learn."""
        windows = tokenizer.texts([valid_text(example.inputs["text"]) for example in examples], budget)
        return [Encoded(example=n, input_ids=ids, targets=[]) for n, rows in enumerate(windows) for ids in rows]

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, hidden]`: the mean of a row's last hidden states, padding excluded."""
        from adapters.models.sentence_classifier import mean_over_text

        return mean_over_text(model(**inputs).last_hidden_state, inputs.get("attention_mask"))

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The mean over a text's windows."""
        sums: list[list[np.ndarray]] = [[] for _ in examples]
        for row, answer in zip(encoded, answers, strict=True):
            sums[row.example].append(answer)
        return [Prediction(value=np.mean(vectors, axis=0)) for vectors in sums]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The text and its vector."""
        return {**example.inputs, "embedding": [round(float(number), 6) for number in prediction.value]}


def text_of(inputs: Mapping[str, Any]) -> str:
    """The text of a request that has nothing else. Raises DataError."""
    if set(inputs) != {"text"} or not isinstance(inputs["text"], str):
        raise DataError(f"the request must be {{'text': a text}}, found {', '.join(inputs) or 'nothing'}.")
    return inputs["text"]


def text_embedder(name: str) -> Callable[[list[str]], np.ndarray]:
    """A function from texts to vectors `[texts, hidden]`: the mean of an encoder's last hidden states for each text.

    Args:
        name: base model by path, alias or Hub id.

    Raises:
        SourceError, ModelError: the base cannot be found or read.
    """
    base = open_base(name)
    model: Any = base.load_body().eval().requires_grad_(False)
    quicken(model)
    budget = min(base.positions, EMBEDDED_TOKENS)
    predictor = ModelPredictor(model.base_model, base, Task(), budget=budget, batch_tokens=BATCH_TOKENS)

    def embed(texts: list[str]) -> np.ndarray:
        examples = [Example(id="", inputs={"text": text or " "}) for text in texts]
        return np.stack([prediction.value for prediction in predictor.predict_alone(examples)])

    return embed
