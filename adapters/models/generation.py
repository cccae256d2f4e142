"""Greedy generation for batches of rows of any length."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

MIN_SHARED_PREFIX = 16
"""Shortest common prefix of rows, in tokens, whose keys and values are computed once for all of them."""
_TAIL = 8
"""Tokens to search for the end of an answer, besides one per byte of it: some tokens decode to no text."""
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


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end: str = "",
    allowed: Callable[[int, list[int]], list[int]] | None = None,
) -> list[list[int]]:
    """Generate greedily after each row (with an encoder-decoder: in answer to it).

    Args:
        model: causal or encoder-decoder, with its language-model head.
        tokenizer: of the model.
        rows: tokens of each input, of any length. Padding is masked: on the left for a causal model, which continues at
            the right; on the right for an encoder-decoder. A common prefix of a causal model's rows (shots, an
            instruction) is computed once for all of them.
        max_new_tokens: maximum length of an answer.
        end: text that ends an answer once it has a word; the end-of-text token ends it in any case.
        allowed: maps the number of a row and its generated tokens to the tokens allowed next; None allows all.

    Returns:
        Tokens of each answer, including those of `end` (the last may contain more text), without an end-of-text token.
    """
    import torch
    from transformers import StoppingCriteriaList

    device = next(model.parameters()).device
    pad = int(tokenizer.pad_token_id)
    rows = [row or [first_token(tokenizer)] for row in rows]
    longest = max(map(len, rows))
    encoded = bool(model.config.is_encoder_decoder)
    shared = 0 if encoded or _needs_own_prefix(model) else _shared_length(rows)
    padded = partial(_padded, shared=shared, longest=longest, left=not encoded)
    ids = torch.tensor([padded(row, pad) for row in rows], device=device)
    mask = torch.tensor([padded([1] * len(row), 0) for row in rows], device=device)
    before = 1 if encoded else longest  # an encoder-decoder generates after one start token
    with torch.inference_mode():
        cache = prefill_cache(model, rows[0][:shared]) if shared else None
        if cache is not None:
            cache.batch_repeat_interleave(len(rows))
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            num_return_sequences=1,
            return_dict_in_generate=False,
            pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList([_ends(tokenizer, end, before)] if end else []),
            prefix_allowed_tokens_fn=_allowed_after(allowed, before),
            **{name: None for name in _NOT_GREEDY if getattr(model.generation_config, name, None) is not None},
        )
    ends = {pad, *np.atleast_1d(model.generation_config.eos_token_id).tolist()}
    return [_until(answer, ends) for answer in out[:, before:].tolist()]


def _needs_own_prefix(model: Any) -> bool:
    """Whether a common prefix cannot be computed once: rows have different adapters, or PEFT's prefix tuning needs an
    empty cache."""
    config = getattr(model, "active_peft_config", None)
    return getattr(model, "rows_differ", False) or (config is not None and bool(config.is_prompt_learning))


def _shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix; 0 if it is too short to be worth a pass of its own."""
    shared = common_prefix(rows) if len(rows) > 1 else 0
    return shared if shared >= MIN_SHARED_PREFIX else 0


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Number of tokens that all rows start with, at least one token less than the shortest row."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return min(sum(1 for _ in columns), min(map(len, rows)) - 1)


def prefill_cache(model: Any, ids: Sequence[int]) -> Any:
    """A causal model's key-value cache of some tokens, for one row."""
    import torch

    device = next(model.parameters()).device
    return model(input_ids=torch.tensor([ids], device=device), use_cache=True, logits_to_keep=1).past_key_values


def first_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token used for an empty input."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(int(token) for token in known if token is not None)


def _padded(row: Sequence[int], value: int, *, shared: int, longest: int, left: bool) -> list[int]:
    """A row padded to the longest; left padding goes after the common prefix."""
    filling = [value] * (longest - len(row))
    return [*row[:shared], *filling, *row[shared:]] if left else [*row, *filling]


def _until(answer: Sequence[int], ends: set[int | None]) -> list[int]:
    """The tokens before the first that ends an answer."""
    stop = next((i for i, token in enumerate(answer) if token in ends), len(answer))
    return list(answer[:stop])


def _ends(tokenizer: PreTrainedTokenizerFast, end: str, before: int) -> Callable[..., torch.Tensor]:
    """A stopping criterion: a row is done when its generated text contains `end` after a word."""
    tail = _TAIL + len(end.encode())

    def done(ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        tails = tokenizer.batch_decode(ids[:, max(before, ids.shape[1] - tail) :], clean_up_tokenization_spaces=False)
        return ids.new_tensor([end in tail.lstrip() for tail in tails]).bool()

    return done


def _allowed_after(allowed: Callable[[int, list[int]], list[int]] | None, before: int) -> Any:
    """`allowed` as transformers calls it, with all tokens of a row, including those of the input."""
    return None if allowed is None else lambda row, ids: allowed(row, ids[before:].tolist())
