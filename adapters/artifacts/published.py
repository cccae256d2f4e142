"""Where an artifact lies that is named by a link, by its run's folder, or by a folder of versions.

Of versions `current.json` names one: a new version is published by replacing that file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from adapters.core.errors import ArtifactError
from adapters.core.files import FORMAT, read_json

CURRENT = "current.json"
"""`{"format": 1, "version": 2, "folder": "versions/0002"}`, the folder relative to that of the file."""
ARTIFACT = "artifact"
"""The folder in a run's that is its artifact."""
OF_ARTIFACTS = ("card.json", "adapter_config.json")
"""Files of which an artifact or a plain PEFT folder has one, and a run's folder none."""


def located(folder: Path) -> Path:
    """The folder of an artifact: links are followed, and so is the `current.json` of a folder of versions; of a run's
    folder it is the `artifact` in it.

    Whatever takes an artifact by its path asks this. A path without links stays as it was given.

    Raises:
        ArtifactError: `current.json` cannot be read, or names no folder below its own.
    """
    folder = _without_links(folder)
    if (folder / CURRENT).is_file():
        folder = _named(folder)
    is_run = (folder / ARTIFACT).is_dir() and not any((folder / name).exists() for name in OF_ARTIFACTS)
    return _without_links(folder / ARTIFACT) if is_run else folder


def leads_elsewhere(given: Path, folder: Path) -> bool:
    """Whether a path that led to a folder, as `located` says, leads to another one now, or to none any more."""
    try:
        return located(given) != folder
    except (ArtifactError, OSError):
        return True


def _without_links(folder: Path) -> Path:
    resolved = folder.resolve()
    return folder if resolved == Path(os.path.abspath(folder)) else resolved


def _named(folder: Path) -> Path:
    """The folder that `current.json` names."""
    path = folder / CURRENT
    try:
        found: Any = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: cannot be read as JSON ({error}). Publish the version again.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtifactError(f"{path}: must be an object of format {FORMAT}; found {str(found)[:80]}.")
    named, version = found.get("folder"), found.get("version")
    if not isinstance(named, str) or isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ArtifactError(
            f'{path}: must be {{"format": {FORMAT}, "version": 2, "folder": "versions/0002"}}; found {str(found)[:80]}.'
        )
    try:
        target, above = (folder / named).resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, a cycle of links
        raise ArtifactError(f"{path}: {named[:80]!r} is not a valid folder name ({error}).") from error
    if target == above or not target.is_relative_to(above):
        raise ArtifactError(f"{path}: {named[:80]!r} leads outside its folder. Name a folder below it.")
    if not target.is_dir():
        raise ArtifactError(f"{path}: names version {version} in {named[:80]!r}, and there is no such folder.")
    return target
