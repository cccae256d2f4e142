"""A task's head without its body, run by transformers' own code on hidden states of the shared body."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import ArtifactError
from adapters.core.files import canonical_json
from adapters.methods.base.delta import AdapterTensors, LayerDelta
from adapters.tasks.base.task import InferenceTask, Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base
    from adapters.models.tokenizer import WordTokenizer

LABEL_NAMES = ("id2label", "label2id")


class Head:
    """One adapter's head. Several threads may run it at once."""

    def __init__(self, model: Any, body: Any, task: InferenceTask, *, reads_prompt: bool) -> None:
        """Args:
        model: the headed model, with `body` as its body.
        body: returns the hidden states that `answers` was given.
        task: decodes the answers.
        reads_prompt: whether the head reads the positions of a soft prompt, as an encoder's classifier does.
        """
        self.model, self.body, self.task, self.reads_prompt = model, body, task, reads_prompt
        self.nbytes = sum(parameter.nbytes for parameter in model.parameters())

    def answers(
        self,
        states: torch.Tensor,
        pooled: torch.Tensor | None,
        prompt: int,
        inputs: Mapping[str, torch.Tensor],
        tokenizer: WordTokenizer,
    ) -> Sequence[np.ndarray]:
        """The task's answers to rows of one batch.

        Args:
            states: `[rows, prompt + tokens, hidden]`.
            pooled: `[rows, hidden]`, if the body has a pooler.
            prompt: number of tokens in the adapter's soft prompt.
            inputs: `input_ids`, and `attention_mask` where rows differ in length, both `[rows, tokens]`.
            tokenizer: the base's.
        """
        import torch

        with torch.inference_mode(), self._reading(states, pooled, prompt):
            return self.task.answers(self.model, inputs, tokenizer)

    def logits(
        self, states: torch.Tensor, pooled: torch.Tensor | None, prompt: int, inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The task's logits of rows of one batch, with gradients; the arguments are those of `answers`."""
        with self._reading(states, pooled, prompt):
            return self.task.logits(self.model, inputs)

    @contextmanager
    def _reading(self, states: torch.Tensor, pooled: torch.Tensor | None, prompt: int) -> Iterator[None]:
        """Within the block, this thread's body returns these states."""
        given = self.body.given
        given.states = (states if self.reads_prompt else states[:, prompt:]).float()
        given.pooled = None if pooled is None else pooled.float()
        try:
            yield
        finally:  # a slice of them would keep the whole batch's tensors alive
            given.states = given.pooled = None


@dataclass(frozen=True, kw_only=True)
class BaseHead:
    """What the base's own weights have of a head: nothing, half of it (ModernBERT) or all, by the base's last training.

    Attributes:
        name: of the base.
        model: the headed model without its body.
        missing: names of the parameters that the weights lack, which are random in `model`.
    """

    name: str
    model: Any
    missing: frozenset[str]

    @classmethod
    def load(cls, base: Base, task: Task) -> BaseHead:
        """Read it as `from_pretrained` does, which for a moment takes the memory of a second base."""
        import torch

        from adapters.models.base_model import load_quietly

        model, report = load_quietly(
            task.auto_class(base.kind),
            base.folder,
            config=base.config_with(task.config()),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        setattr(model, model.base_model_prefix, torch.nn.Module())
        missing = {*report["missing_keys"], *(found[0] for found in report["mismatched_keys"])}
        return cls(name=base.name, model=model.requires_grad_(False), missing=frozenset(missing))

    def tensor(self, name: str, subject: str) -> torch.Tensor:
        """A parameter. Raises ArtifactError if the weights lack it."""
        if name in self.missing:
            raise ArtifactError(
                f"{subject}: the head's {name} is in neither this folder nor the weights of {self.name}, so it was "
                "random when the adapter was trained, and is lost. Train it again with all modules of the head in "
                "modules_to_save."
            )
        tensor: torch.Tensor = self.model.state_dict()[name]
        return tensor

    def layer(self, name: str, subject: str) -> Any:
        """A layer. Raises ArtifactError if the weights lack one of its parameters."""
        layer = self.model.get_submodule(name)
        for part, _ in layer.named_parameters():
            self.tensor(f"{name}.{part}", subject)
        return layer


class Heads:
    """Makes heads for one base; the model class is built once for each size of head, without weights."""

    def __init__(self, base: Base, device: Any) -> None:
        """Args: the base, and the device of its body."""
        self.base = base
        self.device = device
        self.skeletons: dict[str, Any] = {}
        self.base_heads: dict[str, BaseHead] = {}

    def body_name(self, task: Task) -> str:
        """The headed model's name for its body."""
        return str(self._class(task).base_model_prefix)

    def body_modules(self, task: Task) -> frozenset[str]:
        """Names of the modules in the headed model's body, which may lack a pooler."""
        skeleton = self._skeleton(task)
        names: frozenset[str] = getattr(skeleton, skeleton.base_model_prefix).module_names
        return names

    def headed(self, task: Task) -> Any:
        """The headed model on the meta device."""
        import torch

        with torch.device("meta"):
            return self._class(task)(self.base.config_with(task.config()))

    def of_base(self, task: Task) -> BaseHead:
        """The head in the base's own weights."""
        key = self._key(task)
        if key not in self.base_heads:
            self.base_heads[key] = BaseHead.load(self.base, task)
        return self.base_heads[key]

    def build(
        self,
        task: Task,
        saved: AdapterTensors,
        *,
        reads_prompt: bool,
        updates: Mapping[str, LayerDelta] | None = None,
        required: Set[str] | None = None,
    ) -> Head:
        """The head of an adapter's remaining tensors.

        Args:
            task: whose head it is.
            saved: the adapter's tensors, of which all that remain must be the head's.
            reads_prompt: whether the head reads the positions of a soft prompt.
            updates: of the adapter to layers of the head.
            required: parameters that the adapter must have; others may be the base's own. None requires all.

        Raises:
            ArtifactError: they are not exactly a head's.
        """
        import torch

        skeleton = self._skeleton(task)
        # A pooler that the adapter has fully trained, or that was newly initialised as the base has none.
        model = copy.deepcopy(skeleton, {id(skeleton.config): skeleton.config})
        pooler = getattr(getattr(model, saved.body_name), "pooler", None) if saved.own_pooler else None
        body = _given_body(pooler)
        setattr(model, saved.body_name, body)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        lent = {name for name in shapes if required is not None and name not in required and name not in saved.tensors}
        tensors = {name: self.of_base(task).tensor(name, saved.subject) for name in sorted(lent)}
        tensors |= saved.head({name: shape for name, shape in shapes.items() if name not in lent})
        for name, update in (updates or {}).items():
            weight, bias = update.folded(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))
            tensors |= {f"{name}.weight": weight} | ({} if bias is None else {f"{name}.bias": bias})
            if bias is not None:  # the layer may have had none
                model.get_submodule(name).register_parameter("bias", torch.nn.Parameter(bias))
        model.load_state_dict({name: tensor.to(self.device) for name, tensor in tensors.items()}, assign=True)
        return Head(model.eval().requires_grad_(False), body, task, reads_prompt=reads_prompt)

    def none(self, task: InferenceTask) -> Head:
        """No head: the task reads the hidden states."""
        body = _given_body(None)
        return Head(body, body, task, reads_prompt=False)

    def _class(self, task: Task) -> Any:
        import transformers

        return getattr(transformers, task.auto_class(self.base.kind))._model_mapping[type(self.base.config)]

    def _key(self, task: Task) -> str:
        """What tells models of different heads apart."""
        sizes = {key: value for key, value in task.config().items() if key not in LABEL_NAMES}
        return canonical_json([task.auto_class(self.base.kind), sizes])

    def _skeleton(self, task: Task) -> Any:
        """The headed model on the meta device, with all layers of its body but the pooler removed."""
        import torch

        key = self._key(task)
        if key not in self.skeletons:
            model = self.headed(task)
            body = getattr(model, model.base_model_prefix)
            empty: Any = torch.nn.Module()
            empty.module_names = frozenset(name for name, _ in body.named_modules())
            empty.pooler = getattr(body, "pooler", None)
            setattr(model, model.base_model_prefix, empty)
            self.skeletons[key] = model
        return self.skeletons[key]


def _given_body(pooler: Any) -> Any:
    """A body that returns the states in its thread-local `given`, pooled by the adapter's own pooler if it has one."""
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

    class GivenBody(torch.nn.Module):
        """Replaces a headed model's body."""

        def __init__(self) -> None:
            super().__init__()
            self.given = threading.local()
            self.pooler = pooler

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            """The states of the shared body."""
            states = self.given.states
            pooled = self.given.pooled if self.pooler is None else self.pooler(states)
            return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=states, pooler_output=pooled)

    return GivenBody()
