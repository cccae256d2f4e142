"""Continuations of rows: sampled or greedy, with stop texts, each by its own settings."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError
from adapters.models.batching import by_length
from adapters.models.decoding import continued
from adapters.models.greedy_search import filled, generating_model, own_ends, search

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_COLDEST = 1e-6
"""Lowest temperature by which logits are divided: float32 has no quotients for lower ones."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a continuation is chosen, token by token, and where it ends.

    Attributes:
        max_new_tokens: most tokens.
        stop: texts that end it; they do not belong to it.
        temperature: 0 takes the likeliest token; others divide the logits and draw.
        top_p: draw among the likeliest tokens that together have this probability (Holtzman et al. 2020,
            arXiv:1904.09751).
        seed: of the draws; None for one of the system's.
    """

    max_new_tokens: int = 64
    stop: Sequence[str] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def check(self) -> None:
        """Raises SettingsError for a value that cannot work."""
        for name, sound, needed in (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("stop", not isinstance(self.stop, str) and all(self.stop), "a list of texts, none of them empty"),
            ("seed", self.seed is None or 0 <= self.seed < 2**63, "a whole number, 0 or more"),
        ):
            if not sound:
                raise SettingsError(f"{name}: must be {needed}, found {getattr(self, name)!r}.")


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What was written after a row.

    Attributes:
        text: without the text that ended it.
        tokens: number of tokens generated, that of the end included.
        finish_reason: `stop` (a stop text or the end of text), `length`, or `cancelled`.
        seed: of the draws; None if none were made.
    """

    text: str
    tokens: int
    finish_reason: str
    seed: int | None


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    sampling: Sequence[Sampling],
    on_text: Callable[[int, str], bool] | None = None,
    on_complete: Callable[[int, Continuation], None] | None = None,
    *,
    tokens: int,
    more: Callable[[], tuple[Sequence[int], Sampling] | None] = lambda: None,
) -> list[Continuation]:
    """Continue rows, each with its own sampling. A row's draws depend on its seed alone, not on the rows beside it.

    Args:
        model: causal, with its language-model head; a `decoding.GeneratingModel`.
        tokenizer: of the model.
        rows: tokens of each input, of any length. Shorter ones that are done make room for those that wait.
        sampling: of each row.
        on_text: called after each token with the number of a row and the new part of its text, which may be empty;
            returns whether to go on with it.
        on_complete: called with the number of a row and its continuation as soon as it ends, before longer rows do.
        tokens: at a time, as of `decoding.continued`.
        more: returns a row that has come meanwhile, as of `decoding.continued`, and its sampling. Its number follows
            those of the others.
    """
    generations: list[_Generation] = []

    def begin(one: Sampling) -> None:
        number = len(generations)
        heard = partial(on_text, number) if on_text else None
        generations.append(_Generation(tokenizer, one, heard, partial(on_complete, number) if on_complete else None))

    def begin_more() -> tuple[Sequence[int], int] | None:
        found = more()
        if found is None:
            return None
        begin(found[1])
        return filled([found[0]], tokenizer)[0], found[1].max_new_tokens

    for one in sampling:
        begin(one)
    ends = {*own_ends(model)}

    def take(number: int, logits: torch.Tensor) -> int | None:
        """The next token of a row; None after its last one."""
        token = generations[number].choose(logits)
        return None if generations[number].add(token, ends) else token

    most = [one.max_new_tokens for one in sampling]
    rows = filled(rows, tokenizer)
    limits: dict[str, Any] = {"tokens": tokens, "more": begin_more}
    rowwise = generating_model(model, rows, None)
    if rowwise is None or not continued(rowwise, rows, take, pad=int(tokenizer.pad_token_id), most=most, **limits):
        _generate_together(model, tokenizer, rows, generations, ends, tokens=tokens)
    return [one.continuation() for one in generations]


