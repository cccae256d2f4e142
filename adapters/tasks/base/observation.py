"""What is counted of a text and its answer, so that a server can tell whether its answers drift from those on dev."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Encoded, Prediction
from adapters.tasks.base.task import InferenceTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """Numbers of one text and its answer; nothing of the text itself.

    Attributes:
        labels: in the answer, each once; None where answers are not labels, or there is no answer.
        confidence: the model's probability of its answer; None where it has none.
        tokens: of the text as the model reads it, special ones included; None without a base model.
        unknown: how many of them are unknown; None where the tokenizer knows every text.
    """

    labels: tuple[str, ...] | None = None
    confidence: float | None = None
    tokens: int | None = None
    unknown: int | None = None


def observe(
    task: InferenceTask,
    predictions: Sequence[Prediction | None],
    encoded: Sequence[Encoded] = (),
    tokenizer: WordTokenizer | None = None,
) -> list[Observation]:
    """What is counted of texts, in order.

    Args:
        task: what is predicted.
        predictions: one per text; None where there is none.
        encoded: the rows that the model reads of them.
        tokenizer: that made the rows; None without a base model.
    """
    tokens, unknown = [0] * len(predictions), [0] * len(predictions)
    wanted = None if tokenizer is None else tokenizer.unknown
    for row in encoded:
        tokens[row.example] += len(row.input_ids)
        unknown[row.example] += 0 if wanted is None else row.input_ids.count(wanted)
    return [
        Observation(
            labels=None if prediction is None else task.counted(prediction),
            confidence=None if prediction is None else _finite(task.confidence(prediction)),
            tokens=None if tokenizer is None else tokens[number],
            unknown=None if wanted is None else unknown[number],
        )
        for number, prediction in enumerate(predictions)
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
