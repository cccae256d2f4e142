"""What methods share that train virtual tokens before the text, which use as many of the model's positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.peft_method import PROMPT_OPTIONS, PeftMethod
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from adapters.models.base_model import Base


class VirtualTokenMethod(PeftMethod):
    """A method of PEFT with the setting `num_virtual_tokens`; the task's head is trained in full.

    Attributes:
        rates: learning rates of its search space.
        init: the setting that says how virtual tokens are initialised: from training text, or at random.
    """

    peft_options: ClassVar[dict[str, str]] = {"num_virtual_tokens": "num_virtual_tokens"}
    peft_layers: ClassVar[frozenset[str]] = PROMPT_OPTIONS
    kinds = (ENCODER, CAUSAL)
    rates: ClassVar[LogUniform]
    init: ClassVar[str]

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """Learning rate, length of the training, and number of virtual tokens."""
        return {
            "learning_rate": cls.rates,
            "num_train_epochs": Choice(3.0, 5.0, 10.0),
            "num_virtual_tokens": Choice(8, 16, 32, 64),
        }

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.num_virtual_tokens >= 1, "num_virtual_tokens", settings.num_virtual_tokens, "at least 1")
        given = getattr(settings, self.init)
        require(given in ("text", "random"), self.init, given, "text or random")

    @property
    def virtual_tokens(self) -> int:
        """Number of virtual tokens."""
        return int(self.settings.num_virtual_tokens)

    def first_tokens(self, base: Base, task: Task, train: Sequence[Example]) -> list[int]:
        """As many tokens of the first training examples as there are virtual ones, repeated if too few."""
        number = self.virtual_tokens
        encoded = task.encode(
            [train[i] for i in range(min(len(train), number))],
            base.word_tokenizer,
            self.budget(base, self.settings.max_length),
        )
        ids = list(chain.from_iterable(row.input_ids for row in encoded))
        return (ids * (number // len(ids) + 1))[:number]
