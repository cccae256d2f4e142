"""The adapter delta: what an adapter adds to its base for one row of a mixed batch. Every method is read into it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError
from adapters.models.layers import linear_layers

if TYPE_CHECKING:
    import torch

PEFT_NAMES = re.compile(r"^base_model\.(model\.)?")
"""The prefix that PEFT adds to parameter names; for soft prompts and prefixes it lacks `model`."""


@dataclass(frozen=True, kw_only=True)
class LayerDelta:
    """The update to one linear layer x `[tokens, in]` -> y `[tokens, out]`; every tensor is optional.

    y' = (layer(x * scale_in) + x * scale_in @ down.T @ up) * scale_out + shift, followed by
    y' + gelu(y' @ squeeze.T + squeeze_bias) @ expand + expand_bias.

    Attributes:
        down: `[rank, in]`.
        up: `[rank, out]`, multiplied by alpha / r.
        scale_in: `[1, in]`.
        scale_out: `[1, out]`.
        shift: `[1, out]`.
        squeeze: `[size, out]`, of a bottleneck.
        squeeze_bias: `[size, 1]`.
        expand: `[size, out]`.
        expand_bias: `[1, out]`.
    """

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    scale_in: torch.Tensor | None = None
    scale_out: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    squeeze: torch.Tensor | None = None
    squeeze_bias: torch.Tensor | None = None
    expand: torch.Tensor | None = None
    expand_bias: torch.Tensor | None = None

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors that are set, by name."""
        for one in fields(self):
            tensor = getattr(self, one.name)
            if tensor is not None:
                yield one.name, tensor

    def shifted(self, by: torch.Tensor) -> LayerDelta:
        """With `by` `[1, out]` added to the output."""
        return replace(self, shift=by if self.shift is None else self.shift + by)

    def folded(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A layer's weight `[out, in]` and bias `[out]` with the update in them; it must have no bottleneck."""
        if self.down is not None and self.up is not None:
            weight = weight + self.up.T @ self.down
        if self.scale_in is not None:
            weight = weight * self.scale_in
        if self.scale_out is not None:
            weight = weight * self.scale_out.T
            bias = None if bias is None else bias * self.scale_out[0]
        if self.shift is not None:
            bias = self.shift[0] if bias is None else bias + self.shift[0]
        return weight, bias


@dataclass(frozen=True, kw_only=True)
class AdaptedLayer:
    """How an adapter changes one layer.

    Attributes:
        rank: of LoRA's update; 0 for another method's.
        scaling: the factor of that update.
        bias: whether the update has a bias (PEFT's `lora_bias`).
        scales_input: whether (IA)³ scales the input, not the output.
    """

    rank: int = 0
    scaling: float = 1.0
    bias: bool = False
    scales_input: bool = False


@dataclass(frozen=True, kw_only=True)
class AdapterDelta:
    """What an adapter adds to its base.

    Attributes:
        layers: updates by the name of the layer in the headless body.
        head: updates to layers of the head by name, which are folded into its weights.
        prefix: keys and values before the text in every layer, `[tokens, layers * 2 * heads * width]` as PEFT stores
            them.
        prompt: embeddings before those of the text, `[tokens, width]`.
        prompt_read: whether the head also reads the positions of the prompt, not only those of the text.
    """

    layers: Mapping[str, LayerDelta] = field(default_factory=dict)
    head: Mapping[str, LayerDelta] = field(default_factory=dict)
    prefix: torch.Tensor | None = None
    prompt: torch.Tensor | None = None
    prompt_read: bool = False

    def nbytes(self, itemsize: int) -> int:
        """Bytes of all tensors, with `itemsize` bytes per number."""
        tensors = [tensor for layer in self.layers.values() for _, tensor in layer.tensors()]
        tensors += [tensor for tensor in (self.prefix, self.prompt) if tensor is not None]
        return itemsize * sum(tensor.numel() for tensor in tensors)


class AdapterTensors:
    """The tensors of an adapter while a method reads them: each is taken once, by name and shape; none may remain."""

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        body: Any,
        *,
        body_name: str,
        modules: Set[str],
        subject: str,
        adapted: Mapping[str, AdaptedLayer] | None = None,
        head_layers: Mapping[str, Any] | None = None,
    ) -> None:
        """Args:
        tensors: as stored, with or without PEFT's prefix `base_model.model.` in their names.
        body: the headless base; names and shapes are checked against its layers.
        body_name: the body's attribute in the headed model (`bert`, `model`, `transformer`).
        modules: names of the body's modules that the headed model has (it may lack the pooler).
        subject: the folder, for error messages.
        adapted: the layers that the folder's own config adapts, by their names in the headed model; None where the
            method's settings say it.
        head_layers: those among them that are in the head, as in the base's own weights.
        """
        self.tensors = {PEFT_NAMES.sub("", name): tensor for name, tensor in tensors.items()}
        if len(self.tensors) < len(tensors):
            raise ArtifactError(f"{subject}: contains one tensor under two names, with and without PEFT's prefix.")
        self.body = body
        self.body_name = body_name
        self.subject = subject
        self.adapted = adapted
        self.head_layers = head_layers or {}
        own, ending = f"{body_name}.", ".weight"
        full = {name.removeprefix(own).removesuffix(ending) for name in self.tensors if name.startswith(own)}
        linear = {name for name, module in body.named_modules() if hasattr(module, "in_features")}
        self.modules = modules - (full & linear)
        """Modules of the body. One whose full weight the adapter stores (a new pooler) belongs to its head instead."""
        self.own_pooler = f"{own}pooler.dense.weight" in self.tensors
        """Whether the adapter stores BERT's pooler: it has trained it, or the base has none."""

    def in_head(self, name: str) -> bool:
        """Whether a tensor is of the head, or of a pooler that the adapter stores in full, which belongs to it."""
        own = f"{self.body_name}."
        return not name.startswith(own) or (name.startswith(f"{own}pooler.") and self.own_pooler)

    def take(self, name: str, shape: Sequence[int | None]) -> torch.Tensor:
        """Take one tensor, as fp32. None in `shape` accepts any size.

        Raises:
            ArtifactError: the tensor is missing, has another shape, or is not finite.
        """
        import torch

        tensor = self.tensors.pop(name, None)
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        if tensor is None:
            near = ", ".join(sorted(self.tensors)[:3]) or "none"
            raise ArtifactError(f"{self.subject}: tensor {name} ({wanted}) is missing; not read yet: {near}.")
        fits = tensor.dim() == len(shape) and all(
            size in (None, have) for size, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            raise ArtifactError(f"{self.subject}: tensor {name}: expected {wanted}, found {tuple(tensor.shape)}.")
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            raise ArtifactError(f"{self.subject}: tensor {name}: expected floating-point values, found {tensor.dtype}.")
        tensor = tensor.to(torch.float32)
        if not torch.isfinite(tensor).all():
            raise ArtifactError(f"{self.subject}: tensor {name} contains values that are not finite in fp32.")
        return tensor

    def layer(self, name: str) -> Any:
        """A layer by its name in the headed model."""
        own = f"{self.body_name}."
        return self.body.get_submodule(name.removeprefix(own)) if name.startswith(own) else self.head_layers[name]

    def delta(self, updates: Mapping[str, LayerDelta]) -> AdapterDelta:
        """The adapter delta of updates by the names of their layers in the headed model."""
        own = f"{self.body_name}."
        return AdapterDelta(
            layers={name.removeprefix(own): one for name, one in updates.items() if name.startswith(own)},
            head={name: one for name, one in updates.items() if not name.startswith(own)},
        )

    def of_body(self, layer: str, part: str, shape: Sequence[int | None]) -> torch.Tensor:
        """Take a tensor of a layer of the body."""
        return self.take(f"{self.body_name}.{layer}.{part}", shape)

    def linear_layers(self) -> dict[str, torch.nn.Module]:
        """Linear layers of the body by name, without those that belong to the head."""
        return {name: layer for name, layer in linear_layers(self.body, ()).items() if name in self.modules}

    def head(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """Take the tensors of the head, which must be all that remain. Raises ArtifactError that lists any others."""
        taken = {name: self.take(name, shape) for name, shape in shapes.items()}
        if self.tensors:
            raise ArtifactError(
                f"{self.subject}: {len(self.tensors)} tensors belong to no module named in its settings: "
                f"{', '.join(sorted(self.tensors)[:3])}."
            )
        return taken
