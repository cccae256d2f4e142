"""How likely each of some known answers is: behind a prompt, in answer to it, or in the place of its mask.

The likelihood of an answer is the product of its pieces' (Brown et al. 2020, arXiv:2005.14165, sec. 2.4; for masks
Schick & Schuetze 2021, arXiv:2009.07118).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.batching import by_length, pad
from adapters.generation import shared_beginning
from adapters.prompting.tree import Tree

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]
PIECES, WIDEST = 768, 512
"""Pieces of a pass, and of a tree with several rows: in a wider one, attention between rows that do not see each other
costs more than a larger product gains."""
STRETCH = 128
"""Pieces of a beginning that are read in one pass."""
_WORTH_A_PASS = 64
"""Pieces that a shared beginning must save all rows together, to be read in a pass of its own."""
_PROJECTED = 128
"""Positions whose logits are held in fp32 at a time."""


class Reader:
    """A causal model that keeps what it has read: keys and values of what the last rows began with."""

    def __init__(self, model: Any, *, batch_pieces: int = PIECES) -> None:
        """Args:
        model: causal, with its language-model head.
        batch_pieces: bound on the pieces of a pass; a row with all its choices is one pass, however long.
        """
        self.model, self.batch_pieces = model, batch_pieces
        self.beginning: list[int] = []
        self.cache: Any = None

    def behind(
        self, rows: Rows, choices: Rows, *, pad_id: int, step: Callable[[int], None] = lambda done: None
    ) -> np.ndarray:  # fmt: skip
        """Log-probability `[rows, choices]` of each choice behind each row, each row read once.

        What all rows begin with is read once for all of them; what is left is a tree, in which whatever begins alike
        stands once, and each piece sees the pieces in front of it alone, at the positions that they would have.

        Args:
            rows: pieces of the prompts, at least one each.
            choices: pieces of the answers, at least one each.
            pad_id: piece that fills shorter rows, for a model of which all this cannot be asked.
            step: told how many rows are done.
        """
        longest = max(map(len, rows)) + max(map(len, choices))
        if not packs(self.model, longest):
            return one_by_one(self.model, rows, choices, pad_id=pad_id, step=step)
        import torch

        out = np.zeros((len(rows), len(choices)))
        with torch.inference_mode():
            shared = shared_beginning(rows)
            begin = self._read(rows[0][:shared]) if shared * len(rows) >= _WORTH_A_PASS else 0
            rests = [row[begin:] for row in rows]
            for forest in self._forests(begin, rests, sum(map(len, choices)) - len(choices)):
                numbers = [i for tree in forest for i in tree]
                out[numbers] = self._of_forest(begin, [[rests[i] for i in tree] for tree in forest], choices, pad_id)
                step(len(numbers))
        return out

    def _forests(self, begin: int, rests: Rows, behind: int) -> Iterator[list[list[int]]]:
        """Numbers of rows, by tree, of the trees that are read in one pass.

        Rows of one tree share the keys and values of the beginning, but attention looks at all of them for each; so the
        longer the beginning, the more of them stand in a tree.
        """
        sizes = [len(rest) + behind for rest in rests]
        width = min(begin, WIDEST)
        trees: list[list[int]] = []
        for i in sorted(range(len(rests)), key=sizes.__getitem__):
            if trees and sum(sizes[j] for j in trees[-1]) + sizes[i] <= width:
                trees[-1].append(i)
            else:
                trees.append([i])
        lengths = [sum(sizes[i] for i in tree) for tree in trees]
        for batch in by_length(lengths, pieces=self.batch_pieces, rows=None):
            yield [trees[number] for number in batch]

    def _read(self, ids: Sequence[int]) -> int:
        """Have the cache hold the keys and values of these pieces, those that it lacks read now; their number.

        They are read in stretches that begin at the same places whatever was read before, so that it changes no bit.
        """
        import torch

        ids = list(ids)
        same = shared_beginning([[*ids, -1], [*self.beginning, -2]])
        same -= same % STRETCH if same < max(len(ids), len(self.beginning)) else 0
        if same:
            self._crop(same)
        else:
            self.cache = None
        device = next(self.model.parameters()).device
        for begin in range(same, len(ids), STRETCH):
            with _projecting(self.model, [(0, -1)]):
                self.cache = self.model(
                    input_ids=torch.tensor([ids[begin : begin + STRETCH]], device=device),
                    past_key_values=self.cache, use_cache=True,
                ).past_key_values  # fmt: skip
        self.beginning = ids
        return len(ids)

    def _of_forest(self, begin: int, forest: Sequence[Rows], choices: Rows, pad_id: int) -> np.ndarray:
        """Log-probabilities `[rows, choices]` in one pass behind the cache's first `begin` pieces.

        Args:
            begin: pieces in front of every row.
            forest: what follows them, the rows of each tree.
            choices: the answers.
            pad_id: fills smaller trees.
        """
        import torch

        trees, places = [], []
        for number, rests in enumerate(forest):
            tree = Tree()
            for rest in rests:
                *_, end = tree.add(-1, rest)
                for choice in choices:  # the last piece of an answer predicts nothing
                    places += [(number, node) for node in (end, *tree.add(end, choice[:-1]))]
            trees.append(tree)
        asked = {place: row for row, place in enumerate(dict.fromkeys(places))}
        targets = [piece for choice in choices for piece in choice] * sum(map(len, forest))
        logits = self._logits(trees, begin, [*asked], pad_id)
        found = _log_probs(logits, torch.tensor([asked[place] for place in places]), torch.tensor(targets))
        starts = np.cumsum([0, *(len(choice) for choice in choices)])[:-1]
        return np.add.reduceat(found.reshape(-1, sum(map(len, choices))), starts, axis=1)

    def _logits(self, trees: Sequence[Tree], begin: int, asked: Sequence[tuple[int, int]], pad_id: int) -> torch.Tensor:
        """`[asked, vocabulary]` behind those nodes, each given by its tree and its number there."""
        import torch

        first = next(self.model.parameters())
        width = max(map(len, trees))
        seen = np.zeros((len(trees), width, begin + width), bool)
        seen[:, :, :begin] = True
        for number, tree in enumerate(trees):
            seen[number, : len(tree), begin : begin + len(tree)] = tree.seen()
            seen[number, range(len(tree), width), range(begin + len(tree), begin + width)] = True
        mask = torch.zeros(seen.shape, dtype=first.dtype).masked_fill(torch.from_numpy(~seen), _least(first.dtype))
        cache = self.cache if begin else None
        if cache is not None and len(trees) > 1:
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(trees))
        with _projecting(self.model, asked):
            logits: torch.Tensor = self.model(
                input_ids=pad([tree.pieces for tree in trees], pad_id).to(first.device),
                attention_mask=mask[:, None].to(first.device),
                position_ids=pad([[begin + depth for depth in tree.depths] for tree in trees], 0).to(first.device),
                past_key_values=cache, use_cache=cache is not None,
            ).logits  # fmt: skip
        if begin:
            self._crop(begin)
        return logits

    def _crop(self, pieces: int) -> None:
        """Have the cache hold so many pieces; newer releases of transformers take how many to forget, no length."""
        forget = self.cache.get_seq_length() - pieces
        if forget:
            self.cache.crop(-forget)


@contextmanager
def _projecting(model: Any, places: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Have only some positions, given by row and column, put through the projection onto the vocabulary."""
    rows, columns = np.array(places).T

    def chosen(module: Any, given: tuple[torch.Tensor]) -> torch.Tensor:
        return given[0][rows, columns]

    handle = model.get_output_embeddings().register_forward_pre_hook(chosen)
    try:
        yield
    finally:
        handle.remove()


def _least(dtype: torch.dtype) -> float:
    import torch

    return float(torch.finfo(dtype).min)


def packs(model: Any, longest: int) -> bool:
    """Whether a model can be shown a tree: it takes positions and what each piece sees from outside.

    BLOOM takes no positions; layers that see a window, or none of the pieces but a state, would not heed what a piece
    sees.
    """
    config = model.config
    named = inspect.signature(model.forward).parameters
    window = getattr(config, "sliding_window", None) or longest
    return "position_ids" in named and model.get_output_embeddings() is not None and longest <= window and (
        {"full_attention", "sliding_attention"} >= set(getattr(config, "layer_types", None) or ())
    )  # fmt: skip


def _log_probs(logits: torch.Tensor, places: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Of each target in its place's row of the logits, some rows in fp32 at a time."""
    import torch

    parts = torch.split(logits, _PROJECTED)
    whole = torch.cat([rows.float().logsumexp(-1) for rows in parts])
    places, targets = places.to(logits.device), targets.to(logits.device)
    return (logits[places, targets].float() - whole[places]).double().cpu().numpy()


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
