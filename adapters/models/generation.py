"""Greedy answers for batches of rows of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adapters.models.batching import by_length
from adapters.models.decoding import continued
from adapters.models.greedy_search import filled, generating_model, own_ends, search
from adapters.models.prefix_cache import PrefixCache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_TAIL = 8
"""Tokens to search for the end of an answer, besides one per byte of it: some tokens decode to no text."""


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end: str = "",
    end_tokens: Sequence[int] = (),
    allowed: Callable[[int, list[int]], list[int] | None] | None = None,
    tokens: int | None = None,
    together: int | None = None,
    finished: Callable[[int], None] = lambda number: None,
    prefixes: PrefixCache | None = None,
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
        end_tokens: tokens that end an answer, besides the model's own.
        allowed: maps the number of a row and its generated tokens to the tokens allowed next. None, instead of it or
            from it, allows all.
        tokens, together: tokens and rows at a time, as of `decoding.continued`. None for any number.
        finished: called with the number of a row once its answer is complete.
        prefixes: of the model, where rows of several calls begin alike.

    Returns:
        Tokens of each answer, including those of `end` (the last may contain more text), without an end-of-text token.
    """
    rows = filled(rows, tokenizer)
    answers: list[list[int]] = [[] for _ in rows]
    ends = {int(tokenizer.pad_token_id), *own_ends(model), *end_tokens}

    def take(number: int, logits: torch.Tensor) -> int | None:
        """The likeliest token that is allowed; None after the last one."""
        own = answers[number]
        token = _likeliest(logits, None if allowed is None else allowed(number, own))
        if token not in ends:
            own.append(token)
            if len(own) < max_new_tokens and not (end and _ends(tokenizer, end, [own])[0]):
                return token
        finished(number)
        return None

    most, pad = [max_new_tokens] * len(rows), int(tokenizer.pad_token_id)
    rowwise = generating_model(model, rows, prefixes)
    limits: dict[str, Any] = {"tokens": tokens, "together": together}
    if rowwise is not None and continued(rowwise, rows, take, pad=pad, most=most, **limits):
        return answers
    lengths, rows_alone = [len(row) + max_new_tokens for row in rows], together or len(rows)
    for batch in by_length(lengths, tokens=tokens, rows=rows_alone if tokens is None else None):
        alike = [rows[i] for i in batch]
        before = 1 if model.config.is_encoder_decoder else max(map(len, alike))
        out = search(
            model.of(batch) if getattr(model, "rows_differ", False) else model,
            tokenizer,
            alike,
            max_new_tokens=max_new_tokens,
            criteria=[_ends_after(tokenizer, end, before)] if end else [],
            allowed=_allowed_after(allowed, batch, before, ends, len(tokenizer)),
            end_tokens=end_tokens,
        )
        for number, answer in zip(batch, out[:, before:].tolist(), strict=True):
            answers[number] = _until(answer, ends)
            finished(number)
    return answers


def _likeliest(logits: torch.Tensor, allowed: Sequence[int] | None) -> int:
    """The token with the greatest of the logits `[vocabulary]`, the first of several, among those that are allowed."""
    return int(logits.argmax()) if allowed is None else int(allowed[int(logits[allowed].argmax())])


def _until(answer: Sequence[int], ends: set[int]) -> list[int]:
    """The tokens before the first that ends an answer."""
    stop = next((i for i, token in enumerate(answer) if token in ends), len(answer))
    return list(answer[:stop])


def _ends(tokenizer: PreTrainedTokenizerFast, end: str, answers: Sequence[Any]) -> list[bool]:
    """Whether the text of generated tokens contains `end` after a word."""
    tail = _TAIL + len(end.encode())
    texts = tokenizer.batch_decode([answer[-tail:] for answer in answers], clean_up_tokenization_spaces=False)
    return [end in text.lstrip() for text in texts]


def _ends_after(tokenizer: PreTrainedTokenizerFast, end: str, before: int) -> Callable[..., torch.Tensor]:
    """`_ends` as transformers calls it, with all tokens of a row, including those of the input."""
    return lambda ids, scores, **given: ids.new_tensor(_ends(tokenizer, end, ids[:, before:].tolist())).bool()


def _allowed_after(
    allowed: Callable[[int, list[int]], list[int] | None] | None,
    numbers: Sequence[int],
    before: int,
    ends: set[int],
    vocabulary: int,
) -> Any:
    """`allowed` as transformers calls it, with the number in a batch and all tokens, including those of the input and
    those that fill a row that has ended."""

    def after(row: int, ids: torch.Tensor) -> list[int]:
        assert allowed is not None
        own = allowed(numbers[row], _until(ids[before:].tolist(), ends))
        return [*range(vocabulary)] if own is None else own

    return None if allowed is None else after
