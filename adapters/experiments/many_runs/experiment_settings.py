"""The settings of an experiment of many runs: where they run, and how their settings are searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.core.settings import require
from adapters.experiments.many_runs import tuners

LAUNCHING = frozenset({"launcher", "run_cpus", "run_gpus", "runs_at_once"})
"""Settings of where runs run."""


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """Where runs run, and how their settings are searched."""

    tuner: str = "random"
    """Where the settings of trials come from: random draws, or optuna (its TPE sampler)."""
    num_processes: int = 1
    """Processes of each run."""
    launcher: str = "local"
    """Where runs run: local (this machine), ray (tasks on the cluster of RAY_ADDRESS, or on
    this machine's cores), or slurm (a job array: writes --output_dir/runs.sbatch to submit; the same command prints
    the table when its jobs have ended). For ray and slurm, all machines share one file system."""
    run_cpus: int = 1
    """CPU cores of each run, with ray or slurm; threads of each run where several run at once on this machine."""
    run_gpus: float | None = None
    """GPUs of each run, with ray (0.5: two runs share one) or slurm. Default: with ray one for each process if the
    cluster has any; with slurm none."""
    runs_at_once: int | None = None
    """Runs at the same time, on this machine or with slurm. Default: here 1, which has all cores; with slurm as many as
    it can start. Each needs its own memory."""


def check_margin(margin: float) -> None:
    """Raises SettingsError for a margin of non-inferiority that is none."""
    require(0 < margin < 100, "margin", margin, "a number of points above 0 (no data show equality)")


def check_experiment(settings: Any) -> None:
    """Raises SettingsError for a number of trials or a tuner that is invalid."""
    require(settings.tuning_trials >= 0, "tuning_trials", settings.tuning_trials, "0 (no search) or more")
    require(settings.tuner in tuners.NAMES, "tuner", settings.tuner, " or ".join(tuners.NAMES))
    by_scores = settings.tuner != "random" and settings.launcher == "slurm"
    needed = "random with --launcher slurm, as it needs the scores of earlier trials"
    require(not by_scores, "tuner", settings.tuner, needed)
