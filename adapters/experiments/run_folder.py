"""The folder of a run: what may lie there before it begins, and what it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.artifacts.published import ARTIFACT
from adapters.core.errors import ArtifactError, SettingsError
from adapters.core.files import obstacle, write_json
from adapters.core.settings import CommonSettings
from adapters.training.checkpoint import TRAINED

OURS = (
    "settings.json",
    "artifact",
    "predictions.jsonl",
    "scores.json",
    "report.txt",
    "curve.svg",
    "exports",
    "checkpoints",
    "logs",
)
"""All that a run writes into its folder."""
DATA = "data"
"""Folder of the data that the Python interface was given in memory; it stays."""


def check(folder: Path, settings: CommonSettings) -> None:
    """Raises SettingsError where the folder cannot be written to, or holds a finished run or what is not a run's."""
    if settings.dry_run:  # nothing is written
        return
    blocked = obstacle(folder)
    if blocked:
        which = "" if blocked[0] == folder else f"{blocked[0]} "
        raise SettingsError(f"--output_dir {folder}: {which}{blocked[1]}. Name a folder.")
    there = [name for name in own_files(folder, (*OURS, DATA)) if name != DATA]
    resumed = settings.resume_from_checkpoint is not None
    stopped = "checkpoints" in there and ("scores.json" not in there or (folder / "checkpoints" / TRAINED).is_dir())
    if stopped and not resumed and not settings.overwrite_output_dir:
        raise SettingsError(
            f"--output_dir {folder}: holds a run that was stopped. Add "
            "--resume_from_checkpoint latest to go on with it, or --overwrite_output_dir to start "
            "from scratch."
        )
    unfinished = set(there) <= {"settings.json"} or (resumed and (stopped or "scores.json" not in there))
    if unfinished or settings.overwrite_output_dir:
        return
    if resumed:
        raise SettingsError(
            f"--output_dir {folder}: holds a run that has finished, so there is nothing to resume. Name another "
            "folder, or add --overwrite_output_dir to replace it."
        )
    raise SettingsError(
        f"--output_dir {folder}: holds another run ({', '.join(there)}). Name another, "
        "or add --overwrite_output_dir to replace it."
    )


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """The folder with this run's settings alone in it; where it goes on from a checkpoint, with them and the logs."""
    for name in OURS:
        if name in ("checkpoints", "logs") and settings["resume_from_checkpoint"] is not None:
            continue
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    write_json(folder / "settings.json", settings)


NOT_TRAINED_ON = ("test_file", "plugin_dir", "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "dry_run")
"""Settings of a run that say nothing of its training data."""


def data_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run by which its training data are read again; empty where there is no run.

    Args: folder: of the run, or of its artifact.
    """
    return {name: value for name, value in settings_of(folder).items() if name not in NOT_TRAINED_ON}


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of a run; empty where there is none. Args: folder: of the run, or of its artifact.

    Raises ArtifactError where they are damaged.
    """
    return _of_run(folder, "settings.json")


def scores_of(folder: Path) -> dict[str, Any]:
    """The scores of a run that has an artifact; empty where there is none. Args: as of `settings_of`."""
    return _of_run(folder, "scores.json", beside=ARTIFACT)


def _of_run(folder: Path, name: str, *, beside: str = "") -> dict[str, Any]:
    """A JSON file of a run; empty where there is no such file, or nothing called `beside` next to it.

    Raises ArtifactError where it is damaged.
    """
    for place in (folder, folder.resolve().parent):
        if (place / name).is_file() and (place / beside).exists():
            try:
                found = json.loads((place / name).read_text(encoding="utf-8"))
                if not isinstance(found, dict):
                    raise ValueError("no object")
            except (OSError, ValueError, RecursionError) as error:
                raise ArtifactError(
                    f"{place / name}: damaged, not the JSON that a run writes ({error}). Copy it again from an intact "
                    "copy of the run; or remove it, and give what it says by flags."
                ) from error
            return found
    return {}


def check_own(folder: Path, ours: Sequence[str]) -> None:
    """Raises SettingsError where an output folder cannot be written to, or holds what is neither ours nor hidden."""
    blocked = obstacle(folder)
    if blocked:
        raise SettingsError(f"--output_dir {folder}: {blocked[0]} {blocked[1]}. Name a folder.")
    own_files(folder, ours)


def own_files(folder: Path, ours: Sequence[str]) -> list[str]:
    """Names in an output folder. Raises SettingsError where one is neither ours nor hidden."""
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in there if name not in ours and not name.startswith(".")]
    if foreign:
        raise SettingsError(
            f"--output_dir {folder}: holds files of others ({', '.join(foreign[:5])}). Name another folder."
        )
    return there
