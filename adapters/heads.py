"""A task's head alone, run by transformers' own code on hidden states that a shared body has computed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.changes import Saved
from adapters.files import canonical_json
from adapters.tasks import Task

if TYPE_CHECKING:
    import torch

    from adapters.alignment import Pieces
    from adapters.model import Base

_NAMES = ("id2label", "label2id")


class Head:
    """One adapter's head. Several threads may run it at once."""

    def __init__(self, model: Any, body: Any, task: Task, *, reads_prompt: bool) -> None:
        """Args:
        model: the headed model, a `_Given` in its body's place.
        body: that one.
        task: whose answers they are.
        reads_prompt: whether the head reads the positions of a soft prompt, as an encoder's classifier does.
        """
        self.model, self.body, self.task, self.reads_prompt = model, body, task, reads_prompt
        self.nbytes = sum(parameter.nbytes for parameter in model.parameters())

    def answers(
        self, states: torch.Tensor, pooled: torch.Tensor | None, prompt: int, inputs: Mapping[str, torch.Tensor],
        pieces: Pieces,
    ) -> Sequence[np.ndarray]:  # fmt: skip
        """The task's answers to rows of one batch.

        Args:
            states: `[rows, prompt + pieces, hidden]`.
            pooled: `[rows, hidden]`, where the body has a pooler.
            prompt: pieces of the adapter's soft prompt.
            inputs: `input_ids`, and `attention_mask` where rows differ in length, both `[rows, pieces]`.
            pieces: the tokenizer.
        """
        import torch

        with torch.inference_mode():
            self.body.here.states = (states if self.reads_prompt else states[:, prompt:]).float()
            self.body.here.pooled = None if pooled is None else pooled.float()
            try:
                return self.task.answers(self.model, inputs, pieces)
            finally:  # a slice of them would keep the whole batch's alive
                self.body.here.states = self.body.here.pooled = None


class Heads:
    """Makes heads for one base: the model class is built once for each size of head, without its weights."""

    def __init__(self, base: Base, device: Any) -> None:
        """Args: the base, and where its body is."""
        self.base = base
        self.device = device
        self.kinds: dict[str, Any] = {}

    def body_name(self, task: Task) -> str:
        """What the headed model calls its body."""
        return str(self._class(task).base_model_prefix)

    def body_modules(self, task: Task) -> frozenset[str]:
        """Names of the modules of the headed model's body; it may do without a pooler."""
        empty = self._empty(task)
        known: frozenset[str] = getattr(empty, empty.base_model_prefix).known
        return known

    def build(self, task: Task, saved: Saved, *, reads_prompt: bool) -> Head:
        """The head whose tensors are all that is left of an adapter. Raises ArtifactError where they are not."""
        empty = self._empty(task)
        # One that the adapter has trained whole, or that was drawn anew as the base has none.
        own_pooler = f"{saved.body_name}.pooler.dense.weight" in saved.tensors
        model = copy.deepcopy(empty, {id(empty.config): empty.config})
        pooler = getattr(getattr(model, saved.body_name), "pooler", None) if own_pooler else None
        body = _given(pooler)
        setattr(model, saved.body_name, body)
        tensors = saved.head({name: tensor.shape for name, tensor in model.state_dict().items()})
        model.load_state_dict({name: tensor.to(self.device) for name, tensor in tensors.items()}, assign=True)
        return Head(model.eval().requires_grad_(False), body, task, reads_prompt=reads_prompt)

    def none(self, task: Task) -> Head:
        """No head: the task reads the hidden states themselves."""
        body = _given(None)
        return Head(body, body, task, reads_prompt=False)

    def _class(self, task: Task) -> Any:
        import transformers

        return getattr(transformers, task.auto_class(self.base.kind))._model_mapping[type(self.base.config)]

    def _empty(self, task: Task) -> Any:
        """The headed model on no device, its body's layers taken out."""
        import torch

        changes = task.config()
        key = canonical_json([task.auto_class(self.base.kind), {k: v for k, v in changes.items() if k not in _NAMES}])
        if key not in self.kinds:
            with torch.device("meta"):
                model = self._class(task)(self.base.config_with(changes))
            body = getattr(model, model.base_model_prefix)
            bare: Any = torch.nn.Module()
            bare.known = frozenset(name for name, _ in body.named_modules())
            bare.pooler = getattr(body, "pooler", None)
            setattr(model, model.base_model_prefix, bare)
            self.kinds[key] = model
        return self.kinds[key]


def _given(pooler: Any) -> Any:
    """A body that returns what the thread has put into its `here`, through a pooler of the adapter's own if it has."""
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

    class Given(torch.nn.Module):
        """Stands in a body's place."""

        def __init__(self) -> None:
            super().__init__()
            self.here = threading.local()
            self.pooler = pooler

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            """The states of the shared body."""
            states = self.here.states
            pooled = self.here.pooled if self.pooler is None else self.pooler(states)
            return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=states, pooler_output=pooled)

    return Given()
