"""How likely each of some known answers is: behind a prompt, in answer to it, or in the place of its mask.

The likelihood of an answer is the product of its pieces' (Brown et al. 2020, arXiv:2005.14165, sec. 2.4; for masks
Schick & Schuetze 2021, arXiv:2009.07118).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.batching import by_length, pad
from adapters.generation import LEAST_SHARED, read_once, shared_beginning

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]


def behind(
    model: Any, rows: Rows, choices: Rows, *, pad_id: int, batch_pieces: int = 8192,
    step: Callable[[int], None] = lambda done: None,
) -> np.ndarray:  # fmt: skip
    """Log-probability `[rows, choices]` of each choice behind each row by a causal model, each row read once.

    All choices stand behind a row in one input, each of them out of the others' sight, at the positions that it would
    have alone. What all rows begin with is read once for all of them.

    Args:
        model: causal, with its language-model head.
        rows: pieces of the prompts, at least one each.
        choices: pieces of the answers, at least one each.
        pad_id: piece that fills shorter rows.
        batch_pieces: bound on the pieces of a batch, the shared beginning counted for each row.
        step: told how many rows are done.
    """
    if not packs(model):
        return one_by_one(model, rows, choices, pad_id=pad_id, step=step)
    import torch

    out = np.zeros((len(rows), len(choices)))
    shared = shared_beginning(rows)
    with torch.inference_mode():
        cache = read_once(model, rows[0][:shared]) if shared >= LEAST_SHARED else None
        begin = shared if cache is not None else 0
        extra = sum(map(len, choices)) - len(choices)
        for batch in by_length([len(row) + extra for row in rows], pieces=batch_pieces, rows=None):
            rest = [rows[i][begin:] for i in batch]
            out[batch] = _packed(model, copy.deepcopy(cache), begin, rest, choices, pad_id).cpu().numpy()
            step(len(batch))
    return out


def packs(model: Any) -> bool:
    """Whether the model takes positions from outside, so that answers can stand side by side (BLOOM's does not)."""
    return "position_ids" in inspect.signature(model.forward).parameters


def _packed(model: Any, cache: Any, begin: int, rows: Rows, choices: Rows, pad_id: int) -> torch.Tensor:
    """Log-probabilities `[rows, choices]` of one batch, in one pass.

    Args:
        model: as above.
        cache: keys and values of the `begin` pieces in front of all rows, of one row; changed.
        begin: their number.
        rows: what follows them.
        choices: the answers.
        pad_id: fills rows on the left.
    """
    import torch

    device = next(model.parameters()).device
    longest = max(map(len, rows))
    fed = [piece for choice in choices for piece in choice[:-1]]  # the last piece of an answer predicts nothing
    owner = torch.tensor([i for i, choice in enumerate(choices) for _ in choice[:-1]], dtype=torch.long)
    offset = torch.tensor([at for choice in choices for at in range(len(choice) - 1)], dtype=torch.long)
    ids = torch.tensor([[*[pad_id] * (longest - len(row)), *row, *fed] for row in rows])  # [rows, longest + fed]
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    positions = torch.cat([
        (torch.arange(longest) - (longest - lengths)).clamp(min=0), lengths + offset,
    ], 1) + begin  # fmt: skip  # [rows, longest + fed]
    at = torch.arange(longest + len(fed))
    seen = (at[None, :] <= at[:, None])[None].repeat(len(rows), 1, 1)  # [rows, query, key]
    seen[:, longest:, longest:] &= owner[:, None] == owner[None, :]
    seen &= (at[None, None, :] >= (longest - lengths)[:, :, None]) | (at == at[:, None])[None]
    seen = torch.cat([torch.ones(*seen.shape[:2], begin, dtype=torch.bool), seen], 2)[:, None]
    dtype = next(model.parameters()).dtype
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    if cache is not None:
        cache.batch_repeat_interleave(len(rows))
    logits = model(
        input_ids=ids.to(device), attention_mask=mask.to(device), position_ids=positions.to(device),
        past_key_values=cache, use_cache=cache is not None, logits_to_keep=1 + len(fed),
    ).logits.float()  # fmt: skip  # [rows, 1 + fed, vocabulary]
    whole = logits.logsumexp(-1)
    out = torch.zeros(len(rows), len(choices), device=device)
    start = 1
    for number, choice in enumerate(choices):
        places = [0, *range(start, start + len(choice) - 1)]
        start += len(choice) - 1
        out[:, number] = (logits[:, places, list(choice)] - whole[:, places]).sum(1)
    return out


def one_by_one(
    model: Any, rows: Rows, choices: Rows, *, pad_id: int, batch_rows: int = 16,
    step: Callable[[int], None] = lambda done: None,
) -> np.ndarray:  # fmt: skip
    """As `behind`, each row read again for each choice: for encoder-decoders, which answer a row, and models of old.

    Arguments as in `behind`; `batch_rows` bounds a batch.
    """
    import torch

    device = next(model.parameters()).device
    out = np.zeros((len(rows), len(choices)))
    answers = bool(model.config.is_encoder_decoder)
    with torch.inference_mode():
        for batch in by_length([len(row) for row in rows], pieces=None, rows=batch_rows):
            for number, choice in enumerate(choices):
                fed = [list(rows[i]) if answers else [*rows[i], *choice[:-1]] for i in batch]
                inputs = {"input_ids": pad(fed, pad_id), "attention_mask": pad([[1] * len(row) for row in fed], 0)}
                firsts = [0 if answers else len(rows[i]) - 1 for i in batch]
                if answers:
                    written = [int(model.config.decoder_start_token_id), *choice[:-1]]
                    inputs["decoder_input_ids"] = torch.tensor([written] * len(batch))
                logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
                for i, row, first in zip(batch, logits, firsts, strict=True):
                    log_probs = row[first : first + len(choice)].float().log_softmax(-1)
                    out[i, number] = float(log_probs[range(len(choice)), list(choice)].sum())
            step(len(batch))
    return out


def masked(model: Any, rows: Rows, choices: Rows, *, mask_id: int, pad_id: int, batch_pieces: int = 8192) -> np.ndarray:
    """Log-probability `[rows, choices]` of each choice in the place of a row's masks, which are as many as its pieces.

    Args:
        model: with a masked-language-model head.
        rows: pieces of the prompts, each with as many masks.
        choices: pieces of the answers, each as many as the masks.
        mask_id: the piece that is a mask.
        pad_id: fills shorter rows.
        batch_pieces: bound on the pieces of a batch.
    """
    import torch

    device = next(model.parameters()).device
    out = np.zeros((len(rows), len(choices)))
    wanted = torch.tensor(choices, device=device)  # [choices, masks]
    with torch.inference_mode():
        for batch in by_length([len(row) for row in rows], pieces=batch_pieces, rows=None):
            ids = pad([rows[i] for i in batch], pad_id)
            seen = pad([[1] * len(rows[i]) for i in batch], 0)
            logits = model(input_ids=ids.to(device), attention_mask=seen.to(device)).logits
            places = (ids == mask_id).nonzero()[:, 1].view(len(batch), wanted.shape[1]).to(device)
            at_masks = logits[torch.arange(len(batch), device=device)[:, None], places].float().log_softmax(-1)
            # [rows, masks, vocabulary] -> [rows, choices, masks]
            each = torch.stack([at_masks[:, m, wanted[:, m]] for m in range(wanted.shape[1])], -1)
            out[batch] = each.sum(-1).cpu().numpy()
    return out
