"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691) by PEFT: trained embeddings stand in front of the text's.

They begin as the embeddings of real text from the training split; the task's head is trained beside them. The folder
is PEFT's own. Token types of a pair of texts are kept; the virtual tokens are of type 0. What a head says of the
virtual tokens is cut off here, and a causal base finds the last piece of a padded row, which in stock PEFT it does not.
An encoder's classification head reads the first position, as in stock PEFT: that of the first virtual token.
The rate was chosen on dev (CoNLL-2003, minilm, 2,000 sentences, 300 of dev, three epochs): 1e-2 70.5, 3e-2 70.3,
1e-1 68.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters import methods
from adapters.changes import Change, Saved
from adapters.errors import ModelError
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, Example, Task

if TYPE_CHECKING:
    import torch

    from adapters.model import Base

# By PEFT's task type: what a model's output holds for each position.
_OF_POSITIONS = {"TOKEN_CLS": ("logits",), "QUESTION_ANS": ("start_logits", "end_logits")}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Prompt tuning."""

    learning_rate: float = 1e-2
    """Peak learning rate."""
    num_virtual_tokens: int = 32
    """Embeddings in front of the text; they take as many of the model's positions."""
    prompt_init: str = "text"
    """text: embeddings of training examples; random: PEFT's own."""


class Method(methods.PeftMethod):
    """PEFT's soft prompt with the head trained whole beside it."""

    name = "prompt_tuning"
    peft_type = "PROMPT_TUNING"
    peft_options: ClassVar[dict[str, str]] = {"num_virtual_tokens": "num_virtual_tokens"}
    kinds = (ENCODER, CAUSAL)

    def __init__(self, settings: Any) -> None:
        """Args: settings: those of `Settings`."""
        super().__init__(settings)
        require(settings.num_virtual_tokens >= 1, "num_virtual_tokens", settings.num_virtual_tokens, "at least 1")
        require(settings.prompt_init in ("text", "random"), "prompt_init", settings.prompt_init, "text or random")

    @property
    def virtual_tokens(self) -> int:
        """The prompt takes positions from the text."""
        return int(self.settings.num_virtual_tokens)

    def check(self, base: Base, task: Task) -> None:
        """Behind a soft prompt PEFT writes without the positions of padded rows: padding would change the answer."""
        super().check(base, task)
        if not task.has_head:
            raise ModelError(f"{task.name} has no head, and prompt_tuning cannot generate: use prefix, lora or full.")

    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """A prompt as wide as the base's embeddings, which may be narrower than its layers (ALBERT)."""
        import peft

        return peft.PromptTuningConfig(
            num_virtual_tokens=self.settings.num_virtual_tokens,
            token_dim=model.get_input_embeddings().weight.shape[1],
            prompt_tuning_init="RANDOM",
            modules_to_save=head or None,
        )

    def change(self, saved: Saved, base: Base, task: Task) -> Change:
        """Embeddings in front of the text's; an encoder's classification head reads the first of them."""
        width = saved.body.get_input_embeddings().weight.shape[1]
        prompt = saved.take("prompt_embeddings", (self.virtual_tokens, width))
        kind = methods.PEFT_TASKS.get(task.auto_class(base.kind), "")
        return Change(prompt=prompt, prompt_read=base.kind == ENCODER and kind not in _OF_POSITIONS)

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """As PEFT does it; then the prompt takes the embeddings of real text."""
        import torch

        wrapped: Any = super().wrap(base, task, train)
        if self.settings.prompt_init == "text" and len(train):
            ids = torch.tensor(self.first_pieces(base, task, train, self.virtual_tokens))
            with torch.no_grad():
                wrapped.prompt_encoder[wrapped.active_adapter].embedding.weight.copy_(wrapped.word_embeddings(ids))
        return _answering_for_the_text(wrapped, base)

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """PEFT's own loading; the model then answers as the trained one did."""
        return _answering_for_the_text(super().load(base, task, folder), base)


def _answering_for_the_text(model: Any, base: Base) -> torch.nn.Module:
    """A model with a soft prompt whose answers have no part for it. By hooks, which run inside DDP as well."""
    model.register_forward_hook(_cut_prompt)
    if base.kind == CAUSAL and model.active_peft_config.task_type == "SEQ_CLS":
        headed = model.get_base_model()
        headed.register_forward_pre_hook(_show_padding, with_kwargs=True)
        headed.base_model.register_forward_pre_hook(_embeddings_alone, with_kwargs=True)
    wrapped: torch.nn.Module = model
    return wrapped


def _cut_prompt(model: Any, inputs: tuple[Any, ...], output: Any) -> Any:
    """Drop the positions of the prompt, `[batch, virtual tokens + pieces, …]` to `[batch, pieces, …]`."""
    config = model.active_peft_config
    for name in _OF_POSITIONS.get(config.task_type, ()):
        output[name] = output[name][:, config.num_virtual_tokens :]
    return output


def _show_padding(model: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give a causal classifier pieces beside the embeddings: it looks for each row's last piece that is no padding.

    Given embeddings alone, as PEFT does, it takes the last position of the batch, padding or not.
    """
    import torch

    embeddings, mask = named["inputs_embeds"], named.get("attention_mask")
    padding = model.config.get_text_config().pad_token_id
    pieces = torch.full(embeddings.shape[:2], padding + 1, device=embeddings.device)  # any piece but padding
    if mask is not None:
        pieces[mask == 0] = padding
    return inputs, {**named, "input_ids": pieces}


def _embeddings_alone(
    body: Any, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Keep from the body what `_show_padding` gave its head."""
    named = {name: value for name, value in named.items() if name != "input_ids"}
    return (None, *inputs[1:]), named
