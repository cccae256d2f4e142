"""Two towers on one base: an item is its text, a user is the items of the history.

Item tower: the mean of the last hidden states of the item's text, under the adapter, at length 1; and the head's one
output, the item's weight: how likely it is, whoever the user is. User tower: self-attention over the vectors
of the history, then additive attention into one vector (NRMS: Wu et al. 2019, "Neural news recommendation with
multi-head self-attention", sec. 3.2), at length 1. The score of an item is cosine / temperature + weight.

It differs from NRMS in three things: the self-attention is added to the vectors and begins at zero, so that an
untrained user tower is the mean of the history; the additive attention also sees how many items ago each was; and
vectors are compared by their cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import normalize

from adapters.models.sentence_classifier import mean_over_text
from adapters.tasks.regression import Task

if TYPE_CHECKING:
    from adapters.models.base_model import Base

HEAD_WIDTH = 16
"""Dimensions of a head of the self-attention, as in NRMS."""
ItemVectors = tuple[np.ndarray, np.ndarray]
"""Of texts, vectors float32 `[texts, hidden]` of length 1, and weights float32 `[texts]`."""
Encode = Callable[[Sequence[str]], ItemVectors]


def item_task() -> Task:
    """The task of the item tower's artifact: one number for a text, its weight."""
    return Task(None)


class UserTower(torch.nn.Module):
    """From the vectors of a history to the user's vector."""

    def __init__(self, hidden: int, heads: int, history_items: int) -> None:
        """Args:
        hidden: width of the vectors.
        heads: of the self-attention, of 16 dimensions each.
        history_items: read at most.
        """
        super().__init__()
        self.heads, self.history_items = heads, history_items
        inner = heads * HEAD_WIDTH
        self.joint = torch.nn.Linear(hidden, 3 * inner)
        self.out = torch.nn.Linear(inner, hidden)
        self.inner = torch.nn.Linear(hidden, inner)
        self.query = torch.nn.Linear(inner, 1, bias=False)
        self.age = torch.nn.Parameter(torch.zeros(history_items))
        for parameter in (*self.out.parameters(), *self.query.parameters()):
            torch.nn.init.zeros_(parameter)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`[users, hidden]`, of length 1.

        Args:
            vectors: `[users, items, hidden]`, the oldest item first, padding at the end.
            mask: bool `[users, items]`, True where there is an item; at least one in each row.
        """
        users, items, _ = vectors.shape
        parts = self.joint(vectors).view(users, items, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        states = vectors + self.out(seen.transpose(1, 2).reshape(users, items, -1))
        ago = (mask.sum(1, keepdim=True) - 1 - torch.arange(items, device=mask.device)).clamp(min=0)
        logits = self.query(torch.tanh(self.inner(states)))[..., 0] + self.age[ago]
        shares = logits.masked_fill(~mask, float("-inf")).softmax(-1)
        return normalize((shares[..., None] * states).sum(1), dim=-1)

    @torch.no_grad()
    def vectors(self, histories: Iterable[np.ndarray], *, at_once: int = 512) -> np.ndarray:
        """float32 `[users, hidden]`: of histories `[items, hidden]` each, the oldest item first; 0 of an empty one.

        They are computed in parts, as those of 100,000 users are gigabytes.
        """
        found, given = [np.zeros((0, self.out.out_features), np.float32)], iter(histories)
        while part := list(islice(given, at_once)):
            found.append(np.zeros((len(part), self.out.out_features), np.float32))
            there = [number for number, history in enumerate(part) if len(history)]
            if there:
                vectors, mask = padded([part[number][-self.history_items :] for number in there])
                device = self.age.device
                found[-1][there] = self(vectors.to(device), mask.to(device)).float().cpu().numpy()
        return np.concatenate(found)


def padded(histories: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Histories `[items, hidden]` in one tensor `[users, items, hidden]`, and where there is an item."""
    longest = max(len(history) for history in histories)
    out = np.zeros((len(histories), longest, histories[0].shape[1]), np.float32)
    for line, history in zip(out, histories, strict=True):
        line[: len(history)] = history
    lengths = torch.tensor([len(history) for history in histories])
    return torch.from_numpy(out), torch.arange(longest) < lengths[:, None]


def item_vectors(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors `[texts, hidden]` of length 1 and weights `[texts]` of encoded texts, with gradients."""
    found = model(**inputs, output_hidden_states=True)
    with torch.autocast(inputs["input_ids"].device.type, enabled=False):
        states = found.hidden_states[-1].float()
        return normalize(mean_over_text(states, inputs.get("attention_mask")), dim=-1), found.logits.float()[:, 0]


def sampled_loss(
    users: torch.Tensor,
    items: torch.Tensor,
    weights: torch.Tensor,
    targets: torch.Tensor,
    known: torch.Tensor,
    log_chance: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The mean over events of the softmax's cross-entropy among the items of a batch, corrected for how they came in.

    An item that comes into more batches is a negative more often. Where the logarithm of that chance is taken off its
    score, the scores learn the logarithm of what a user likes, as the softmax among all items would (Bengio & Senécal
    2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations").

    Args:
        users: `[events, hidden]`.
        items: `[items, hidden]`, each of the batch's once.
        weights: `[items]`.
        targets: int64 `[events]`, the place of each event's item.
        known: bool `[events, items]`, True where the user likes the item anyway: it is no negative.
        log_chance: `[items]`, the logarithm of the chance that a batch has the item.
        temperature: divides the cosines.
    """
    scores = users @ items.T / temperature + weights - log_chance
    own = torch.nn.functional.one_hot(targets, len(items)).bool()
    return torch.nn.functional.cross_entropy(scores.masked_fill(known & ~own, float("-inf")), targets)


def token_rows(base: Base, texts: Sequence[str], most: int) -> list[list[int]]:
    """The token ids of texts, cut after `most` tokens; of an empty text, those of a blank."""
    from adapters.models.tokenizer import valid_text

    tokenizer = base.word_tokenizer
    found = tokenizer.texts([valid_text(text or " ") for text in texts], min(most, base.positions))
    return [list(windows[0]) for windows in found]
