"""An encoder with a linear classifier on the mean of its last hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput


@dataclass
class SentenceOutput(ModelOutput):  # type: ignore[misc]
    """What `SentenceClassifier` returns.

    Attributes:
        last_hidden_state: `[rows, tokens, hidden]`.
        logits: `[rows, classes]`.
    """

    last_hidden_state: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class SentenceClassifier(torch.nn.Module):
    """The body trains by gradients; the classifier's weight and bias are buffers, which something else sets."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, body: Any, classes: int, *, normalized: bool) -> None:
        """Args:
        body: a headless encoder; its pooler, which nothing here reads, is left out.
        classes: outputs of the classifier, which begins at zero.
        normalized: whether the classifier reads embeddings of length 1.
        """
        super().__init__()
        if getattr(body, "pooler", None) is not None:
            body.pooler = None
        self.body, self.config, self.normalized = body, body.config, normalized
        self.register_buffer("weight", torch.zeros(classes, body.config.hidden_size))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, **inputs: torch.Tensor) -> SentenceOutput:
        """Hidden states and logits of `input_ids`, `attention_mask` and, where there are any, `token_type_ids`."""
        states = self.body(**inputs).last_hidden_state
        with torch.autocast(states.device.type, enabled=False):
            embedded = self.read(mean_over_text(states.float(), inputs.get("attention_mask")))
            logits = torch.nn.functional.linear(embedded, self.weight.float(), self.bias.float())
        return SentenceOutput(last_hidden_state=states, logits=logits)

    def read(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings `[rows, hidden]` as the classifier reads them."""
        return torch.nn.functional.normalize(embeddings, dim=-1) if self.normalized else embeddings


def mean_over_text(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The mean of hidden states `[rows, tokens, hidden]` over the tokens of each row, padding excluded."""
    if mask is None:
        return states.mean(1)
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
