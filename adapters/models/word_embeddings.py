"""Whether a model's word embeddings train, where all else of it does."""

from __future__ import annotations

from typing import Any

MOST = 0.75
"""Share of a model's parameters from which its word embeddings are most of it: 0.81 of multilingual-e5-small, 0.82 of
LaBSE; 0.52 of MiniLM and of multilingual BERT, 0.69 of XLM-R base."""


def set_training(model: Any, train: bool | None) -> None:
    """Let the word embeddings of a model of transformers train, or stay as they are.

    Args:
        model: all of which trains.
        train: None leaves them as they are where they are most of the model, unless its output layer shares them.
    """
    weight = model.get_input_embeddings().weight
    if train is None:
        output = model.get_output_embeddings()
        shared = output is not None and output.weight is weight
        train = shared or weight.numel() < MOST * sum(p.numel() for p in model.parameters())
    weight.requires_grad_(train)


def left_out(model: Any) -> str:
    """A clause that says that the word embeddings of a model do not train; empty if they do."""
    weight = model.get_input_embeddings().weight
    if weight.requires_grad:
        return ""
    return f"its word embeddings ({weight.numel():,}) stay as they are, unless --train_embeddings is given"
