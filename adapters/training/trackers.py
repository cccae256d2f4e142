"""Experiment trackers of Accelerate (tensorboard, wandb, trackio and others) for losses and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError, did_you_mean

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


def begin(accelerator: Accelerator, settings: Mapping[str, Any]) -> None:
    """Start the trackers with the settings; values other than numbers, texts and booleans are logged as text."""
    if accelerator.log_with:
        plain = {
            name: value if isinstance(value, int | float | str | bool) else str(value)
            for name, value in settings.items()
        }
        accelerator.init_trackers(PROJECT, config=plain)
