"""Methods that PEFT implements: its config, the head trained alongside, and its folder format."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.errors import ArtifactError, ModelError
from adapters.methods.base.method import Method, head_modules, headed
from adapters.methods.base.peft_layout import check_patterns
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


CONFIG = "adapter_config.json"
"""PEFT's config in an adapter's folder."""
# PEFT chooses its model class by the kind of head.
PEFT_TASKS = {
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
}

LAYER_OPTIONS = frozenset({"target_modules", "exclude_modules", "modules_to_save", "task_type", "fan_in_fan_out"})
"""Options of PEFT's config that every method has by which PEFT adapts layers of a model."""
PROMPT_OPTIONS = frozenset(
    {
        "num_virtual_tokens",
        "token_dim",
        "num_layers",
        "num_attention_heads",
        "num_transformer_submodules",
        "modules_to_save",
        "task_type",
    }
)
"""Options of PEFT's config that every method has that puts virtual tokens before the text."""


def check_tensors(model: Any, saved: Set[str], where: Path) -> None:
    """Raises ArtifactError unless a model that PEFT has loaded has exactly the tensors that were saved.

    Args:
        model: PEFT's, which leaves out tensors of no layer, and draws those that are missing.
        saved: their names.
        where: the folder or file, for the message.
    """
    from adapters.models.peft_library import peft

    own = {*peft.get_peft_model_state_dict(model, save_embedding_layers=False)}
    if own != saved:
        raise ArtifactError(
            f"{where}: expected the tensors of its config. Missing: {sorted(own - saved)[:3]}; of no layer: "
            f"{sorted(saved - own)[:3]}. Train it again, or copy it again from an intact copy."
        )


def _skip_needless_work(wrapped: Any) -> None:
    """Undo two precautions of PEFT that cost time at each step.

    It makes the embeddings of a quantized base require gradients, for gradient checkpointing, which is not used here:
    the backward pass would run down to them. And it casts the input of each layer to the adapter's fp32, although
    autocast casts it back at once, to the same numbers.
    """
    from adapters.models.peft_library import peft

    wrapped.get_base_model().disable_input_require_grads()
    for layer in wrapped.modules():
        if isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
            layer.cast_input_dtype_enabled = False


class PeftMethod(Method):
    """A method that PEFT implements: `config` defines it, the head is trained in full, the folder format is PEFT's."""

    library = "peft"
    peft_type: ClassVar[str]
    """PEFT's name for it."""
    peft_options: ClassVar[Mapping[str, str]]
    """Options of PEFT's config that change what the adapter computes, and the settings that they correspond to."""
    peft_switches: ClassVar[Mapping[str, bool]] = {}
    """Options that distinguish the method from others of the same PEFT type."""
    peft_layers: ClassVar[frozenset[str]] = frozenset()
    """Options that choose and shape what PEFT adds to a model: PEFT itself reads them in a folder without a card. Empty
    where the settings of `peft_options` say it all."""
    any_type: ClassVar[bool] = False
    """Whether its settings name the PEFT type; then `config_difference` compares a saved config with them."""

    @classmethod
    def settings_of(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings of a PEFT config; None if it is of another method. Other options are not checked."""
        own = config.get("peft_type") == cls.peft_type
        if not own or any(bool(config.get(name)) != on for name, on in cls.peft_switches.items()):
            return None
        return {ours: config[theirs] for theirs, ours in cls.peft_options.items() if theirs in config}

    def config_difference(self, config: Mapping[str, Any]) -> str | None:
        """How a saved config differs from the settings, for a method of any type; None if it does not."""
        return None

    @abstractmethod
    def config(self, model: Any, base: Base, task: Task, head: list[str]) -> Any:
        """PEFT's config for a headed model; `head` names the modules of its head."""

    def wrap(self, base: Base, task: Task, train: Sequence[Example]) -> torch.nn.Module:
        """The frozen headed base with PEFT's parameters and a trainable head. Raises ModelError if PEFT refuses."""
        from adapters.models.peft_library import peft, without_bitsandbytes

        model = headed(base, task, self.settings)
        config = self.config(model, base, task, head_modules(model, task))
        config.task_type = PEFT_TASKS.get(task.auto_class(base.kind))
        with without_bitsandbytes(base.quantization is None):
            try:
                wrapped: torch.nn.Module = peft.get_peft_model(model, config)
            except (TypeError, ValueError) as error:
                raise ModelError(
                    f"PEFT's {self.peft_type} cannot do {task.name} on {base.name}: {type(error).__name__}: {error} "
                    "Use head or full, or another base (minilm, bert-base-cased, gpt2)."
                ) from error
        _skip_needless_work(wrapped)
        config.base_model_name_or_path = base.name
        return wrapped

    def save(self, model: torch.nn.Module, base: Base, folder: Path) -> None:
        """Save in PEFT's own format, without PEFT's model card: the artifact has one of its own."""
        wrapped: Any = model
        wrapped.create_or_update_model_card = lambda folder: None
        try:
            wrapped.save_pretrained(folder, save_embedding_layers=False)
        finally:
            del wrapped.create_or_update_model_card

    def load(self, base: Base, task: Task, folder: Path) -> torch.nn.Module:
        """Load by PEFT onto the headed base. Raises ArtifactError for a pattern of its config that never ends."""
        from adapters.models.peft_library import peft, without_bitsandbytes

        model = headed(base, task, self.settings)
        options = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        check_patterns(options, model, str(folder / CONFIG))
        with without_bitsandbytes(base.quantization is None):
            wrapped: torch.nn.Module = peft.PeftModel.from_pretrained(model, folder)
        return wrapped
