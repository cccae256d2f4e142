"""A task whose answer is one of its labels: what its head says, and how a prompted model answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.task import AnswerForm, PromptableTask
from adapters.tasks.base.verbalizer import check_words, label_words

LEAST = 1e-12
"""A probability below it counts as this one where its logarithm is taken."""
SHOWN = 5
"""Labels whose probabilities an output shows."""


class LabelAnswerTask(PromptableTask):
    """One label per example. A subclass fills the placeholders of an example, which are its inputs as texts."""

    answer = "label"
    answer_formats = ("label",)
    chosen_formats = ("label",)
    common_placeholders: ClassVar[tuple[str, ...]] = ("labels",)

    def chosen(self, logits: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """The likeliest label of each row of logits `[examples, labels]`, and all probabilities."""
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return [self.labels.names[i] for i in shares.argmax(1)], shares

    def logits_of(self, prediction: Prediction) -> np.ndarray | None:
        """The logarithms of the probabilities."""
        return None if prediction.detail is None else np.log(np.maximum(prediction.detail, LEAST))

    def confidence(self, prediction: Prediction) -> float | None:
        """The probability of the likeliest label."""
        return None if prediction.detail is None else float(prediction.detail.max())

    def check_form(self, form: AnswerForm) -> None:
        """Raises SettingsError where a word belongs to two labels."""
        check_words(self.labels.names, form.verbalizer, form.separator, form.where)

    def texts_of(self, example: Example) -> dict[str, str]:
        """The values of an example's own placeholders."""
        return dict(example.inputs)

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """`labels`: the first word of each label; and the texts of the example."""
        filled = {"labels": ", ".join(label_words(name, form.verbalizer)[0] for name in self.labels.names)}
        return filled if example is None else {**filled, **self.texts_of(example)}

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The first word of the gold label."""
        return label_words(example.gold, form.verbalizer)[0]

    def choices(self, form: AnswerForm) -> list[tuple[str, int]]:
        """Every word of every label."""
        return [
            (word, number)
            for number, name in enumerate(self.labels.names)
            for word in label_words(name, form.verbalizer)
        ]

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """The label with that word, in any case; None if no label has it."""
        known = {word.lower(): self.labels.names[number] for word, number in self.choices(form)}
        value = known.get(written.strip().lower())
        return Prediction(value=value, written=written, parse_failure=value is None)


def likeliest(names: Sequence[str], shares: np.ndarray) -> dict[str, float]:
    """The probabilities of the likeliest labels, in order."""
    order = np.argsort(-shares, kind="stable")[:SHOWN]
    return {names[i]: round(float(shares[i]), 4) for i in order}
