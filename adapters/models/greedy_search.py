"""What answers and continuations share: the rows of one model, and transformers' own greedy search."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.models.batching import common_prefix
from adapters.models.decoding import GeneratingModel, continuable
from adapters.models.prefix_cache import PrefixCache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

MIN_SHARED_PREFIX = 16
"""Shortest common prefix of rows, in tokens, whose keys and values are computed once for all of them."""
# Options of a model's own generation config that change greedy search: sampling, beams, penalties and lengths. A
# repetition penalty would also count padding, so that the answer to a row would depend on the other rows.
_NOT_GREEDY = (
    "temperature",
    "top_p",
    "top_k",
    "top_h",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "min_length",
    "min_new_tokens",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "early_stopping",
    "length_penalty",
    "guidance_scale",
    "watermarking_config",
    "stop_strings",
    "max_time",
    "max_length",
    "prompt_lookup_num_tokens",
)

_CHANGE_THE_LIKELIEST = (
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "forced_bos_token_id",
)
"""Options of a model's own generation config that greedy search follows, and transformers' own loop alone does."""


class _Alike:
    """A model that answers all rows alike: their common prefix is computed once. A `decoding.GeneratingModel`."""

    def __init__(self, model: Any, rows: Sequence[Sequence[int]], prefixes: PrefixCache | None) -> None:
        """Args: a causal model with its language-model head, the tokens of all rows, the cache of earlier ones."""
        self.model, self.config, self.generation_config = model, model.config, model.generation_config
        self.shared = _shared_length(rows) if len(rows) > 1 or prefixes is not None else 0
        self.cache = PrefixCache(model) if prefixes is None else prefixes
        if self.shared:
            self.cache.fill(rows[0][: self.shared])

    def rows(self, numbers: Sequence[int]) -> AbstractContextManager[Any]:
        """The model."""
        return contextlib.nullcontext(self.model)

    def prefixes(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """The common prefix of rows."""
        import torch

        seen = torch.ones(len(numbers), self.shared, dtype=torch.int64, device=next(self.model.parameters()).device)
        return self.cache.repeated(len(numbers)) if self.shared else None, seen


def generating_model(model: Any, rows: Sequence[Sequence[int]], prefixes: PrefixCache | None) -> GeneratingModel | None:
    """What `continued` continues rows with; None where the model needs transformers' own loop."""
    if model.config.is_encoder_decoder or any(
        getattr(model.generation_config, name, None) is not None for name in _CHANGE_THE_LIKELIEST
    ):
        return None
    if getattr(model, "rows_differ", False):
        own: GeneratingModel = model
        return own if continuable(model.model) else None
    return _Alike(model, rows, prefixes) if continuable(model) and not needs_own_prefix(model) else None


def filled(rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast) -> list[Sequence[int]]:
    """The rows, a first token in place of an empty one."""
    return [row or [first_token(tokenizer)] for row in rows]


def search(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    criteria: Sequence[Callable[..., torch.Tensor]] = (),
    processors: Sequence[Callable[..., torch.Tensor]] = (),
    allowed: Any = None,
    end_tokens: Sequence[int] = (),
) -> torch.Tensor:
    """What transformers' greedy search returns for rows, their common prefix computed once."""
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    device = next(model.parameters()).device
    pad = int(tokenizer.pad_token_id)
    longest = max(map(len, rows))
    encoded = bool(model.config.is_encoder_decoder)
    shared = 0 if encoded or needs_own_prefix(model) or len(rows) < 2 else _shared_length(rows)
    padded = partial(_padded, shared=shared, longest=longest, left=not encoded)
    ids = torch.tensor([padded(row, pad) for row in rows], device=device)
    mask = torch.tensor([padded([1] * len(row), 0) for row in rows], device=device)
    with torch.inference_mode():
        prefix = PrefixCache(model)
        if shared:
            prefix.fill(rows[0][:shared])
        out: torch.Tensor = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=prefix.repeated(len(rows)) if shared else None,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            num_return_sequences=1,
            return_dict_in_generate=False,
            pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList(criteria),
            logits_processor=LogitsProcessorList(processors),
            prefix_allowed_tokens_fn=allowed,
            **({"eos_token_id": [*own_ends(model), *end_tokens]} if end_tokens else {}),
            **{name: None for name in _NOT_GREEDY if getattr(model.generation_config, name, None) is not None},
        )
    return out


def own_ends(model: Any) -> list[int]:
    """The tokens that end a text by the model's own config."""
    return [int(end) for end in np.atleast_1d(model.generation_config.eos_token_id) if end is not None]


def needs_own_prefix(model: Any) -> bool:
    """Whether a common prefix cannot be computed once: rows have different adapters, or PEFT's prefix tuning needs an
    empty cache."""
    config = getattr(model, "active_peft_config", None)
    return getattr(model, "rows_differ", False) or (config is not None and bool(config.is_prompt_learning))


def _shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix; 0 if it is too short to be worth a pass of its own."""
    shared = common_prefix(rows)
    return shared if shared >= MIN_SHARED_PREFIX else 0


def first_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token used for an empty input."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(int(token) for token in known if token is not None)


def _padded(row: Sequence[int], value: int, *, shared: int, longest: int, left: bool) -> list[int]:
    """A row padded to the longest; left padding goes after the common prefix."""
    filling = [value] * (longest - len(row))
    return [*row[:shared], *filling, *row[shared:]] if left else [*row, *filling]
