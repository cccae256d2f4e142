"""Flags of the commands that load a model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which base model is loaded, and where."""

    base: str | None = None
    """Base model: a folder, an alias or a Hub id. Default: the one that the artifact names."""
    device: str = "auto"
    """Device to run on: auto (cuda, then mps, then cpu), or its name: cuda, cuda:1, mps, cpu."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with methods, tasks, metrics and prompts of your own."""
