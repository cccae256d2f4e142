"""Experiment trackers of Accelerate (tensorboard, wandb, trackio and others) for losses and scores."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.files import write_text

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "taskswap"


def requested(with_tracking: bool, report_to: Sequence[str]) -> list[str]:
    """Names of the trackers of a run. Accelerate itself would silently ignore those that are not installed.

    Raises SettingsError for a tracker that is unknown or not installed.
    """
    if not with_tracking:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = [str(kind) for kind in LOGGER_TYPE_TO_CLASS]
    installed = [str(kind) for kind in get_available_trackers()]
    for name in report_to:
        if name not in known:
            raise SettingsError(f"--report_to {name}: {did_you_mean(name, known)}")
        if name not in installed:
            raise SettingsError(f"--report_to {name}: is not installed. Run: pip install {name}")
    return list(report_to)


def end(accelerator: Accelerator) -> None:
    """Let the trackers write everything. Accelerate's `end_training` would also end the process group."""
    for tracker in accelerator.trackers:
        tracker.finish()


def begin(accelerator: Accelerator, settings: Mapping[str, Any], *, done: int) -> None:
    """Start the trackers, or go on in the run that they have begun.

    Args:
        accelerator: of the run; its project folder keeps the id under which wandb and trackio know the run.
        settings: logged as numbers, texts and booleans; what is none of them, as text.
        done: steps that were taken before, by a run that this one resumes; 0 begins a new one.
    """
    if not accelerator.log_with:
        return
    plain = {
        name: value if isinstance(value, int | float | str | bool) else str(value) for name, value in settings.items()
    }
    name = _run_name(Path(str(accelerator.project_dir)), new=not done) if accelerator.is_main_process else ""
    options = {
        # What was logged after the checkpoint is taken back: those steps are taken again.
        "tensorboard": {"purge_step": done + 1},
        "wandb": {"id": name, "resume": "allow"},
        "trackio": {"name": name, "resume": "allow"},
    }
    accelerator.init_trackers(PROJECT, config=plain, init_kwargs=options)


def _run_name(folder: Path, *, new: bool) -> str:
    """The name of the run with its trackers, kept in their folder."""
    file = folder / "run_name.txt"
    if new or not file.is_file():
        write_text(file, uuid.uuid4().hex[:12])
    return file.read_text(encoding="utf-8").strip()
