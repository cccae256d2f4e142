"""Flags that say what the config of a plain PEFT folder does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.cli.base.model_flags import ModelFlags

if TYPE_CHECKING:
    from adapters.artifacts.plain_peft import Reading


@dataclass(frozen=True, kw_only=True)
class PlainFlags(ModelFlags):
    """How a plain PEFT folder is read."""

    labels: list[str] = field(default_factory=list)
    """Labels of a plain PEFT folder, in the order of its head."""
    task: str | None = None
    """Task of a plain PEFT folder whose config does not name it."""
    multi_label: bool | None = None
    """Whether a text has any number of labels, for a plain PEFT folder. Default: as its config says."""
    pair: bool | None = None
    """Whether an input of a plain PEFT folder is two texts."""
    max_length: int | None = None
    """Tokens of a text that a plain PEFT folder reads. Default: as many as its base does."""

    def reading(self) -> Reading:
        """What was given."""
        from adapters.artifacts.plain_peft import Reading

        return Reading(
            task=self.task,
            labels=tuple(self.labels) or None,
            multi_label=self.multi_label,
            pair=self.pair,
            max_length=self.max_length,
        )
