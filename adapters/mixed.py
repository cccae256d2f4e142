"""A frozen body whose rows are changed each by an adapter of its own, in one forward pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.changes import Change, LayerChange
from adapters.errors import ModelError
from adapters.layers import layer_size
from adapters.pools import Pool

if TYPE_CHECKING:
    import torch

NOTHING = 0
"""The slot of rows without an adapter."""
_ONES = ("scale_in", "scale_out")


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


class Here(threading.local):
    """The batch that this thread runs: its rows and their slots (one, where all have the same; None: no batch)."""

    rows: int = 0
    slots: np.ndarray | None = None


class Layer:
    """The pools of one layer of the body. Its hooks change a batch's rows, each as its slot says."""

    def __init__(self, module: Any, here: Here) -> None:
        """Args: the layer, and what tells the batch."""
        self.module = module
        self.here = here
        self.pools: dict[str, Pool] = {}
        module.register_forward_pre_hook(self._scale)
        module.register_forward_hook(self._change)

    def put(self, slot: int, change: LayerChange) -> None:
        """Give a slot its tensors."""
        for name, tensor in change.tensors():
            if name not in self.pools:
                pool = Pool(tensor.shape[1], 1.0 if name in _ONES else 0.0, self.module.weight)
                self.pools = {**self.pools, name: pool}
            self.pools[name].put(slot, tensor)

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        for pool in self.pools.values():
            pool.drop(slot)

    def _of(self, name: str) -> torch.Tensor | None:
        """`[slots, number, width]` for this batch (one slot where all rows have the same), or None: nothing to do."""
        pool, slots = self.pools.get(name), self.here.slots
        if pool is None or slots is None:
            return None
        longest = pool.longest(slots)
        return pool.pick(slots, longest) if longest else None

    def _scale(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if "scale_in" not in self.pools:
            return None
        scale = self._of("scale_in")
        return None if scale is None else (by_row(inputs[0], self.here.rows).mul(scale).view(inputs[0].shape),)

    def _change(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Change the output in place: it was made for us, and a copy of it would cost as much as the change."""
        if self.here.slots is None or not self.pools:
            return
        rows = self.here.rows
        out = by_row(output, rows)
        down, up = self._of("down"), self._of("up")
        if down is not None and up is not None:
            add_low_rank(out, by_row(inputs[0], rows), down, up)
        scale, shift = self._of("scale_out"), self._of("shift")
        if scale is not None:
            out.mul_(scale)
        if shift is not None:
            out.add_(shift)
        squeeze = self._of("squeeze")
        if squeeze is not None:
            self._bottleneck(out, squeeze)

    def _bottleneck(self, out: torch.Tensor, squeeze: torch.Tensor) -> None:
        import torch

        bias, expand, shift = self._of("squeeze_bias"), self._of("expand"), self._of("expand_bias")
        assert bias is not None and expand is not None and shift is not None
        inner = torch.nn.functional.gelu(torch.matmul(squeeze, out.transpose(1, 2)) + bias)
        out += torch.matmul(inner.transpose(1, 2), expand) + shift


class MixedBody:
    """A body, its layers' pools, and the pools of prefixes and soft prompts. Several threads may run it at once."""

    def __init__(self, body: Any, *, pad_id: int, positions: int, first_position: int) -> None:
        """Args:
        body: headless, in evaluation mode, frozen.
        pad_id: piece that shorter rows are filled up with.
        positions: pieces that a row may have.
        first_position: number of a text's first position.
        """
        import torch
        from transformers.pytorch_utils import Conv1D

        self.body = body
        self.pad_id, self.positions, self.first_position = pad_id, positions, first_position
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
        for name, layer in change.layers.items():
            self._check(name, layer)
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
        if before:
            positions = np.minimum(prefixes[:, None] + np.arange(longest), self.positions - 1) + self.first_position
            inputs["position_ids"] = torch.from_numpy(positions).to(device)
            inputs["past_key_values"] = self.prefix_cache(slots, before)
        return inputs

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
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        picked = self.outside["prefix"].pick(slots, longest)  # [rows, tokens, layers * 2 * heads * width]
        pairs = picked.view(len(slots), longest, config.num_hidden_layers, 2, heads, -1).permute(2, 3, 0, 4, 1, 5)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(pairs):
            cache.update(keys, values, number)
        return cache


def by_row(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """`[rows, pieces, width]` of what a layer takes or gives, be it `[rows, width]` or `[rows * pieces, width]`."""
    return tensor.reshape(rows, -1, tensor.shape[-1])


def add_low_rank(out: torch.Tensor, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> None:
    """out += x @ down.T @ up, a row each.

    Args:
        out: `[rows, pieces, out]`, changed in place.
        x: `[rows, pieces, in]`.
        down: `[rows, rank, in]`, or `[1, rank, in]` where all rows have the same.
        up: `[rows, rank, out]`, or `[1, rank, out]`.
    """
    if len(down) == 1:
        inner = x.flatten(0, 1) @ down[0].T
        out.view(-1, out.shape[-1]).addmm_(inner, up[0])
        return
    # The pieces last: a CPU's vectors lie along the last axis, and a rank is shorter than they are.
    out.baddbmm_(down.bmm(x.transpose(1, 2)).transpose(1, 2), up)


def _laid_out(rows: Sequence[Sequence[int]], begins: np.ndarray, longest: int, value: int) -> np.ndarray:
    """int64 `[rows, longest]`, each row from its beginning on, `value` elsewhere."""
    out = np.full((len(rows), longest), value, np.int64)
    for line, row, begin in zip(out, rows, begins, strict=True):
        line[begin : begin + len(row)] = row
    return out
