"""Greedy continuation of rows of pieces by a model that generates, in batches of rows of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_TAIL = 8
"""Pieces at the end of an answer in which its end is looked for: an end may be spread over several."""


def generate(
    model: Any, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sequence[int]], *, max_new_tokens: int, end: str = ""
) -> list[list[int]]:
    """What the model writes after (an encoder-decoder: in answer to) each row, greedily.

    Args:
        model: causal or encoder-decoder, with its language-model head.
        tokenizer: knows the pieces.
        rows: pieces of each input, of any lengths; shorter ones are padded on the left, out of attention's sight.
        max_new_tokens: of each answer.
        end: text at which an answer ends; it ends at the end-of-text piece in any case.

    Returns:
        Pieces of each answer, without those that end it.
    """
    import torch
    from transformers import StoppingCriteriaList

    device = next(model.parameters()).device
    longest = max(map(len, rows))
    pad = int(tokenizer.pad_token_id)
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    before = 0 if model.config.is_encoder_decoder else longest
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1,
            pad_token_id=pad, stopping_criteria=StoppingCriteriaList([_ends(tokenizer, end, before)] if end else []),
            **_greedy(model.generation_config),
        )  # fmt: skip
    last = model.generation_config.eos_token_id
    ends = {pad, *(last if isinstance(last, list) else [last])}
    return [_until(answer, ends) for answer in out[:, before or 1 :].tolist()]


def _until(answer: Sequence[int], ends: set[int | None]) -> list[int]:
    """The pieces in front of the first that ends an answer."""
    stop = next((i for i, piece in enumerate(answer) if piece in ends), len(answer))
    return list(answer[:stop])


def _greedy(config: Any) -> dict[str, Any]:
    """What a model's own generation config says of sampling, which greedy search does not read, taken back."""
    sampling = ("temperature", "top_p", "top_k", "min_p", "typical_p")
    return {name: None for name in sampling if getattr(config, name, None) is not None}


def _ends(tokenizer: PreTrainedTokenizerFast, end: str, before: int) -> Callable[..., torch.Tensor]:
    """A stopping criterion: a row is done when `end` stands in what it has written."""

    def done(ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        tails = tokenizer.batch_decode(ids[:, max(before, ids.shape[1] - _TAIL) :])
        return ids.new_tensor([end in tail for tail in tails]).bool()

    return done
