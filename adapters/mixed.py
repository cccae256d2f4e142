"""A frozen body whose rows are changed each by an adapter of its own, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.changes import Change, LayerChange
from adapters.errors import ModelError
from adapters.layers import key_value_heads, layer_size
from adapters.mixed_layers import Here, Layer
from adapters.pools import Pool

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

NOTHING = 0
"""The slot of rows without an adapter."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What a body makes of a batch.

    Attributes:
        states: `[rows, prompt + pieces, hidden]`; behind a row's pieces stands what nobody may read.
        pooled: `[rows, hidden]` where the body has a pooler.
        prompts: pieces of the soft prompt in front of each row's text, `[rows]`.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None
    prompts: np.ndarray


class MixedBody:
    """A body, its layers' pools, and the pools of prefixes and soft prompts. Several threads may run it at once."""

    def __init__(self, body: Any, base: Base) -> None:
        """Args:
        body: headless, in evaluation mode, frozen.
        base: whose body it is: what rows are filled up with, and how positions are counted.
        """
        import torch
        from transformers.pytorch_utils import Conv1D

        self.body = body
        self.pad_id = int(base.tokenizer.pad_token_id)
        self.positions, self.first_position = base.positions, base.first_position
        self.here = Here()
        # All of them now: a layer that got its hooks later might get them while a thread runs it.
        changeable = (torch.nn.Linear, Conv1D, torch.nn.LayerNorm)
        self.layers = {n: Layer(part, self.here) for n, part in body.named_modules() if isinstance(part, changeable)}
        self.outside: dict[str, Pool] = {}
        self._like = next(body.parameters())
        self.mixes = self._keeps_rows_apart()

    def _keeps_rows_apart(self) -> bool:
        """Whether each layer's input has rows, so that they can have adapters of their own.

        DeBERTa's layers also see positions that all rows share: there a batch must be of one adapter.
        """
        import torch

        rows, pieces = 2, 3
        shapes: list[torch.Size] = []
        hooks = [
            layer.module.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
            for layer in self.layers.values()
        ]
        with torch.inference_mode():
            self.body(input_ids=torch.full((rows, pieces), self.pad_id, device=self.device),
                      attention_mask=torch.ones(rows, pieces, dtype=torch.long, device=self.device))  # fmt: skip
        for hook in hooks:
            hook.remove()
        return all(shape[0] in (rows, rows * pieces) for shape in shapes)

    @property
    def device(self) -> torch.device:
        """Where the body is."""
        device: torch.device = self._like.device
        return device

    def put(self, slot: int, change: Change) -> None:
        """Give a slot an adapter. Raises ModelError before anything is written where a layer cannot be changed."""
        self.check(change)
        for name, layer in change.layers.items():
            self.layers[name].put(slot, layer)
        for name, tensor in (("prefix", change.prefix), ("prompt", change.prompt)):
            if tensor is not None:
                if name not in self.outside:
                    self.outside[name] = Pool(tensor.shape[1], 0.0, self._like)
                self.outside[name].put(slot, tensor)

    def drop(self, slot: int) -> None:
        """Forget a slot that no batch uses."""
        for layer in self.layers.values():
            layer.drop(slot)
        for pool in self.outside.values():
            pool.drop(slot)

    def check(self, change: Change) -> None:
        """Raises ModelError where a layer cannot be changed."""
        for name, layer in change.layers.items():
            self._check(name, layer)

    def _check(self, name: str, change: LayerChange) -> None:
        import torch

        layer = self.layers.get(name)
        parts = {part for part, _ in change.tensors()}
        norm = layer is not None and isinstance(layer.module, torch.nn.LayerNorm)
        if layer is None or (norm and parts != {"shift"}):
            raise ModelError(f"{type(self.body).__name__} has no layer {name!r} that rows of a batch can change.")
        into, out = (layer.module.weight.shape[0],) * 2 if norm else layer_size(layer.module)
        widths = {"down": into, "scale_in": into, "squeeze_bias": 1}
        for part, tensor in change.tensors():
            assert tensor.dim() == 2 and tensor.shape[1] == widths.get(part, out), (name, part, tensor.shape)

    def sizes(self, kind: str, slots: np.ndarray) -> np.ndarray:
        """Pieces of the `prefix` or the `prompt` of each slot."""
        return self.outside[kind].sizes(slots) if kind in self.outside else np.zeros(len(slots), np.int64)

    @contextmanager
    def using(self, slots: np.ndarray) -> Iterator[None]:
        """Within it, forward passes of this thread are of batches whose rows have these adapters."""
        self.here.slots = slots[:1] if (slots == slots[0]).all() else slots
        self.here.rows = len(self.here.slots)  # one adapter: all rows are as one to it
        self.here.found = {}
        try:
            yield
        finally:
            self.here.slots = None

    def run(
        self, rows: Sequence[Sequence[int]], slots: Sequence[int], token_types: Sequence[Sequence[int]] = ()
    ) -> Hidden:
        """One forward pass.

        Args:
            rows: pieces of each row's text.
            slots: of each row's adapter; `NOTHING` for none.
            token_types: of each row, where the tokenizer tells two texts apart so; empty rows are of type 0.
        """
        import torch

        of_rows = np.asarray(slots, np.int64)
        prompts, prefixes = self.sizes("prompt", of_rows), self.sizes("prefix", of_rows)
        with torch.inference_mode(), self.using(of_rows):
            out = self.body(**self._inputs(rows, of_rows, token_types, prompts, prefixes))
        return Hidden(states=out.last_hidden_state, pooled=getattr(out, "pooler_output", None), prompts=prompts)

    def _inputs(
        self, rows: Sequence[Sequence[int]], slots: np.ndarray, token_types: Sequence[Sequence[int]],
        prompts: np.ndarray, prefixes: np.ndarray,
    ) -> dict[str, Any]:  # fmt: skip
        """What the body is called with: a mask, positions and a cache only where some row needs them."""
        import torch

        device = self._like.device
        lengths = np.array([len(row) for row in rows]) + prompts
        longest, before = int(lengths.max()), int(prefixes.max())
        ids = torch.from_numpy(_laid_out(rows, prompts, longest, self.pad_id)).to(device)
        inputs: dict[str, Any] = {"input_ids": ids}
        if prompts.any():
            inputs = {"inputs_embeds": self._with_prompts(ids, slots, prompts)}
        if any(map(len, token_types)):
            inputs["token_type_ids"] = torch.from_numpy(_laid_out(token_types, prompts, longest, 0)).to(device)
        if before or lengths.min() < longest:
            mask = np.concatenate(
                [np.arange(before) < prefixes[:, None], np.arange(longest) < lengths[:, None]], axis=1
            ).astype(np.int64)
            inputs["attention_mask"] = torch.from_numpy(mask).to(device)
        if before or (self.first_position and prompts.any()):
            positions = self._positions(ids.cpu().numpy(), prompts, prefixes)
            inputs["position_ids"] = torch.from_numpy(positions).to(device)
        if before:
            inputs["past_key_values"] = self.prefix_cache(slots, before)
        return inputs

    def _positions(self, ids: np.ndarray, prompts: np.ndarray, prefixes: np.ndarray) -> np.ndarray:
        """The position of each piece, behind those of its row's prefix.

        RoBERTa counts no padding, a `<pad>` in the text neither, unless it is given embeddings (a soft prompt).
        """
        counted = prefixes[:, None] + np.arange(ids.shape[1])
        if self.first_position:
            real = ids != self.pad_id
            read = (real.cumsum(1) + prefixes[:, None]) * real - 1
            counted = np.where(prompts[:, None] > 0, counted, read)
        placed: np.ndarray = np.minimum(counted, self.positions - 1) + self.first_position
        return placed

    def _with_prompts(self, ids: torch.Tensor, slots: np.ndarray, prompts: np.ndarray) -> torch.Tensor:
        """Embeddings `[rows, prompt + pieces, width]`, the soft prompts at their beginnings."""
        import torch

        embeddings: torch.Tensor = self.body.get_input_embeddings()(ids)
        longest = int(prompts.max())
        theirs = torch.from_numpy(np.arange(longest) < prompts[:, None]).to(ids.device)
        embeddings[:, :longest][theirs] = self.outside["prompt"].pick(slots, longest)[theirs]
        return embeddings

    def prefix_cache(self, slots: np.ndarray, longest: int) -> Any:
        """Keys and values in front of the text, as a cache of transformers; shorter ones are to be masked."""
        from transformers import DynamicCache

        config = self.body.config.get_text_config()
        heads = key_value_heads(config)
        picked = self.outside["prefix"].pick(slots, longest)  # [rows, tokens, layers * 2 * heads * width]
        pairs = picked.view(len(slots), longest, config.num_hidden_layers, 2, heads, -1).permute(2, 3, 0, 4, 1, 5)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(pairs):
            cache.update(keys, values, number)
        return cache


def _laid_out(rows: Sequence[Sequence[int]], begins: np.ndarray, longest: int, value: int) -> np.ndarray:
    """int64 `[rows, longest]`, each row from its beginning on, `value` elsewhere."""
    out = np.full((len(rows), longest), value, np.int64)
    for line, row, begin in zip(out, rows, begins, strict=True):
        line[begin : begin + len(row)] = row
    return out
