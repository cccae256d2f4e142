"""Flags that say what the config of a plain PEFT folder does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.cli.base.model_flags import ModelFlags

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.artifacts.loaded import LoadedArtifact
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

    def load(self, folder: Path, *, dtype: str, adapter: str | None = None) -> LoadedArtifact:
        """An artifact, a plain PEFT folder or an export, loaded as the flags say; torch uses all cores for it.

        Raises: what `interface.load` raises.
        """
        from adapters.artifacts import loading
        from adapters.artifacts.published import located
        from adapters.core.processes import use_all_cores
        from adapters.experiments import interface

        if not loading.is_export(located(folder)):
            use_all_cores()  # of torch, which an export does without
        return interface.load(
            folder,
            adapter=adapter,
            base=self.base,
            device=self.device,
            dtype=dtype,
            plugin_dirs=self.plugin_dir,
            **vars(self.reading()),
        )

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
