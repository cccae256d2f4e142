"""The keys and values of the tokens with which rows begin (an instruction, shots), computed once and kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.models.batching import common_prefix

if TYPE_CHECKING:
    import torch

CHUNK = 128
"""Tokens that are computed in one pass."""


class PrefixCache:
    """A causal model's key-value cache of the last prefix that was asked for.

    Attributes:
        cache: of one row, as the model returns it; None before anything was asked for.
    """

    def __init__(self, model: Any) -> None:
        """Args: a causal model with its language-model head."""
        self.model = model
        self.tokens: list[int] = []
        self.cache: Any = None

    def fill(self, ids: Sequence[int]) -> None:
        """Make it the cache of these tokens, computing only those it lacks.

        They are computed in chunks with fixed bounds, so that the result does not depend on what was cached before.
        """
        import torch

        ids = list(ids)
        same = common_prefix([[*ids, -1], [*self.tokens, -2]])
        same -= same % CHUNK if same < max(len(ids), len(self.tokens)) else 0
        if same:
            self.crop(same)
        else:
            self.cache = None
        device = next(self.model.parameters()).device
        with torch.inference_mode(), self.or_nothing():
            for begin in range(same, len(ids), CHUNK):
                with projecting(self.model, [(0, -1)]):
                    self.cache = self.model(
                        input_ids=torch.tensor([ids[begin : begin + CHUNK]], device=device),
                        past_key_values=self.cache,
                        use_cache=True,
                    ).past_key_values
        self.tokens = ids

    @contextmanager
    def or_nothing(self) -> Iterator[None]:
        """For passes that add to the cache: empties it where they fail, as layers then differ in what they have."""
        try:
            yield
        except BaseException:
            self.cache, self.tokens = None, []
            raise

    def repeated(self, rows: int) -> Any:
        """A copy for a number of rows."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(rows)
        return cache

    def crop(self, tokens: int) -> None:
        """Shorten the cache to its first tokens."""
        removed = self.cache.get_seq_length() - tokens
        if removed:
            self.cache.crop(-removed)  # a negative argument is the number of tokens to remove


@contextmanager
def projecting(model: Any, positions: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Compute logits only for some positions, given by row and column."""
    rows, columns = np.array(positions).T

    def select(module: Any, given: tuple[torch.Tensor]) -> torch.Tensor:
        return given[0][rows, columns]

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
