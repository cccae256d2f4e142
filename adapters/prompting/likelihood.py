"""Log-likelihoods of known answers: after a prompt, in answer to it, or in the place of its mask.

The likelihood of an answer is the product of its tokens' (Brown et al. 2020, arXiv:2005.14165, sec. 2.4; for masks
Schick & Schuetze 2021, arXiv:2009.07118).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.models.batching import by_length, common_prefix, pad
from adapters.models.prefix_cache import PrefixCache, projecting
from adapters.prompting.token_trie import TokenTrie

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]
PASS_TOKENS, TREE_TOKENS = 768, 512
"""Maximum tokens of a pass, and of a tree with several rows: in a larger one, attention between rows that do not see
each other costs more than a larger product gains."""
_MIN_SAVED_TOKENS = 64
"""Tokens that a common prefix must save over all rows to be computed in a pass of its own."""
_FP32_POSITIONS = 128
"""Positions whose logits are in fp32 at a time."""


class CachedScorer:
    """Scores answers by a causal model, with a key-value cache of the common prefix of the last rows."""

    def __init__(self, model: Any, *, batch_tokens: int = PASS_TOKENS) -> None:
        """Args:
        model: causal, with its language-model head.
        batch_tokens: maximum tokens of a pass; a row with all its choices is always one pass.
        """
        self.model, self.batch_tokens = model, batch_tokens
        self.prefixes = PrefixCache(model)

    def log_probs_after(
        self, rows: Rows, choices: Rows, *, pad_id: int, step: Callable[[int], None] = lambda done: None
    ) -> np.ndarray:
        """Log-probability `[rows, choices]` of each choice after each row, with one pass per row.

        The common prefix of all rows is computed once. The rest forms a token tree without repeated beginnings, where
        each token sees only those before it, at their usual positions.

        Args:
            rows: tokens of the prompts, at least one each.
            choices: tokens of the answers, at least one each.
            pad_id: padding token, for models that do not support token trees.
            step: called with the number of rows that are done.
        """
        longest = max(map(len, rows)) + max(map(len, choices))
        if not supports_trees(self.model, longest):
            return one_by_one(self.model, rows, choices, pad_id=pad_id, step=step)
        import torch

        out = np.zeros((len(rows), len(choices)))
        with torch.inference_mode():
            shared = common_prefix(rows)
            begin = shared if shared * len(rows) >= _MIN_SAVED_TOKENS else 0
            if begin:
                self.prefixes.fill(rows[0][:begin])
            rests = [row[begin:] for row in rows]
            for forest in self._forests(begin, rests, sum(map(len, choices)) - len(choices)):
                numbers = [i for tree in forest for i in tree]
                out[numbers] = self._of_forest(begin, [[rests[i] for i in tree] for tree in forest], choices, pad_id)
                step(len(numbers))
        return out

    def _forests(self, begin: int, rests: Rows, choice_tokens: int) -> Iterator[list[list[int]]]:
        """Row numbers by tree, for the trees of each pass.

        Rows of one tree share the keys and values of the prefix, but attention computes scores between all of them; so
        the longer the prefix, the more rows share a tree.
        """
        sizes = [len(rest) + choice_tokens for rest in rests]
        width = min(begin, TREE_TOKENS)
        trees: list[list[int]] = []
        for i in sorted(range(len(rests)), key=sizes.__getitem__):
            if trees and sum(sizes[j] for j in trees[-1]) + sizes[i] <= width:
                trees[-1].append(i)
            else:
                trees.append([i])
        lengths = [sum(sizes[i] for i in tree) for tree in trees]
        for batch in by_length(lengths, tokens=self.batch_tokens, rows=None):
            yield [trees[number] for number in batch]

    def _of_forest(self, begin: int, forest: Sequence[Rows], choices: Rows, pad_id: int) -> np.ndarray:
        """Log-probabilities `[rows, choices]` in one pass after the first `begin` tokens of the cache.

        Args:
            begin: number of tokens before every row.
            forest: the rest of the rows, by tree.
            choices: tokens of the answers.
            pad_id: padding token for smaller trees.
        """
        import torch

        trees, nodes = [], []
        for number, rests in enumerate(forest):
            tree = TokenTrie()
            for rest in rests:
                *_, end = tree.add(-1, rest)
                for choice in choices:  # the last token of an answer predicts nothing
                    nodes += [(number, node) for node in (end, *tree.add(end, choice[:-1]))]
            trees.append(tree)
        row_of_node = {node: row for row, node in enumerate(dict.fromkeys(nodes))}
        targets = [token for choice in choices for token in choice] * sum(map(len, forest))
        logits = self._logits(trees, begin, [*row_of_node], pad_id)
        scores = _log_probs(logits, torch.tensor([row_of_node[node] for node in nodes]), torch.tensor(targets))
        starts = np.cumsum([0, *(len(choice) for choice in choices)])[:-1]
        return np.add.reduceat(scores.reshape(-1, sum(map(len, choices))), starts, axis=1)

    def _logits(
        self, trees: Sequence[TokenTrie], begin: int, nodes: Sequence[tuple[int, int]], pad_id: int
    ) -> torch.Tensor:
        """Logits `[nodes, vocabulary]` after nodes, each given by the number of its tree and its number in it."""
        import torch

        first = next(self.model.parameters())
        width = max(map(len, trees))
        seen = np.zeros((len(trees), width, begin + width), bool)
        seen[:, :, :begin] = True
        for number, tree in enumerate(trees):
            seen[number, : len(tree), begin : begin + len(tree)] = tree.visible()
            seen[number, range(len(tree), width), range(begin + len(tree), begin + width)] = True
        mask = torch.zeros(seen.shape, dtype=first.dtype).masked_fill(torch.from_numpy(~seen), _least(first.dtype))
        cache = self.prefixes.cache if begin else None
        if cache is not None and len(trees) > 1:
            cache = self.prefixes.repeated(len(trees))
        with projecting(self.model, nodes), self.prefixes.or_nothing():
            logits: torch.Tensor = self.model(
                input_ids=pad([tree.tokens for tree in trees], pad_id).to(first.device),
                attention_mask=mask[:, None].to(first.device),
                position_ids=pad([[begin + depth for depth in tree.depths] for tree in trees], 0).to(first.device),
                past_key_values=cache,
                use_cache=cache is not None,
            ).logits
        if begin:
            self.prefixes.crop(begin)
        return logits


def _least(dtype: torch.dtype) -> float:
    import torch

    return float(torch.finfo(dtype).min)


def supports_trees(model: Any, longest: int) -> bool:
    """Whether a model supports token trees: it accepts position ids and a mask of what each token sees.

    BLOOM accepts no position ids; layers with a sliding window, or with a recurrent state, would ignore the mask.
    """
    config = model.config
    named = inspect.signature(model.forward).parameters
    window = getattr(config, "sliding_window", None) or longest
    return (
        "position_ids" in named
        and model.get_output_embeddings() is not None
        and longest <= window
        and ({"full_attention", "sliding_attention"} >= set(getattr(config, "layer_types", None) or ()))
    )


def _log_probs(logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Log-probability of each target in its row of the logits, computed in fp32 for some rows at a time."""
    import torch

    parts = torch.split(logits, _FP32_POSITIONS)
    normalisers = torch.cat([part.float().logsumexp(-1) for part in parts])
    rows, targets = rows.to(logits.device), targets.to(logits.device)
    return (logits[rows, targets].float() - normalisers[rows]).double().cpu().numpy()


