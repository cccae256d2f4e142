"""Files of settings, in TOML, YAML or JSON, which take the place of all flags of a command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.core.errors import SettingsError

FILES = (".toml", ".yaml", ".yml", ".json")
RECORDED = frozenset({"format", "task", "method", "reading", "given", "defaults"})
"""What a run's own settings.json records in addition to its settings, so that it can be passed back unchanged."""


def names_file(word: str) -> bool:
    """Whether a word of a command names a settings file; `--prompt=mine.toml` is a flag."""
    return not word.startswith("-") and word.lower().endswith(FILES)


def is_file(argv: Sequence[str]) -> bool:
    """Whether a single settings file replaces all flags."""
    return len(argv) == 1 and names_file(argv[0])


def not_alone(path: str) -> SettingsError:
    """What is raised where a settings file is given together with flags."""
    return SettingsError(f"{path}: a settings file takes the place of all flags. Write the others into it.")


def read(path: Path) -> dict[str, Any]:
    """The contents of a settings file, by the names that it uses. Raises SettingsError."""
    kind = path.suffix.lower()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(f"{path}: cannot be read ({why}). Give a .toml, .yaml or .json of settings.") from error
    try:
        if kind == ".toml":
            import tomllib

            values = tomllib.loads(text)
        elif kind == ".json":
            values = json.loads(text)
        else:
            import yaml

            # Every value stays a string, as on the command line: `mixed_precision: no` is not a boolean.
            values = yaml.BaseLoader(text).get_single_data()
    except Exception as error:  # each parser has exceptions of its own, all of them caused by the file
        raise SettingsError(f"{path}: not valid {kind[1:]}: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must contain settings by name, found {type(values).__name__}.")
    return values
