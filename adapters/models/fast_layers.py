"""A model that only answers, made faster: packed linear layers, and layers of BERT's kind with less between their
products. A text that is answered alone spends a tenth of its time or more in calls that do nothing where nothing is
trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.models.packed_linear import pack

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
"""Largest difference, relative to the largest value, between a layer's own forward pass and the fast one."""


def quicken(model: torch.nn.Module) -> int:
    """Pack the linear layers of a model that only answers, and give each layer of BERT's kind the fast forward pass.

    Gives the number of the latter. A layer keeps its own pass if its parts are not named as BERT's are, or if the fast
    one gives other values on a small input. Where a layer is called in another way (in training, with keys and values
    before the text) its own pass runs.

    Args:
        model: in evaluation mode, on its device, in the numbers that it computes in.
    """
    pack(model)
    count = 0
    for layer in model.modules():
        fast = _FastLayer.of(layer)
        if fast is not None and fast.agrees():
            layer.forward = fast
            count += 1
    return count


class _FastLayer:
    """The forward pass of a layer of BERT's kind."""

    def __init__(self, layer: Any) -> None:
        """Args: layer: with BERT's parts."""
        import torch
        from torch.nn import functional

        attention, self.layer, self.own = layer.attention, layer, layer.forward
        self.projections = attention.self.query, attention.self.key, attention.self.value
        self.heads, self.width = attention.self.num_attention_heads, attention.self.attention_head_size
        self.mixed, self.first_norm = attention.output.dense, attention.output.LayerNorm
        self.inner, self.activation = layer.intermediate.dense, layer.intermediate.intermediate_act_fn
        self.outer, self.second_norm = layer.output.dense, layer.output.LayerNorm
        self.tensor = torch.Tensor
        self.attend = functional.scaled_dot_product_attention

    @classmethod
    def of(cls, layer: Any) -> _FastLayer | None:
        """That of a layer; None if it is of another kind."""
        import torch

        if "forward" in layer.__dict__:
            return None
        try:
            fast = cls(layer)
            config = layer.attention.self.config
        except AttributeError:
            return None
        fits = config._attn_implementation == "sdpa" and not layer.training and not getattr(layer, "is_decoder", False)
        return fast if fits and all(type(one) is torch.nn.Linear for one in fast.projections) else None

    def agrees(self) -> bool:
        """Whether the layer's own pass gives the same, with and without a mask."""
        import torch

        weight = self.projections[0].weight
        states = torch.sin(torch.arange(10.0 * weight.shape[1])).view(2, 5, -1).to(weight)
        mask = torch.ones(2, 1, 5, 5, dtype=torch.bool, device=weight.device)
        mask[0, ..., 3:] = False
        with torch.no_grad():
            for one in (None, mask):
                try:
                    wanted, found = self.own(states, one), self(states, one)
                except (AttributeError, RuntimeError, TypeError, ValueError):
                    return False
                if not isinstance(wanted, torch.Tensor) or wanted.shape != found.shape:
                    return False
                loose = TOLERANCE if wanted.dtype == torch.float32 else 2.0**-6
                if float((wanted - found).abs().max()) > loose * float(wanted.abs().max()):
                    return False
        return True

    def __call__(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        **named: Any,
    ) -> torch.Tensor:
        """`[rows, tokens, hidden]`, as the layer's own pass gives it."""
        usual = past_key_values is None and encoder_hidden_states is None and isinstance(hidden_states, self.tensor)
        if self.layer.training or not usual:  # PEFT's SHADOW hands on more than states
            out: torch.Tensor = self.own(
                hidden_states,
                attention_mask,
                encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                past_key_values=past_key_values,
                **named,
            )
            return out
        rows, tokens = hidden_states.shape[:2]
        query, key, value = (
            _called(one, hidden_states).view(rows, tokens, self.heads, self.width).transpose(1, 2)
            for one in self.projections
        )
        mixed = self.attend(query, key, value, attn_mask=attention_mask)
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, -1)
        states = _called(self.first_norm, _called(self.mixed, mixed) + hidden_states)
        inner = self.activation(_called(self.inner, states))
        return _called(self.second_norm, _called(self.outer, inner) + states)


def _called(layer: Any, states: torch.Tensor) -> torch.Tensor:
    """What a layer gives; without the call of a module, where no hook, such as a bank's, adds to it."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    out: torch.Tensor = layer(states) if hooked else layer.forward(states)
    return out
