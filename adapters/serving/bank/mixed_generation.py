"""A causal base that generates in mixed batches: each row under its own adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.serving.bank.mixed_model import MixedModel

if TYPE_CHECKING:
    import torch


class MixedGenerator:
    """A model for `models.generation` and `models.continuation`, and for tasks whose answers are generated. Rows keep
    their order and slots."""

    rows_differ = True
    shared = 0
    """Rows with the same first tokens need not have the same keys and values."""

    def __init__(self, model: Any, mixed: MixedModel, slots: Sequence[int]) -> None:
        """Args:
        model: with its language-model head; `mixed` wraps its body.
        mixed: stores the adapters.
        slots: slot of each row's adapter.
        """
        self.model, self.mixed = model, mixed
        self.slots = np.asarray(slots, np.int64)
        self.config, self.generation_config = model.config, model.generation_config

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Those of the base."""
        parameters: Iterator[torch.nn.Parameter] = self.model.parameters()
        return parameters

    def add(self, slot: int) -> None:
        """One more row, under the adapter in a slot."""
        self.slots = np.append(self.slots, slot)

    def of(self, numbers: Sequence[int]) -> MixedGenerator:
        """The same for some of the rows."""
        return MixedGenerator(self.model, self.mixed, self.slots[[*numbers]].tolist())

    @contextmanager
    def rows(self, numbers: Sequence[int]) -> Iterator[Any]:
        """The model; within the block its forward passes are of these rows."""
        with self.mixed.using(self.slots[[*numbers]]):
            yield self.model

    def prefixes(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """A cache with the rows' prefixes (None where none has one), and which of it each sees, `[rows, tokens]`."""
        import torch

        slots = self.slots[[*numbers]]
        sizes = self.mixed.sizes("prefix", slots)
        longest = int(sizes.max())
        seen = torch.from_numpy((np.arange(longest) < sizes[:, None]).astype(np.int64)).to(self.mixed.device)
        return self.mixed.prefix_cache(slots, longest) if longest else None, seen

    def generate(
        self,
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: None = None,
        stopping_criteria: Any = (),
        prefix_allowed_tokens_fn: Any = None,
        **options: Any,
    ) -> torch.Tensor:
        """As transformers' `generate`; prefixes precede the text as a cache, and callers do not see them."""
        import torch
        from transformers import StoppingCriteriaList

        cache, seen = self.prefixes(range(len(self.slots)))
        longest = seen.shape[1]
        if cache is not None:
            # generate() takes the first tokens for those whose keys and values the cache contains.
            input_ids = torch.cat([torch.full_like(seen, self.mixed.pad_id), input_ids], 1)
            attention_mask = torch.cat([seen, attention_mask], 1)
            options["past_key_values"] = cache
        criteria = StoppingCriteriaList(_without_prefix(longest, criterion) for criterion in stopping_criteria)
        if prefix_allowed_tokens_fn is not None:
            options["prefix_allowed_tokens_fn"] = lambda row, ids: prefix_allowed_tokens_fn(row, ids[longest:])
        with self.mixed.using(self.slots):
            out: torch.Tensor = self.model.generate(
                input_ids=input_ids, attention_mask=attention_mask, stopping_criteria=criteria, **options
            )
        return out[:, longest:]


def _without_prefix(longest: int, criterion: Any) -> Any:
    """A stopping criterion that sees only the tokens after a prefix."""

    def done(ids: torch.Tensor, scores: Any, **named: Any) -> Any:
        return criterion(ids[:, longest:], scores, **named)

    return done
