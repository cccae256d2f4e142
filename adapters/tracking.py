"""Trackers of Accelerate: tensorboard, wandb, trackio and the rest, told of losses and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "taskswap"


def wanted(with_tracking: bool, report_to: Sequence[str]) -> list[str]:
    """Names of the trackers of a run; Accelerate alone would leave out those that are not installed, and say nothing.

    Raises SettingsError for one that is not known or not installed.
    """
    if not with_tracking:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = [str(kind) for kind in LOGGER_TYPE_TO_CLASS]
    there = [str(kind) for kind in get_available_trackers()]
    for name in report_to:
        if name not in known:
            raise SettingsError(f"--report_to {name}: {did_you_mean(name, known)}")
        if name not in there:
            raise SettingsError(f"--report_to {name}: is not installed here. Run: pip install {name}")
    return list(report_to)


def end(accelerator: Accelerator) -> None:
    """Have the trackers write what they hold. Accelerate's own `end_training` would part the processes, too."""
    for tracker in accelerator.trackers:
        tracker.finish()


def begin(accelerator: Accelerator, settings: Mapping[str, Any]) -> None:
    """Tell the trackers the settings, as far as they take them: numbers, texts and switches."""
    if accelerator.log_with:
        plain = {name: value if isinstance(value, int | float | str | bool) else str(value)
                 for name, value in settings.items()}  # fmt: skip
        accelerator.init_trackers(PROJECT, config=plain)
