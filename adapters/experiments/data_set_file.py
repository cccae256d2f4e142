"""The settings of one data set, in a .toml of its own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from adapters.core import flags
from adapters.core.errors import SettingsError

PATHS = (
    "dataset_name",
    "metrics",
    "model_name_or_path",
    "peft_config",
    "plugin_dir",
    "prompt",
    "prompt_model_name_or_path",
    "tasks",
)
"""Settings that may be a path: one that exists beside the settings file is meant, before a name or another place."""


def flags_of_file(path: Path, replaced: Collection[str]) -> list[str]:
    """The settings of a .toml as flags, without some of them. Paths in it are relative to its folder.

    Raises SettingsError.

    Args:
        path: of the file.
        replaced: names of settings that are given otherwise.
    """
    if path.suffix.lower() != ".toml":
        raise SettingsError(f"--tasks {path}: must be a .toml of settings, or the folder of a finished comparison.")
    own = {name: value for name, value in flags.read_file(path).items() if name not in replaced}
    for name, value in own.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict | list):
                raise SettingsError(f"{path}: {name}: must be a value or a list of values, found {str(value)[:60]}.")
    return flags.as_flags({name: _located(name, value, path.parent) for name, value in own.items()})


def _located(name: str, value: Any, folder: Path) -> Any:
    """A setting's value, with a path as it is seen from here."""
    if isinstance(value, list):
        return [_located(name, part, folder) for part in value]
    if not isinstance(value, str):
        return value
    beside = folder / Path(value).expanduser()
    return str(beside) if name.endswith("_file") or (name in PATHS and beside.exists()) else value
