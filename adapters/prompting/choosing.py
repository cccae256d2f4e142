"""The answers among which a prompted model chooses: their pieces, and how likely each of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.batching import by_length
from adapters.generation import first_piece
from adapters.prompting import scoring
from adapters.prompting.calibration import Reading
from adapters.prompting.scoring import Reader
from adapters.prompting.template import Prompt
from adapters.tasks import ENCODER_DECODER

if TYPE_CHECKING:
    from adapters.model import Base


_PACKED = 512
"""Pieces of the texts that stand side by side behind a word."""


class Choices:
    """The words of a task's labels as pieces behind a prompt's query, or in the place of its mask."""

    def __init__(
        self, model: Any, base: Base, prompt: Prompt, words: Sequence[tuple[str, int]], reader: Reader | None = None
    ) -> None:  # fmt: skip
        """Args:
        model: with a head for language.
        base: gives the tokenizer.
        prompt: says what stands in front of a word.
        words: each answer, and its class.
        reader: of the model, with what it has read before; None for a new one.
        """
        self.model, self.base, self.prompt = model, base, prompt
        self.reader = reader or Reader(model)
        self.tokenizer = base.text_tokenizer
        self.classes = np.array([number for _, number in words])
        self.pieces = [self._pieces_of(word) for word, _ in words]
        self.bytes = np.array([len(word.encode()) for word, _ in words])

    @property
    def longest(self) -> int:
        """Pieces of the longest word."""
        return max(map(len, self.pieces))

    def mask(self, pieces: int) -> str:
        """What stands in the query's mask for a word of so many pieces; nothing where it has no mask."""
        return str(self.tokenizer.mask_token) * pieces if self.prompt.masked else ""

    def reading(
        self, ask: Callable[[str], list[list[int]]], *, empty: int, context: bool, step: Callable[[int], None]
    ) -> Reading:  # fmt: skip
        """How likely each word is behind each prompt.

        Args:
            ask: the prompts' pieces, given what fills the mask.
            empty: how many of them, the first ones, are of texts without content.
            context: whether the words are to be read without a text, too.
            step: told how many prompts are done.
        """
        each = self._of_words(ask, step)
        beside: dict[str, np.ndarray] = {}
        if context:
            beside = {
                "premise": self._of_words(self._asking(self.prompt.in_front_of_answer()), lambda _: None)[0],
                "nothing": self._of_words(self._asking(""), lambda _: None)[0],
            }
        return Reading(
            words=each[empty:], empty=each[:empty], classes=self.classes, bytes=self.bytes,
            pieces=np.array([len(pieces) for pieces in self.pieces]), **beside,
        )  # fmt: skip

    def channel(
        self, fronts: Sequence[str], texts: Sequence[str], *, empty: int, step: Callable[[int], None]
    ) -> Reading:  # fmt: skip
        """How likely each text is behind each word.

        Args:
            fronts: a prompt that ends in front of the text, for each word.
            texts: what stands there, of each example.
            empty: how many of them, the first ones, are without content.
            step: told how many texts are done.
        """
        rows = [self.prompt.cut(front.rstrip(" "), self.tokenizer) for front in fronts]
        found = np.zeros((len(texts), len(rows)))
        behind = [self._continued(fronts[0], text) for text in texts]
        pad_id = int(self.tokenizer.pad_token_id)
        # Texts stand side by side behind each word, out of each other's sight; so many that a pass stays small.
        for batch in by_length([len(ids) for ids in behind], pieces=_PACKED, rows=None):
            found[batch] = self.reader.behind(rows, [behind[i] for i in batch], pad_id=pad_id).T
            step(len(batch))
        return Reading(words=found[empty:], empty=found[:empty], classes=self.classes, bytes=np.ones(len(rows)),
                       pieces=np.ones(len(rows)))  # fmt: skip

    def _asking(self, text: str) -> Callable[[str], list[list[int]]]:
        """A prompt that is this text alone; an end of text where there is none, which models know as a beginning."""

        def ask(mask: str) -> list[list[int]]:
            ids = self.prompt.cut(text.rstrip(" ") + mask, self.tokenizer)
            return [ids or [first_piece(self.tokenizer)]]

        return ask

    def _of_words(self, ask: Callable[[str], list[list[int]]], step: Callable[[int], None]) -> np.ndarray:
        """Log-probability `[prompts, words]`."""
        pad_id = int(self.tokenizer.pad_token_id)
        if not self.prompt.masked:
            if self.base.kind == ENCODER_DECODER:
                return scoring.one_by_one(self.model, ask(""), self.pieces, pad_id=pad_id, step=step)
            return self.reader.behind(ask(""), self.pieces, pad_id=pad_id, step=step)
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
        return self._continued(self.prompt.in_front_of_answer(), word)

    def _continued(self, context: str, text: str) -> list[int]:
        """A text's pieces behind a context whose blanks at the end are its own; at least one."""
        glue = context[len(context.rstrip(" ")) :]
        before, whole = self._bare(context.rstrip(" ")), self._bare(context + text)
        if whole[: len(before)] == before and len(whole) > len(before):
            return whole[len(before) :]
        return self._bare(glue + text) or [first_piece(self.tokenizer)]

    def _bare(self, text: str) -> list[int]:
        return self.prompt.cut(text, self.tokenizer, add_special_tokens=False)
