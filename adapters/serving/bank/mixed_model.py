"""A frozen body that applies a different adapter to each row of a batch, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import ModelError
from adapters.methods.base.delta import AdapterDelta, LayerDelta
from adapters.models.layers import key_value_heads, layer_size
from adapters.serving.bank.mixed_layer import BatchContext, MixedLayer
from adapters.serving.bank.weight_pool import WeightPool

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base
    from adapters.tasks.base.example import Encoded

NO_ADAPTER = 0
"""The slot of rows without an adapter."""


@dataclass(frozen=True, kw_only=True)
class HiddenStates:
    """A body's output for a batch.

    Attributes:
        states: `[rows, prompt + tokens, hidden]`; positions after a row's tokens are undefined.
        pooled: `[rows, hidden]`, if the body has a pooler.
        prompts: number of soft prompt tokens before each row's text, `[rows]`.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None
    prompts: np.ndarray


class MixedModel:
    """A body with weight pools for its layers, prefixes and soft prompts. Several threads may run it at once."""

    def __init__(self, body: Any, base: Base) -> None:
        """Args:
        body: the model without its head, in evaluation mode, frozen.
        base: the body's base model, for its padding token and positions.
        """
        import torch
        from transformers.pytorch_utils import Conv1D

        self.body = body
        self.pad_id = base.pad_id
        self.positions, self.first_position = base.positions, base.first_position
        self.batch = BatchContext()
        # All layers now: a hook that is registered later might be registered while a thread runs the layer.
        adaptable = (torch.nn.Linear, Conv1D, torch.nn.LayerNorm)
        self.layers = {
            name: MixedLayer(module, self.batch)
            for name, module in body.named_modules()
            if isinstance(module, adaptable)
        }
        self.token_pools: dict[str, WeightPool] = {}
        self._like = next(body.parameters())
        self.mixes = self._keeps_rows_apart()

    def _keeps_rows_apart(self) -> bool:
        """Whether each layer's input has one row per row of the batch, so that rows can have different adapters.

        DeBERTa's layers also process positions that all rows share: with it all rows of a batch must have one adapter.
        """
        import torch

        rows, tokens = 2, 3
        shapes: list[torch.Size] = []
        hooks = [
            layer.module.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
            for layer in self.layers.values()
        ]
        with torch.inference_mode():
            self.body(
                input_ids=torch.full((rows, tokens), self.pad_id, device=self.device),
                attention_mask=torch.ones(rows, tokens, dtype=torch.long, device=self.device),
            )
        for hook in hooks:
            hook.remove()
        return all(shape[0] in (rows, rows * tokens) for shape in shapes)

    @property
    def device(self) -> torch.device:
        """The body's device."""
        device: torch.device = self._like.device
        return device

    def put(self, slot: int, delta: AdapterDelta) -> None:
        """Store an adapter in a slot. Raises ModelError, with nothing stored, if a layer cannot be adapted."""
        self.check(delta)
        for name, layer in delta.layers.items():
            self.layers[name].put(slot, layer)
        for name, tensor in (("prefix", delta.prefix), ("prompt", delta.prompt)):
            if tensor is not None:
                if name not in self.token_pools:
                    self.token_pools[name] = WeightPool(tensor.shape[1], 0.0, self._like)
                self.token_pools[name].put(slot, tensor)

    def drop(self, slot: int) -> None:
        """Free a slot that no batch uses."""
        for layer in self.layers.values():
            layer.drop(slot)
        for pool in self.token_pools.values():
            pool.drop(slot)

    def check(self, delta: AdapterDelta) -> None:
        """Raises ModelError if a layer cannot be adapted."""
        for name, layer in delta.layers.items():
            self._check(name, layer)

    def _check(self, name: str, delta: LayerDelta) -> None:
        import torch

        layer = self.layers.get(name)
        parts = {part for part, _ in delta.tensors()}
        norm = layer is not None and isinstance(layer.module, torch.nn.LayerNorm)
        if layer is None or (norm and not parts <= {"scale_out", "shift"}):
            raise ModelError(f"{type(self.body).__name__} has no layer {name!r} that can be adapted in a mixed batch.")
        in_size, out_size = (layer.module.weight.shape[0],) * 2 if norm else layer_size(layer.module)
        widths = {"down": in_size, "scale_in": in_size, "squeeze_bias": 1}
        for part, tensor in delta.tensors():
            assert tensor.dim() == 2 and tensor.shape[1] == widths.get(part, out_size), (name, part, tensor.shape)

    def sizes(self, kind: str, slots: np.ndarray) -> np.ndarray:
        """Number of tokens in the `prefix` or `prompt` of each slot, `[slots]`."""
        return self.token_pools[kind].sizes(slots) if kind in self.token_pools else np.zeros(len(slots), np.int64)

    @contextmanager
    def using(self, slots: np.ndarray) -> Iterator[None]:
        """Within the block, this thread's forward passes are of batches whose rows have the adapters of these slots."""
        batch = self.batch
        batch.slots = slots[:1] if (slots == slots[0]).all() else slots
        batch.rows = len(batch.slots)  # with one adapter, the pools treat all rows as one
        batch.found = {}
        try:
            yield
        finally:
            batch.slots = None

    def run(
        self, rows: Sequence[Sequence[int]], slots: Sequence[int], token_types: Sequence[Sequence[int]] = ()
    ) -> HiddenStates:
        """One forward pass.

        Args:
            rows: tokens of each row's text.
            slots: slot of each row's adapter; `NO_ADAPTER` for none.
            token_types: of each row, if the tokenizer distinguishes two texts by them; empty rows have type 0.
        """
        import torch

        row_slots = np.asarray(slots, np.int64)
        prompts, prefixes = self.sizes("prompt", row_slots), self.sizes("prefix", row_slots)
        with torch.inference_mode(), self.using(row_slots):
            out = self.body(**self._inputs(rows, row_slots, token_types, prompts, prefixes))
        return HiddenStates(states=out.last_hidden_state, pooled=getattr(out, "pooler_output", None), prompts=prompts)

    def embeddings(self, ids: Sequence[int]) -> torch.Tensor:
        """What the body's embedding layer makes of the tokens of a row, `[1, tokens, width]`."""
        import torch

        with torch.no_grad():
            embedded: torch.Tensor = self.body.get_input_embeddings()(torch.tensor([list(ids)], device=self.device))
        return embedded

    def run_embedded(self, embeddings: torch.Tensor, slot: int, row: Encoded) -> HiddenStates:
        """As `run`, of copies of one row with other embeddings of its text, and with gradients.

        Args:
            embeddings: `[rows, tokens, width]`.
            slot: of the row's adapter.
            row: the row's tokens and token types.
        """
        import torch

        count = len(embeddings)
        slots = np.full(count, slot, np.int64)
        prompts, prefixes = self.sizes("prompt", slots), self.sizes("prefix", slots)
        with self.using(slots):
            inputs = self._inputs([row.input_ids] * count, slots, [row.token_types] * count, prompts, prefixes)
            inputs.pop("input_ids", None)
            prompt = inputs.get("inputs_embeds", embeddings)[:, : int(prompts[0])]
            inputs["inputs_embeds"] = torch.cat([prompt.to(embeddings.dtype), embeddings], 1)
            out = self.body(**inputs)
        return HiddenStates(states=out.last_hidden_state, pooled=getattr(out, "pooler_output", None), prompts=prompts)

    def _inputs(
        self,
        rows: Sequence[Sequence[int]],
        slots: np.ndarray,
        token_types: Sequence[Sequence[int]],
        prompts: np.ndarray,
        prefixes: np.ndarray,
    ) -> dict[str, Any]:
        """The body's arguments; a mask, positions and a cache only if some row needs them."""
        import torch

        device = self._like.device
        lengths = np.array([len(row) for row in rows]) + prompts
        longest, longest_prefix = int(lengths.max()), int(prefixes.max())
        ids = torch.from_numpy(_padded(rows, prompts, longest, self.pad_id)).to(device)
        inputs: dict[str, Any] = {"input_ids": ids}
        if prompts.any():
            inputs = {"inputs_embeds": self._with_prompts(ids, slots, prompts)}
        if any(map(len, token_types)):
            inputs["token_type_ids"] = torch.from_numpy(_padded(token_types, prompts, longest, 0)).to(device)
        if longest_prefix or lengths.min() < longest:
            mask = np.concatenate(
                [np.arange(longest_prefix) < prefixes[:, None], np.arange(longest) < lengths[:, None]], axis=1
            ).astype(np.int64)
            inputs["attention_mask"] = torch.from_numpy(mask).to(device)
        if longest_prefix or (self.first_position and prompts.any()):
            positions = self._positions(ids.cpu().numpy(), prompts, prefixes)
            inputs["position_ids"] = torch.from_numpy(positions).to(device)
        if longest_prefix:
            inputs["past_key_values"] = self.prefix_cache(slots, longest_prefix)
        return inputs

    def _positions(self, ids: np.ndarray, prompts: np.ndarray, prefixes: np.ndarray) -> np.ndarray:
        """The position of each token, after those of its row's prefix.

        RoBERTa counts neither padding nor a `<pad>` in the text, unless it is given embeddings (a soft prompt).
        """
        counted = prefixes[:, None] + np.arange(ids.shape[1])
        if self.first_position:
            real = ids != self.pad_id
            without_padding = (real.cumsum(1) + prefixes[:, None]) * real - 1
            counted = np.where(prompts[:, None] > 0, counted, without_padding)
        positions: np.ndarray = np.minimum(counted, self.positions - 1) + self.first_position
        return positions

    def _with_prompts(self, ids: torch.Tensor, slots: np.ndarray, prompts: np.ndarray) -> torch.Tensor:
        """Embeddings `[rows, prompt + tokens, width]`, each row's soft prompt first."""
        import torch

        embeddings: torch.Tensor = self.body.get_input_embeddings()(ids)
        longest = int(prompts.max())
        in_prompt = torch.from_numpy(np.arange(longest) < prompts[:, None]).to(ids.device)
        embeddings[:, :longest][in_prompt] = self.token_pools["prompt"].pick(slots, longest)[in_prompt]
        return embeddings

    def prefix_cache(self, slots: np.ndarray, longest: int) -> Any:
        """Keys and values of each row's prefix, as a cache of transformers; shorter ones must be masked."""
        from transformers import DynamicCache

        config = self.body.config.get_text_config()
        heads = key_value_heads(config)
        picked = self.token_pools["prefix"].pick(slots, longest)  # [rows, tokens, layers * 2 * heads * width]
        pairs = picked.view(len(slots), longest, config.num_hidden_layers, 2, heads, -1).permute(2, 3, 0, 4, 1, 5)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(pairs):
            cache.update(keys, values, number)
        return cache


def _padded(rows: Sequence[Sequence[int]], begins: np.ndarray, longest: int, value: int) -> np.ndarray:
    """int64 `[rows, longest]`: each row from its position in `begins`, `value` elsewhere."""
    out = np.full((len(rows), longest), value, np.int64)
    for line, row, begin in zip(out, rows, begins, strict=True):
        line[begin : begin + len(row)] = row
    return out
