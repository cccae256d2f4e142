"""Rows of a causal model continued token by token: a row that is done leaves the batch, and the next takes its place.

transformers' `generate` computes a row that has ended until the longest of its batch has, begins no other one
meanwhile, and reads all weights for each token. Here a step also computes what is likely to come next, the tokens that
followed the row's last one where it occurred before (prompt lookup; Saxena 2023, after Leviathan et al. 2023,
arXiv:2211.17192), and keeps them as far as they are what would have been chosen: names, quotations and the lines of a
form are copied several tokens at a time, and the text stays the same.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Choose = Callable[[int, "torch.Tensor"], "int | None"]
"""Gets the number of a row and its logits `[vocabulary]`; returns the next token, None where the row is done."""
More = Callable[[], "tuple[Sequence[int], int] | None"]
"""Returns the tokens of a row that has come meanwhile, and how many it may get; None where there is none."""
STEP_TOKENS = 12
"""Tokens of a step up to which guessed ones are computed besides: about as long as one of few tokens, whose time is
that of reading the weights."""
MOST_GUESSED = 8
"""Guessed tokens of a row in a step."""
FIRST_GUESSED = 1
"""Guessed tokens of a row that has not been guessed yet. Later it is one more than were right the last time."""
UNSEEN = 16
"""Columns of the cache that no row needs, from which they are taken out."""


class GeneratingModel(Protocol):
    """A causal model with its language-model head, whose rows may differ in what is added to it.

    Attributes:
        shared: number of first tokens of the rows whose keys and values are in the cache of `prefixes`.
    """

    config: Any
    generation_config: Any
    shared: int

    def rows(self, numbers: Sequence[int]) -> AbstractContextManager[Any]:
        """The model; within the block its forward passes are of these rows."""

    def prefixes(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """A cache with what comes before the rows (None for nothing), and which of it each sees, int64 `[rows, …]`."""


def continued(
    model: GeneratingModel,
    rows: Sequence[Sequence[int]],
    choose: Choose,
    *,
    pad: int,
    most: Sequence[int],
    tokens: int | None = None,
    together: int | None = None,
    more: More = lambda: None,
) -> bool:
    """Continue rows until each is done, those that may be the shortest first.

    Args:
        model: whose rows may differ.
        rows: tokens of each.
        choose: chooses the next token of a row.
        pad: token that fills shorter rows.
        most: tokens that a row may still get.
        tokens: of the rows that are continued at a time, with what they may still get, all as long as the longest. A
            longer row is continued alone.
        together: rows that are continued at a time. None for any number.
        more: is asked after each step for a row to continue as well, as long as there is room.

    Returns:
        False, with nothing taken, where the model's cache is of a kind whose rows cannot be exchanged.
    """
    import torch

    rows, most = list(rows), list(most)
    waiting = deque(sorted(range(len(rows)), key=lambda i: len(rows[i]) + most[i]))  # alike rows need little padding
    batch = _Batch(model, pad)

    def fit() -> int:
        """How many of those that wait may be begun: not few beside many, as each beginning reads all weights."""
        ahead = [len(rows[i]) + most[i] for i in batch.numbers]
        longest, number = max(ahead, default=0), len(ahead)
        for i in waiting:
            longest = max(longest, len(rows[i]) + most[i])
            full = tokens is not None and (number + 1) * longest > tokens
            if number and (full or number == together):
                break
            number += 1
        new = number - len(ahead)
        return new if 4 * new >= min(len(ahead), 4 * len(waiting)) else 0

    with torch.inference_mode():
        while waiting or batch.numbers:
            new = [waiting.popleft() for _ in range(fit())]
            if batch.numbers:
                batch.step(choose)
            if new and not batch.admit(new, [_Row(rows[i], most[i]) for i in new], choose):
                return False
            while fit() == len(waiting) and (found := more()) is not None:
                waiting.append(len(rows))
                rows.append(found[0])
                most.append(found[1])
    return True


class _Row:
    """The tokens of a row, and after which of them each was followed by what."""

    def __init__(self, tokens: Sequence[int], most: int) -> None:
        self.tokens: list[int] = []
        self.end = len(tokens) + most
        self.places: dict[int, int] = {}
        """Of each token, the place after its last occurrence but that at the end."""
        self.guessed = FIRST_GUESSED
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """The next token."""
        if self.tokens:
            self.places[self.tokens[-1]] = len(self.tokens)
        self.tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """What followed the last token where it occurred before, but for the last one that the row may still get."""
        place = self.places.get(self.tokens[-1], len(self.tokens))
        return self.tokens[place : place + max(0, min(most, self.guessed, self.end - len(self.tokens) - 1))]


class _Batch:
    """The rows that are continued, with their keys and values, each row's own columns alone visible to it."""

    def __init__(self, generating: GeneratingModel, pad: int) -> None:
        self.generating, self.pad = generating, pad
        self.numbers: list[int] = []
        self.rows: list[_Row] = []
        self.cache: Any = None
        self.mask: Any = None

    def step(self, choose: Choose) -> None:
        """One more token of each row, and those that were guessed rightly; rows that are done leave."""
        import torch

        most = min(MOST_GUESSED, STEP_TOKENS // len(self.numbers) - 1)
        guesses = [row.guess(most) if most > 0 else [] for row in self.rows]
        longest, device, before = max(map(len, guesses)), self.mask.device, self.mask.shape[1]
        filling = [longest - len(guess) for guess in guesses]
        ids = [
            [row.tokens[-1], *guess] + [self.pad] * fill
            for row, guess, fill in zip(self.rows, guesses, filling, strict=True)
        ]
        seen = [[1] * (1 + longest - fill) + [0] * fill for fill in filling]
        self.mask = torch.cat([self.mask, torch.tensor(seen, device=device)], 1)
        with self.generating.rows(self.numbers) as model:
            out = model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=self.mask,
                position_ids=(self.mask.cumsum(1) - 1)[:, before:],
                past_key_values=self.cache,
                use_cache=True,
            )
        self._choose(out.logits, guesses, choose)

    def admit(self, numbers: Sequence[int], rows: Sequence[_Row], choose: Choose) -> bool:
        """Compute rows' own tokens and take the next one of each; False where the cache is of another kind."""
        import torch
        from transformers import DynamicCache

        cache, before = self.generating.prefixes(numbers)
        own, device = [row.tokens[self.generating.shared :] for row in rows], before.device
        longest = max(map(len, own))
        ids = torch.tensor([[self.pad] * (longest - len(row)) + [*row] for row in own], device=device)
        seen = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in own], device=device)
        mask = torch.cat([before, seen], 1)
        with self.generating.rows(numbers) as model:
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -longest:],
                past_key_values=DynamicCache() if cache is None else cache,
                use_cache=True,
                logits_to_keep=1,
            )
        new = _Batch(self.generating, self.pad)
        new.numbers, new.rows, new.mask, new.cache = list(numbers), list(rows), mask, out.past_key_values
        if not exchangeable(new.cache):
            return False
        new._choose(out.logits[:, -1:], [[]] * len(numbers), choose)
        self._join(new)
        return True

    def _choose(self, logits: torch.Tensor, guesses: Sequence[Sequence[int]], choose: Choose) -> None:
        """Choose the next tokens of each row, as far as they were guessed; keep the rows that go on."""
        begin = self.mask.shape[1] - logits.shape[1] + 1  # of the columns of what was guessed
        kept, accepted = [], []
        for i, (number, row, guess) in enumerate(zip(self.numbers, self.rows, guesses, strict=True)):
            found = 0
            while (token := choose(number, logits[i, found])) is not None:
                row.add(token)
                if found == len(guess) or token != guess[found]:
                    break
                found += 1
            row.guessed = found + 1 if guess else row.guessed
            if token is not None:
                kept.append(i)
                accepted.append(found)
        if len(kept) < len(self.numbers):
            self.numbers, self.rows = [self.numbers[i] for i in kept], [self.rows[i] for i in kept]
        if kept:
            self._tidy(kept if len(kept) < len(logits) else None, begin, accepted)

    def _tidy(self, kept: Sequence[int] | None, begin: int, accepted: Sequence[int]) -> None:
        """Leave out rows, and columns that none of the others sees; those of wrong guesses are seen by none.

        Args:
            kept: rows that stay; None for all.
            begin: first column of what was guessed.
            accepted: how many of these are to stay, in each row.
        """
        import torch

        if kept is not None:
            self.mask = self.mask[kept]
        end = begin + max(accepted)
        if end > begin:
            columns = torch.arange(begin, end, device=self.mask.device)
            self.mask[:, begin:end] *= columns < begin + torch.tensor(accepted, device=self.mask.device)[:, None]
        self.mask = self.mask[:, :end]
        needed = int(self.mask.sum(1).max())
        spread = end - needed >= UNSEEN
        order = self.mask.argsort(dim=1, stable=True)[:, -needed:, None] if spread else None  # seen columns to the end
        if order is not None:
            self.mask = self.mask.gather(1, order[:, :, 0])
        for layer in self.cache.layers:
            for name in ("keys", "values"):
                one = getattr(layer, name)[:, :, :end]
                one = one if kept is None else one[kept]
                if order is not None:
                    own = order[:, None].expand(-1, one.shape[1], -1, one.shape[3])
                    one = one.gather(2, own.to(one.device))
                setattr(layer, name, one)

    def _join(self, new: _Batch) -> None:
        """Add the rows of another batch."""
        import torch

        if not new.numbers:
            return
        if not self.numbers:
            self.numbers, self.rows, self.cache, self.mask = new.numbers, new.rows, new.cache, new.mask
            return
        longest = max(self.mask.shape[1], new.mask.shape[1])
        self.numbers, self.rows = self.numbers + new.numbers, self.rows + new.rows
        self.mask = torch.cat([_wider(one.mask, longest, 1) for one in (self, new)])
        for layer, other in zip(self.cache.layers, new.cache.layers, strict=True):
            layer.keys = torch.cat([_wider(one, longest, 2) for one in (layer.keys, other.keys)])
            layer.values = torch.cat([_wider(one, longest, 2) for one in (layer.values, other.values)])


def _wider(tensor: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """A tensor filled with zeros at the beginning of a dimension."""
    import torch

    missing = size - tensor.shape[dim]
    zeros = tensor.new_zeros([missing if at == dim else length for at, length in enumerate(tensor.shape)])
    return torch.cat([zeros, tensor], dim) if missing else tensor


def continuable(model: Any) -> bool:
    """Whether `continued` is for a causal model: each token sees all before it, at positions that are given.

    Rows have columns that they do not see, between those that they do; windows and recurrent states count them.
    """
    from transformers import DynamicCache

    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    named = inspect.signature(whole.forward).parameters
    if not {"position_ids", "past_key_values", "attention_mask", "logits_to_keep"} <= named.keys():
        return False
    config = model.config.get_text_config(decoder=True)
    local = "local" in getattr(config, "attention_layers", ())
    kinds = {*(getattr(config, "layer_types", None) or ())}
    return not local and kinds <= {"full_attention"} and exchangeable(DynamicCache(config=config))


def exchangeable(cache: Any) -> bool:
    """Whether a cache is keys and values of all tokens in each layer, so that rows can be taken out and put in."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)
