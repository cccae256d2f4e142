"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691) by PEFT: trained embeddings before those of the text.

They are initialised with the embeddings of real training text; the task's head is trained alongside. The folder format
is PEFT's. Token types of a pair of texts are kept; the virtual tokens have type 0. The head's output for the virtual
tokens is removed here, and a causal base finds the last token of a padded row, which it does not in stock PEFT.
An encoder's classification head reads the first position, as in stock PEFT: that of the first virtual token.
The learning rate was chosen on dev (CoNLL-2003, minilm, 2,000 sentences, 300 of dev, three epochs): 1e-2 70.5, 3e-2
70.3, 1e-1 68.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError
from adapters.core.search_space import LogUniform
from adapters.methods.base.delta import AdapterDelta, AdapterTensors
from adapters.methods.base.peft_method import PEFT_TASKS
from adapters.methods.base.soft_prompt import OF_POSITIONS, without_prompt_outputs
from adapters.methods.base.virtual_tokens import VirtualTokenMethod
from adapters.models.base_model import ENCODER
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Prompt tuning."""

    learning_rate: float = 1e-2
    """Peak learning rate."""
    num_virtual_tokens: int = 32
    """Number of virtual tokens before the text; they use as many of the model's positions."""
    prompt_init: str = "text"
    """Initialisation: embeddings of training text, or random."""


class Method(VirtualTokenMethod):
    """PEFT's prompt tuning, with the head trained in full."""

    name = "prompt_tuning"
    peft_type = "PROMPT_TUNING"
    rates = LogUniform(1e-3, 1e-1)
    init = "prompt_init"

    def check(self, base: Base, task: Task) -> None:
        """The task must have a head: PEFT generates without position ids, so padding would change answers."""
        super().check(base, task)
        if not task.has_head:
            raise ModelError(f"{task.name} has no head, and prompt_tuning cannot generate: use prefix, lora or full.")

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's PromptTuningConfig, as wide as the embeddings, which may be narrower than the layers (ALBERT)."""
        from adapters.models.peft_library import peft

        return peft.PromptTuningConfig(
            num_virtual_tokens=self.settings.num_virtual_tokens,
            token_dim=model.get_input_embeddings().weight.shape[1],
            # PEFT looks for it under the names of some architectures only (not DistilBERT's).
            num_attention_heads=getattr(base.config.get_text_config(), "num_attention_heads", None),
            prompt_tuning_init="RANDOM",
            modules_to_save=head or None,
        )

    def delta(self, tensors: AdapterTensors, base: Base, task: Task) -> AdapterDelta:
        """Embeddings before those of the text; an encoder's classification head reads the first of them."""
        width = tensors.body.get_input_embeddings().weight.shape[1]
        prompt = tensors.take("prompt_embeddings", (self.virtual_tokens, width))
        kind = PEFT_TASKS.get(task.auto_class(base.kind), "")
        return AdapterDelta(prompt=prompt, prompt_read=base.kind == ENCODER and kind not in OF_POSITIONS)

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """PEFT's model, its prompt initialised with embeddings of real text."""
        import torch

        wrapped: Any = super().wrap(base, task, train)
        if self.settings.prompt_init == "text" and len(train):
            place = wrapped.word_embeddings.weight.device  # a quantized base is on its device already
            ids = torch.tensor(self.first_tokens(base, task, train), device=place)
            with torch.no_grad():
                wrapped.prompt_encoder[wrapped.active_adapter].embedding.weight.copy_(wrapped.word_embeddings(ids))
        return without_prompt_outputs(wrapped, base)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """Load by PEFT; the model answers as the trained one did."""
        return without_prompt_outputs(super().load(base, task, folder), base)