def one_by_one(
    model: Any,
    rows: Rows,
    choices: Rows,
    *,
    pad_id: int,
    batch_rows: int = 16,
    step: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """As `CachedScorer.log_probs_after`, with a pass for each row and choice, for models without token trees.

    `batch_rows` is the maximum number of rows in a batch. An encoder-decoder generates the choice in answer to the row.
    """
    import torch

    device = next(model.parameters()).device
    out = np.zeros((len(rows), len(choices)))
    decoder = bool(model.config.is_encoder_decoder)
    with torch.inference_mode():
        for batch in by_length([len(row) for row in rows], tokens=None, rows=batch_rows):
            for number, choice in enumerate(choices):
                fed = [list(rows[i]) if decoder else [*rows[i], *choice[:-1]] for i in batch]
                inputs = {"input_ids": pad(fed, pad_id), "attention_mask": pad([[1] * len(row) for row in fed], 0)}
                firsts = [0 if decoder else len(rows[i]) - 1 for i in batch]
                if decoder:
                    decoder_ids = [int(model.config.decoder_start_token_id), *choice[:-1]]
                    inputs["decoder_input_ids"] = torch.tensor([decoder_ids] * len(batch))
                logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
                for i, row, first in zip(batch, logits, firsts, strict=True):
                    log_probs = row[first : first + len(choice)].float().log_softmax(-1)
                    out[i, number] = float(log_probs[range(len(choice)), list(choice)].sum())
            step(len(batch))
    return out


def masked(model: Any, rows: Rows, choices: Rows, *, mask_id: int, pad_id: int, batch_tokens: int = 8192) -> np.ndarray:
    """Log-probability `[rows, choices]` of each choice in the place of a row's masks.

    Args:
        model: with a masked-language-model head.
        rows: tokens of the prompts, each with as many masks as a choice has tokens.
        choices: tokens of the answers, all of one length.
        mask_id: the mask token.
        pad_id: the padding token.
        batch_tokens: maximum tokens of a batch.
    """
    import torch

    device = next(model.parameters()).device
    out = np.zeros((len(rows), len(choices)))
    targets = torch.tensor(choices, device=device)  # [choices, masks]
    with torch.inference_mode():
        for batch in by_length([len(row) for row in rows], tokens=batch_tokens, rows=None):
            ids = pad([rows[i] for i in batch], pad_id)
            seen = pad([[1] * len(rows[i]) for i in batch], 0)
            logits = model(input_ids=ids.to(device), attention_mask=seen.to(device)).logits
            positions = (ids == mask_id).nonzero()[:, 1].view(len(batch), targets.shape[1]).to(device)
            at_masks = logits[torch.arange(len(batch), device=device)[:, None], positions].float().log_softmax(-1)
            # [rows, masks, vocabulary] -> [rows, choices, masks]
            scores = torch.stack([at_masks[:, m, targets[:, m]] for m in range(targets.shape[1])], -1)
            out[batch] = scores.sum(-1).cpu().numpy()
    return out
