"""Label words of a prompt: their tokens and log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.models.base_model import ENCODER_DECODER
from adapters.models.batching import by_length
from adapters.prompting import likelihood
from adapters.prompting.calibration import LabelLogProbs
from adapters.prompting.likelihood import CachedScorer
from adapters.prompting.prompt_form import PlainForm, PromptForm
from adapters.prompting.template import Prompt

if TYPE_CHECKING:
    from adapters.models.base_model import Base

_PACKED_TOKENS = 512
"""Tokens of the texts that are scored in one pass after a word."""


class LabelScorer:
    """Scores the words of a task's labels after a prompt's query, or in the place of its mask."""

    def __init__(
        self,
        model: Any,
        base: Base,
        prompt: Prompt,
        form: PromptForm,
        plain: PlainForm,
        words: Sequence[tuple[str, int]],
        scorer: CachedScorer | None = None,
    ) -> None:
        """Args:
        model: with a language-model head.
        base: provides the tokenizer.
        prompt: the template.
        form: in which the prompt reaches the model.
        plain: its form as one text, in which a channel is read.
        words: each word and its class.
        scorer: of the model, with its cache; None for a new one.
        """
        self.model, self.base, self.prompt = model, base, prompt
        self.form, self.plain = form, plain
        self.scorer = scorer or CachedScorer(model)
        self.tokenizer = base.tokenizer
        self.classes = np.array([number for _, number in words])
        self.tokens = [self._tokens_of(word) for word, _ in words]
        self.bytes = np.array([len(word.encode()) for word, _ in words])

    @property
    def longest(self) -> int:
        """Length of the longest word in tokens."""
        return max(map(len, self.tokens))

    def mask(self, tokens: int) -> str:
        """The mask tokens for a word of that many tokens; empty if the prompt has no mask."""
        return str(self.tokenizer.mask_token) * tokens if self.prompt.masked else ""

    def word_log_probs(
        self,
        prompts: Callable[[str], list[list[int]]],
        *,
        content_free: int,
        unconditional: bool,
        step: Callable[[int], None],
    ) -> LabelLogProbs:
        """Log-probabilities of each word after each prompt.

        Args:
            prompts: returns the tokens of all prompts, given the text for the mask.
            content_free: number of prompts, the first ones, with content-free texts.
            unconditional: whether to score the words without a text too.
            step: called with the number of prompts that are done.
        """
        scores = self._score_words(prompts, step)
        more: dict[str, np.ndarray] = {}
        if unconditional:
            more = {
                name: self._score_words(
                    lambda mask, own=own: [self.form.context_tokens(mask, own_words=own)],  # type: ignore[misc]
                    lambda _: None,
                )[0]
                for name, own in (("domain", True), ("unconditional", False))
            }
        return LabelLogProbs(
            words=scores[content_free:],
            content_free=scores[:content_free],
            classes=self.classes,
            bytes=self.bytes,
            tokens=np.array([len(tokens) for tokens in self.tokens]),
            **more,
        )

    def channel_log_probs(
        self, contexts: Sequence[str], texts: Sequence[str], *, step: Callable[[int], None]
    ) -> np.ndarray:
        """Log-probability `[texts, words]` of each text after each word.

        Args:
            contexts: for each word, the prompt up to the text.
            texts: the text of each example.
            step: called with the number of texts that are done.
        """
        rows = [self.prompt.tokenize(context.rstrip(" "), self.base.word_tokenizer) for context in contexts]
        scores = np.zeros((len(texts), len(rows)))
        choices = [self.plain.continuation(contexts[0], text) for text in texts]
        pad_id = int(self.tokenizer.pad_token_id)
        # Several texts are scored in one pass after each word without seeing each other; as many as keep a pass small.
        for batch in by_length([len(ids) for ids in choices], tokens=_PACKED_TOKENS, rows=None):
            scores[batch] = self.scorer.log_probs_after(rows, [choices[i] for i in batch], pad_id=pad_id).T
            step(len(batch))
        return scores

    def _score_words(self, prompts: Callable[[str], list[list[int]]], step: Callable[[int], None]) -> np.ndarray:
        """Log-probability `[prompts, words]`."""
        pad_id = int(self.tokenizer.pad_token_id)
        if not self.prompt.masked:
            if self.base.kind == ENCODER_DECODER:
                return likelihood.one_by_one(self.model, prompts(""), self.tokens, pad_id=pad_id, step=step)
            return self.scorer.log_probs_after(prompts(""), self.tokens, pad_id=pad_id, step=step)
        lengths = sorted(set(map(len, self.tokens)))
        out = np.zeros((0, len(self.tokens)))
        for length in lengths:
            rows = prompts(self.mask(length))
            out = out if len(out) else np.zeros((len(rows), len(self.tokens)))
            own = [i for i, tokens in enumerate(self.tokens) if len(tokens) == length]
            mask_id = int(self.tokenizer.mask_token_id)
            out[:, own] = likelihood.masked(
                self.model, rows, [self.tokens[i] for i in own], pad_id=pad_id, mask_id=mask_id
            )
        step(len(out))
        return out

    def _tokens_of(self, word: str) -> list[int]:
        """Tokens of a word where the answer begins; to an encoder-decoder that is a text of its own."""
        return self.plain.bare(word) if self.base.kind == ENCODER_DECODER else self.form.answer_tokens(word)
