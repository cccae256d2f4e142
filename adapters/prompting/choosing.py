"""The answers among which a prompted model chooses: their pieces, and how likely each class is by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.inference import autocast
from adapters.prompting import scoring
from adapters.prompting.template import Prompt
from adapters.tasks import ENCODER_DECODER

if TYPE_CHECKING:
    from adapters.model import Base


class Choices:
    """The words of a task's labels as pieces behind a prompt's query, or in the place of its mask."""

    def __init__(self, model: Any, base: Base, prompt: Prompt, words: Sequence[tuple[str, int]]) -> None:
        """Args:
        model: with a head for language.
        base: gives the tokenizer.
        prompt: says what stands in front of a word.
        words: each answer, and its class.
        """
        self.model, self.base, self.prompt = model, base, prompt
        self.tokenizer = base.text_tokenizer
        self.classes = np.array([number for _, number in words])
        self.pieces = [self._pieces_of(word) for word, _ in words]

    @property
    def longest(self) -> int:
        """Pieces of the longest word."""
        return max(map(len, self.pieces))

    def mask(self, pieces: int) -> str:
        """What stands in the query's mask for a word of so many pieces; nothing where it has no mask."""
        return str(self.tokenizer.mask_token) * pieces if self.prompt.masked else ""

    def scores(
        self, ask: Callable[[str], list[list[int]]], *, precision: str, step: Callable[[int], None]
    ) -> np.ndarray:
        """Log-probability `[prompts, classes]` of each class: of its words, the mean of their probabilities.

        Args:
            ask: the prompts' pieces, given what fills the mask.
            precision: of the forward pass.
            step: told how many prompts are done.
        """
        each = self._of_words(ask, precision, step)
        out = np.full((len(each), self.classes.max() + 1), -np.inf)
        for number in range(out.shape[1]):
            own = each[:, self.classes == number]
            out[:, number] = np.logaddexp.reduce(own, axis=1) - np.log(own.shape[1])
        return out

    def _of_words(
        self, ask: Callable[[str], list[list[int]]], precision: str, step: Callable[[int], None]
    ) -> np.ndarray:
        """Log-probability `[prompts, words]`."""
        pad_id = int(self.tokenizer.pad_token_id)
        with autocast(next(self.model.parameters()).device, precision):
            if not self.prompt.masked:
                score = scoring.one_by_one if self.base.kind == ENCODER_DECODER else scoring.behind
                return score(self.model, ask(""), self.pieces, pad_id=pad_id, step=step)
            lengths = sorted(set(map(len, self.pieces)))
            out = np.zeros((0, len(self.pieces)))
            for length in lengths:
                rows = ask(self.mask(length))
                out = out if len(out) else np.zeros((len(rows), len(self.pieces)))
                own = [i for i, pieces in enumerate(self.pieces) if len(pieces) == length]
                out[:, own] = scoring.masked(self.model, rows, [self.pieces[i] for i in own], pad_id=pad_id,
                                             mask_id=int(self.tokenizer.mask_token_id))  # fmt: skip
            step(len(out))
            return out

    def _pieces_of(self, word: str) -> list[int]:
        """A word's pieces where it stands; a blank at the query's end belongs to the word, as in running text."""
        if self.base.kind == ENCODER_DECODER:
            return self._bare(word)
        context = self.prompt.in_front_of_answer()
        glue = context[len(context.rstrip(" ")) :]
        before, whole = self._bare(context.rstrip(" ")), self._bare(context + word)
        return whole[len(before) :] if whole[: len(before)] == before else self._bare(glue + word)

    def _bare(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids
