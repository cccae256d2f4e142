"""Greedy continuation of rows of pieces by a model that generates, in batches of rows of any length."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

LEAST_SHARED = 16
"""Pieces that rows must begin with alike for their keys and values to be computed once for all of them."""
_TAIL = 8
"""Pieces in which the end of an answer is looked for, beside one for each byte of it: some pieces are no text."""
# What a model's own generation config may say that is not greedy search: sampling, beams, penalties and lengths. A
# penalty on what stands in the input would count the padding too, so that a row's answer hung on the rows beside it.
_BENDING = (
    "temperature", "top_p", "top_k", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "min_length", "min_new_tokens", "forced_eos_token_id", "exponential_decay_length_penalty", "early_stopping",
    "length_penalty", "guidance_scale", "watermarking_config", "stop_strings", "max_time", "max_length",
    "prompt_lookup_num_tokens",
)  # fmt: skip


def generate(
    model: Any, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sequence[int]], *, max_new_tokens: int,
    end: str = "", allowed: Callable[[int, list[int]], list[int]] | None = None,
) -> list[list[int]]:  # fmt: skip
    """What the model writes after (an encoder-decoder: in answer to) each row, greedily.

    Args:
        model: causal or encoder-decoder, with its language-model head.
        tokenizer: knows the pieces.
        rows: pieces of each input, of any lengths; shorter ones are padded out of attention's sight: a causal model's
            on the left, where it goes on from the right; an encoder's on the right, as it may count positions. What a
            causal model's rows begin with alike (shots, an instruction) is read once for all of them.
        max_new_tokens: of each answer.
        end: text at which an answer ends, behind its first word; it ends at the end-of-text piece in any case.
        allowed: of a row and what it has written, the pieces that may come next; None: any.

    Returns:
        Pieces of each answer: those of `end` are there, and may hold more text behind it; an end-of-text piece is not.
    """
    import torch
    from transformers import StoppingCriteriaList

    device = next(model.parameters()).device
    pad = int(tokenizer.pad_token_id)
    rows = [row or [first_piece(tokenizer)] for row in rows]
    longest = max(map(len, rows))
    encoded = bool(model.config.is_encoder_decoder)
    shared = 0 if encoded or _is_apart(model) else _worth_sharing(rows)
    padded = partial(_padded, shared=shared, longest=longest, left=not encoded)
    ids = torch.tensor([padded(row, pad) for row in rows], device=device)
    mask = torch.tensor([padded([1] * len(row), 0) for row in rows], device=device)
    before = 1 if encoded else longest  # an encoder-decoder writes behind one piece that is given
    with torch.inference_mode():
        cache = read_once(model, rows[0][:shared]) if shared else None
        if cache is not None:
            cache.batch_repeat_interleave(len(rows))
        out = model.generate(
            input_ids=ids, attention_mask=mask, past_key_values=cache, max_new_tokens=max_new_tokens, do_sample=False,
            num_beams=1, num_return_sequences=1, return_dict_in_generate=False, pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList([_ends(tokenizer, end, before)] if end else []),
            prefix_allowed_tokens_fn=_behind(allowed, before),
            **{name: None for name in _BENDING if getattr(model.generation_config, name, None) is not None},
        )  # fmt: skip
    ends = {pad, *np.atleast_1d(model.generation_config.eos_token_id).tolist()}
    return [_until(answer, ends) for answer in out[:, before:].tolist()]


def _is_apart(model: Any) -> bool:
    """Whether what rows begin with must not be read once for all of them: they differ in their adapters, or PEFT puts a
    prefix in front of an empty cache, and behind one that holds pieces it would miss its place."""
    config = getattr(model, "active_peft_config", None)
    return getattr(model, "rows_differ", False) or (config is not None and bool(config.is_prompt_learning))


def _worth_sharing(rows: Sequence[Sequence[int]]) -> int:
    """Pieces of a beginning that is long enough to be read once for all rows; 0 where it is not."""
    shared = shared_beginning(rows) if len(rows) > 1 else 0
    return shared if shared >= LEAST_SHARED else 0


def shared_beginning(rows: Sequence[Sequence[int]]) -> int:
    """Pieces that all rows begin with, at least one piece of each row left out."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return min(sum(1 for _ in columns), min(map(len, rows)) - 1)


def read_once(model: Any, ids: Sequence[int]) -> Any:
    """A causal model's cache of keys and values of some pieces, for one row."""
    import torch

    device = next(model.parameters()).device
    return model(input_ids=torch.tensor([ids], device=device), use_cache=True, logits_to_keep=1).past_key_values


def first_piece(tokenizer: PreTrainedTokenizerFast) -> int:
    """What stands for an input without a piece."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(int(piece) for piece in known if piece is not None)


def _padded(row: Sequence[int], value: int, *, shared: int, longest: int, left: bool) -> list[int]:
    """A row filled up to the longest; on the left that is behind what all rows share."""
    filling = [value] * (longest - len(row))
    return [*row[:shared], *filling, *row[shared:]] if left else [*row, *filling]


def _until(answer: Sequence[int], ends: set[int | None]) -> list[int]:
    """The pieces in front of the first that ends an answer."""
    stop = next((i for i, piece in enumerate(answer) if piece in ends), len(answer))
    return list(answer[:stop])


def _ends(tokenizer: PreTrainedTokenizerFast, end: str, before: int) -> Callable[..., torch.Tensor]:
    """A stopping criterion: a row is done when `end` stands in what it has written, behind a word."""
    tail = _TAIL + len(end.encode())

    def done(ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        tails = tokenizer.batch_decode(ids[:, max(before, ids.shape[1] - tail) :], clean_up_tokenization_spaces=False)
        return ids.new_tensor([end in tail.lstrip() for tail in tails]).bool()

    return done


def _behind(allowed: Callable[[int, list[int]], list[int]] | None, before: int) -> Any:
    """As transformers asks for it: with all pieces of a row, those of the input among them."""
    return None if allowed is None else lambda row, ids: allowed(row, ids[before:].tolist())
