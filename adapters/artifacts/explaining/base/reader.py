"""The answer of a model that reads tokens: their words, gradients, and what it says of other tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from adapters.artifacts.explaining.base.subject import Answer, Score
from adapters.core.errors import ModelError
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Encoded, Example
from adapters.tasks.base.explained import Target
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

CHUNK = 64
"""Inputs with erased words that are made at a time."""
SAME = 1e-3
"""How far the score of a row's embeddings may be from that of its tokens, relative to it or to 1."""


class TokenReader(Protocol):
    """A model that reads rows of tokens, as an explanation needs it."""

    tokenizer: WordTokenizer
    budget: int

    def answers(self, encoded: Sequence[Encoded]) -> list[np.ndarray]:
        """What the task decodes of each row."""

    def embeddings(self, ids: Sequence[int]) -> torch.Tensor:
        """What the embedding layer makes of a row's tokens, `[1, tokens, width]`."""

    def logits(self, embeddings: torch.Tensor, row: Encoded) -> torch.Tensor:
        """The task's logits `[rows, …]` of copies of a row with other embeddings, with gradients."""

    def features(self, encoded: Sequence[Encoded]) -> np.ndarray:
        """Vectors of rows, `[rows, hidden]`."""


@runtime_checkable
class Readable(Protocol):
    """A predictor whose model reads tokens."""

    def reading(self) -> AbstractContextManager[TokenReader]:
        """The model, kept as it is within the block."""


