"""A task that reads a text or a pair of texts, with a head on the whole input: all but its answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from adapters.core.errors import DataError
from adapters.data.generation_rows import shape
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.models.tokenizer import WordTokenizer, valid_text
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.explained import Alternatives, Span, Target, Traced, traced
from adapters.tasks.base.task import Task

BETWEEN = "\n"
"""Between the two texts of a pair, where the tokenizer does not separate them."""
A_NUMBER = "regression"
"""transformers' `problem_type` of a head whose output is a number."""


class TextTask(Task):
    """A subclass says what the head learns for a gold answer, and what its output means.

    Attributes:
        pair: whether an input is two texts.
        windows: whether a long text is read in windows; else it is truncated.
    """

    kinds: ClassVar[tuple[str, ...]] = (ENCODER, CAUSAL)
    peft_task: ClassVar[str] = "SEQ_CLS"
    pair: bool
    windows: bool

    @abstractmethod
    def _targets(self, gold: Any) -> list[int] | list[float]:
        """What the head learns for a gold answer."""

    @abstractmethod
    def _answers(self, logits: np.ndarray) -> tuple[Iterable[Any], Iterable[Any]]:
        """The answer, and the detail of a prediction, for each row of the head's outputs `[texts, outputs]`."""

    def card(self) -> dict[str, Any]:
        """Besides the labels, what an input is."""
        return {**super().card(), "pair": self.pair, "windows": self.windows}

    @staticmethod
    def inputs_of(row: Mapping[str, Any]) -> dict[str, str]:
        """The texts of a stored row."""
        pair = {} if row["text_pair"] is None else {"text_pair": row["text_pair"]}
        return {"text": row["text"], **pair}

    def sample_request(self) -> str | dict[str, str]:
        """A text, or a pair."""
        return {"text": "A text.", "text_pair": "Another text."} if self.pair else super().sample_request()

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}`, or for pairs from `{text, text_pair}`."""
        wanted = ("text", "text_pair") if self.pair else ("text",)
        given = {name: value for name, value in inputs.items() if value is not None}
        sound = all(isinstance(value, str) and value.strip() for value in given.values())
        if set(given) != set(wanted) or not sound:
            found = ", ".join(f"{name!r}: {shape(value)}" for name, value in inputs.items())
            needed = ", ".join(f"{name!r}: a text" for name in wanted)
            raise DataError(f"{self.name} takes {{{needed}}}, none of them empty; found {{{found}}}.")
        return Example(id=id, inputs={name: given[name] for name in wanted})

    def auto_class(self, kind: str) -> str:
        """transformers' linear head on a sequence, for encoders and causal models."""
        return "AutoModelForSequenceClassification"

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """One row per text, or with `windows` one per window.

        A pair's longer side is truncated. The two have a line break between them if the tokenizer does not separate
        them itself.
        """
        texts = [valid_text(example.inputs["text"]) for example in examples]
        if self.pair:
            seconds = [valid_text(example.inputs["text_pair"]) for example in examples]
            if tokenizer.separates_pairs:
                return [
                    Encoded(
                        example=number,
                        input_ids=ids,
                        token_types=types,
                        targets=self._targets(examples[number].gold) if learning else [],
                        detail=cut,
                    )
                    for number, (ids, types, cut) in enumerate(tokenizer.pairs(texts, seconds, budget))
                ]
            texts = [f"{one}{BETWEEN}{other}" for one, other in zip(texts, seconds, strict=True)]
        out = []
        for number, windows in enumerate(tokenizer.texts(texts, budget)):
            targets = self._targets(examples[number].gold) if learning else []
            cut = len(windows) > 1 and not self.windows
            for ids in windows if self.windows else windows[:1]:
                out.append(Encoded(example=number, input_ids=ids, targets=targets, detail=cut))
        return out

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The answers to the mean outputs of each text's windows."""
        sums = np.zeros((len(examples), self.config()["num_labels"]))
        rows = np.zeros(len(examples))
        cut = [False] * len(examples)
        for row, answer in zip(encoded, answers, strict=True):
            sums[row.example] += answer
            rows[row.example] += 1
            cut[row.example] |= bool(row.detail)
        values, details = self._answers(sums / rows[:, None])
        return [
            Prediction(value=value, detail=detail, truncated=was_cut)
            for value, detail, was_cut in zip(values, details, cut, strict=True)
        ]

    def traced(self, example: Example, tokenizer: WordTokenizer, budget: int) -> Traced:
        """From the characters of each token; of a truncated text, words that are not read have no token."""
        text = valid_text(example.inputs["text"])
        rows: list[list[Span | None]]
        if not self.pair:
            windows = tokenizer.characters(text, budget)
            rows = [[at and ("text", *at) for at in window] for window in windows]
        else:
            second = valid_text(example.inputs["text_pair"])
            if tokenizer.separates_pairs:
                sides = zip(*tokenizer.pair_characters(text, second, budget), strict=True)
                rows = [[("text", *at) if at else other and ("text_pair", *other) for at, other in sides]]
            else:
                windows = tokenizer.characters(f"{text}{BETWEEN}{second}", budget)
                rows = [[at and _side(at, len(text)) for at in window] for window in windows]
        return traced(self.words(example), rows if self.windows else rows[:1])

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """The number. A task with labels says which label."""
        if wanted is not None:
            raise DataError(f"{wanted!r}: an answer of {self.name} is one number; leave the target out.")
        return Target(name="number", of=0)

    def alternatives(self, target: Target, encoded: Sequence[Encoded], answers: Sequence[Any]) -> list[Alternatives]:
        """The mean outputs of all windows."""
        return [self._among(target, sum(answers[1:], start=answers[0]) / len(answers))]

    def _among(self, target: Target, outputs: Any) -> Alternatives:
        """A target among the head's outputs `[outputs]`. Default: all of them are alternatives."""
        return Alternatives(scores=outputs, chosen=target.of)


def _side(at: tuple[int, int], first: int) -> Span:
    """Characters of two joined texts, of which the first has so many, in their own text."""
    start, end = at
    behind = start - first - len(BETWEEN)
    return ("text_pair", behind, end - first - len(BETWEEN)) if behind >= 0 else ("text", start, min(end, first))
