"""What an adapter does to one row of a mixed batch, as tensors: the one form that every method is read into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from adapters.errors import ArtifactError
from adapters.layers import linear_layers

if TYPE_CHECKING:
    import torch

PEFT_NAMES = re.compile(r"^base_model\.(model\.)?")
"""What PEFT puts in front of a headed model's names; soft prompts and prefixes have no `model` in between."""


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """What a row's adapter changes in a layer x `[pieces, in]` -> y `[pieces, out]`; all of it optional.

    y' = (layer(x * scale_in) + x * scale_in @ down.T @ up) * scale_out + shift, and behind that
    y' + gelu(y' @ squeeze.T + squeeze_bias) @ expand + expand_bias.

    Attributes:
        down: `[rank, in]`.
        up: `[rank, out]`, alpha / r in it.
        scale_in: `[1, in]`.
        scale_out: `[1, out]`.
        shift: `[1, out]`.
        squeeze: `[size, out]` of a bottleneck.
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
        """Those that are there, by name."""
        for one in fields(self):
            tensor = getattr(self, one.name)
            if tensor is not None:
                yield one.name, tensor


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an adapter does to its rows.

    Attributes:
        layers: by the name of the layer in the headless body.
        prefix: keys and values in front of the text in every layer, `[tokens, layers * 2 * heads * width]` as PEFT
            stores them.
        prompt: embeddings in front of the text's, `[tokens, width]`.
        prompt_read: whether the head reads the prompt's positions too; else only the text's.
    """

    layers: Mapping[str, LayerChange] = field(default_factory=dict)
    prefix: torch.Tensor | None = None
    prompt: torch.Tensor | None = None
    prompt_read: bool = False

    def nbytes(self, itemsize: int) -> int:
        """Bytes of all tensors, if a number takes so many."""
        whole = [tensor for layer in self.layers.values() for _, tensor in layer.tensors()]
        whole += [tensor for tensor in (self.prefix, self.prompt) if tensor is not None]
        return itemsize * sum(tensor.numel() for tensor in whole)


class Saved:
    """An adapter's tensors while a method reads them: each is taken once, by name and shape, and none is left over."""

    def __init__(
        self, tensors: Mapping[str, torch.Tensor], body: Any, *, body_name: str, modules: Set[str], subject: str
    ) -> None:  # fmt: skip
        """Args:
        tensors: as the folder holds them, PEFT's `base_model.model.` in front of their names or not.
        body: the headless base, by whose layers names and shapes are checked.
        body_name: what the headed model calls the body (`bert`, `model`, `transformer`).
        modules: of the body, by name, that the headed model has; it may do without a pooler.
        subject: the folder, for messages.
        """
        self.tensors = {PEFT_NAMES.sub("", name): tensor for name, tensor in tensors.items()}
        if len(self.tensors) < len(tensors):
            raise ArtifactError(f"{subject}: holds one tensor under two names, with and without PEFT's prefix.")
        self.body = body
        self.body_name = body_name
        self.subject = subject
        own, ending = f"{body_name}.", ".weight"
        whole = {name.removeprefix(own).removesuffix(ending) for name in self.tensors if name.startswith(own)}
        linear = {name for name, module in body.named_modules() if hasattr(module, "in_features")}
        self.modules = modules - (whole & linear)
        """Those of the body that the adapter changes or leaves alone; others, a new pooler, are its head's."""

    def take(self, name: str, shape: Sequence[int | None]) -> torch.Tensor:
        """One tensor in fp32; None in `shape` is any size. Raises ArtifactError where it is missing or of another."""
        import torch

        tensor = self.tensors.pop(name, None)
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        if tensor is None:
            near = ", ".join(sorted(self.tensors)[:3]) or "none"
            raise ArtifactError(
                f"{self.subject}: tensor {name} ({wanted}) is missing; what is left beside those read: {near}."
            )
        fits = tensor.dim() == len(shape) and all(
            size in (None, have) for size, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            raise ArtifactError(f"{self.subject}: tensor {name}: expected {wanted}, found {tuple(tensor.shape)}.")
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            raise ArtifactError(f"{self.subject}: tensor {name}: expected floating-point values, found {tensor.dtype}.")
        tensor = tensor.to(torch.float32)
        if not torch.isfinite(tensor).all():
            raise ArtifactError(f"{self.subject}: tensor {name} holds values that are not finite in fp32.")
        return tensor

    def of_body(self, layer: str, part: str, shape: Sequence[int | None]) -> torch.Tensor:
        """A tensor of a layer of the body."""
        return self.take(f"{self.body_name}.{layer}.{part}", shape)

    def linear_layers(self) -> dict[str, torch.nn.Module]:
        """The body's linear layers by name, without those that are the head's."""
        return {name: layer for name, layer in linear_layers(self.body, ()).items() if name in self.modules}

    def head(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """The head's tensors, which must be all that is left. Raises ArtifactError that names what is too much."""
        taken = {name: self.take(name, shape) for name, shape in shapes.items()}
        if self.tensors:
            raise ArtifactError(
                f"{self.subject}: {len(self.tensors)} tensors belong to nothing that its settings name: "
                f"{', '.join(sorted(self.tensors)[:3])}."
            )
        return taken