class ReadAnswer(Answer):
    """The answer of a model that reads tokens.

    Words are erased by putting a token without meaning in the place of each of their tokens, so that special tokens and
    the places of all others stay. A target's score is linear in the model's outputs, so that it is a sum over the rows
    of the input, each of which can be looked at by itself.

    Attributes:
        rows: of the input, all windows of a long text.
    """

    def __init__(self, reader: TokenReader, task: Task, example: Example, wanted: str | Target | None) -> None:
        """Args:
        reader: the model.
        task: encodes and decodes.
        example: to answer.
        wanted: as of `Task.target`, or the target itself.

        Raises:
            ModelError: the task does not say which tokens are of which word.
            DataError: the answer has no such part.
        """
        self.reader, self.task, self.example = reader, task, example
        self.traced = task.traced(example, reader.tokenizer, reader.budget)
        self.rows = task.encode([example], reader.tokenizer, reader.budget)
        self.blank = blank_token(reader.tokenizer)
        self.words = self.traced.words
        sizes = [len(row.input_ids) for row in self.rows]
        assert sizes == [shares.shape[0] for shares in self.traced.rows], (task.name, sizes)
        self.outputs = reader.answers(self.rows)
        self.prediction = task.decode([example], self.rows, self.outputs, reader.tokenizer)[0]
        self.target = wanted if isinstance(wanted, Target) else task.target(example, self.prediction, wanted)

    @cached_property
    def score(self) -> Score:
        """Of the rows as they are."""
        return self._of_counting(self.outputs)

    def _of_counting(self, outputs: Sequence[np.ndarray]) -> Score:
        """The score by outputs of all rows. Which rows it depends on was decided by the whole input, once: of windows
        that are alternatives another one would else be taken when words are erased in the one that was chosen.
        """
        rows, own = [self.rows[number] for number in self.counting], [outputs[number] for number in self.counting]
        return self._scored(self.task.alternatives(self.target, rows, own))

    @cached_property
    def weights(self) -> list[torch.Tensor]:
        """How much each output of each row counts in the score: zeros for rows that it does not depend on."""
        import torch

        outputs = [torch.from_numpy(np.ascontiguousarray(one)).float().requires_grad_() for one in self.outputs]
        with torch.enable_grad():
            value: Any = sum(one.contrast() for one in self.task.alternatives(self.target, self.rows, outputs))
            found = torch.autograd.grad(value, outputs, allow_unused=True)
        return [torch.zeros_like(one) if own is None else own for own, one in zip(found, outputs, strict=True)]

    @cached_property
    def counting(self) -> list[int]:
        """Numbers of the rows on which the score depends."""
        return [number for number, weights in enumerate(self.weights) if bool(weights.any())]

    def tokens_without(self, number: int, erased: np.ndarray) -> list[int]:
        """The tokens of a row without some words, bool `[words]`."""
        gone = self.traced.rows[number] @ erased.astype(np.float64)
        return [self.blank if out else token for token, out in zip(self.rows[number].input_ids, gone > 0, strict=True)]

    def without(self, erased: np.ndarray) -> list[Score]:
        """The scores of rows in which a blank token is in the place of each token of an erased word."""
        found = []
        for begin in range(0, len(erased), CHUNK):
            found += self._without(erased[begin : begin + CHUNK])
        return found

    def _without(self, erased: np.ndarray) -> list[Score]:
        changed: list[tuple[int, int, Encoded]] = []
        for number in self.counting:
            row = self.rows[number]
            for one, words in enumerate(erased):
                ids = self.tokens_without(number, words)
                if ids != row.input_ids:
                    changed.append((one, number, replace(row, input_ids=ids)))
        outputs = [[*self.outputs] for _ in erased]
        for (one, number, _), answer in zip(changed, self.reader.answers([row for *_, row in changed]), strict=True):
            outputs[one][number] = answer
        return [self._of_counting(own) for own in outputs]

    # gradients --------------------------------------------------------------------------------------------------------

    def embedded(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The embeddings of a row, `[1, tokens, width]`, and those of it without any word.

        Raises ModelError where the model says something else of the embeddings than of the tokens.
        """
        import torch

        row = self.rows[number]
        own, none = (
            self.reader.embeddings(ids)
            for ids in (row.input_ids, self.tokens_without(number, np.ones(len(self.words), bool)))
        )
        with torch.no_grad():
            found = float(self.scored(number)(own)[0])
        weights = self.weights[number].numpy()
        output = self.outputs[number][tuple(slice(size) for size in weights.shape)]
        expected = float((weights[weights != 0] * output[weights != 0]).sum())
        if abs(found - expected) > SAME * max(abs(expected), 1.0):
            raise ModelError(
                f"The model says {found:.4g} of a text's embeddings and {expected:.4g} of its tokens, so its gradients "
                "would not be of this answer. Use --method occlusion, and --dtype float32 in any case."
            )
        return own, none

    def scored(self, number: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """What a row adds to the score, as a function of embeddings `[rows, tokens, width]`: `[rows]`."""
        weights, row = self.weights[number], self.rows[number]

        def value(embeddings: torch.Tensor) -> torch.Tensor:
            logits = self.reader.logits(embeddings, row)
            there = weights[tuple(slice(size) for size in logits.shape[1:])].to(logits.device)
            out: torch.Tensor = logits.mul(there).flatten(1).sum(1)
            return out

        return value

    def to_words(self, number: int, of_tokens: np.ndarray) -> np.ndarray:
        """Numbers of a row's tokens, shared among their words: `[words]`."""
        shared: np.ndarray = self.traced.rows[number].T @ of_tokens
        return shared


def blank_token(tokenizer: WordTokenizer) -> int:
    """The token that is put in the place of an erased word: the mask, else the unknown one, else a blank.

    Never one that ends or pads a text, by which a causal classifier finds the end.
    """
    own = tokenizer.hf_tokenizer
    taken = {own.eos_token_id, own.pad_token_id, own.bos_token_id, *tokenizer.before, *tokenizer.after}
    known = [own.mask_token_id, own.unk_token_id, *tokenizer.encode_data(" ", add_special_tokens=False).input_ids]
    known += tokenizer.encode_data(".", add_special_tokens=False).input_ids
    return next(int(token) for token in known if token is not None and token not in taken)