def _generate_together(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    generations: Sequence[_Generation],
    ends: set[int],
    *,
    tokens: int,
) -> None:
    """Continue rows in batches that end with their longest row, by transformers' own loop, whatever the cache."""
    lengths = [len(row) + one.sampling.max_new_tokens for row, one in zip(rows, generations, strict=True)]
    for batch in by_length(lengths, tokens=tokens, rows=None):
        own = [generations[i] for i in batch]
        _write_batch(model.of(batch), tokenizer, [rows[i] for i in batch], own, ends)


def _write_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    generations: Sequence[_Generation],
    ends: set[int],
) -> None:
    """Continue the rows of one batch."""

    def choose(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave the chosen token alone possible."""
        chosen = [one.choose(row) for one, row in zip(generations, scores, strict=True)]
        only = scores.new_full(scores.shape, float("-inf"))
        only[range(len(chosen)), chosen] = 0.0
        return only

    def done(ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        return ids.new_tensor(
            [w.add(token, ends) for w, token in zip(generations, ids[:, -1].tolist(), strict=True)]
        ).bool()

    most = max(one.sampling.max_new_tokens for one in generations)
    search(model, tokenizer, rows, max_new_tokens=most, criteria=[done], processors=[choose])


class _Generation:
    """One row while it is continued."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        sampling: Sampling,
        on_text: Callable[[str], bool] | None = None,
        on_complete: Callable[[Continuation], None] | None = None,
    ) -> None:
        import torch

        self.tokenizer, self.sampling, self.on_text, self.on_complete = tokenizer, sampling, on_text, on_complete
        self.tokens: list[int] = []
        self.text = ""
        self.heard = 0
        self.finish_reason = ""
        self.seed: int | None = None
        if sampling.temperature > 0:
            self.seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
            self.generator = torch.Generator().manual_seed(self.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """The next token, from its logits `[vocabulary]`."""
        import torch

        if not self.sampling.temperature:
            return int(logits.argmax())
        logits = logits.float().cpu()
        shares = torch.softmax((logits - logits.max()) / max(self.sampling.temperature, _COLDEST), -1)
        if self.sampling.top_p < 1:
            likeliest, order = shares.sort(descending=True, stable=True)
            before = likeliest.cumsum(-1) - likeliest
            kept = before < self.sampling.top_p
            kept[0] = True  # also where float32 takes top_p for 0
            shares = torch.zeros_like(shares).scatter(0, order, likeliest * kept)
        return int(torch.multinomial(shares, 1, generator=self.generator))

    def add(self, token: int, ends: set[int]) -> bool:
        """Take the next token; returns whether the row is done."""
        if not self.finish_reason:
            self._take(token, ends)
        return bool(self.finish_reason)

    def _take(self, token: int, ends: set[int]) -> None:
        self.tokens.append(token)
        if token in ends:
            self._finish("stop")
        else:
            self._add_text()
        if self.finish_reason and self.on_complete is not None:
            self.on_complete(self.continuation())

    def _add_text(self) -> None:
        self.text = self.tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = [at for at in map(self.text.find, self.sampling.stop) if at >= 0]
        if found:
            self.text = self.text[: min(found)]
            self._finish("stop")
        elif len(self.tokens) >= self.sampling.max_new_tokens:
            self._finish("length")
        elif not self._tell(len(self.text) - self._withheld()):
            self.finish_reason = "cancelled"

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        self._tell(len(self.text))

    def _withheld(self) -> int:
        """Characters at the end that may become part of a stop text, or of a character of several tokens."""
        if self.text.endswith("\ufffd"):
            return len(self.text) - self.heard
        starts = (
            size for stop in self.sampling.stop for size in range(1, len(stop)) if self.text.endswith(stop[:size])
        )
        return max(starts, default=0)

    def _tell(self, end: int) -> bool:
        """Let the listener hear the text up to `end`; returns whether to go on."""
        new, self.heard = self.text[self.heard : end], max(self.heard, end)
        return self.on_text is None or self.on_text(new)

    def continuation(self) -> Continuation:
        """What was written."""
        return Continuation(
            text=self.text, tokens=len(self.tokens), finish_reason=self.finish_reason or "length", seed=self.seed
        )
