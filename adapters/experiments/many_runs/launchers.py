"""Launchers run the unfinished runs of an experiment: on this machine, as Ray tasks, or as a Slurm job array."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.core.environment import install_command
from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.settings import require
from adapters.experiments.many_runs import local_launcher
from adapters.experiments.many_runs.live_table import LiveTable
from adapters.experiments.many_runs.planned_run import PlannedRun, Resources, RunOutcome

NAMES = ("local", "ray", "slurm")


def check(name: str, resources: Resources) -> None:
    """Refuse an unknown launcher, one that is not installed, and resources that it cannot give.

    Raises:
        SettingsError: with the flag and what is needed.
    """
    if name not in NAMES:
        raise SettingsError(f"--launcher {name}: unknown launcher: {did_you_mean(name, NAMES)}")
    require(resources.processes >= 1, "num_processes", resources.processes, "at least 1")
    require(resources.cpus >= 1, "run_cpus", resources.cpus, "at least 1")
    require(resources.at_once is None or resources.at_once >= 1, "runs_at_once", resources.at_once, "at least 1")
    if resources.gpus is not None:
        require(math.isfinite(resources.gpus) and resources.gpus >= 0, "run_gpus", resources.gpus, "0 or more")
        whole = resources.gpus == int(resources.gpus)
        needed = "a whole number, as Slurm does not share a GPU" if name == "slurm" else "below 1, or a whole number"
        require(whole or (name == "ray" and resources.gpus < 1) or name == "local", "run_gpus", resources.gpus, needed)
    if name == "ray":
        require(resources.at_once is None, "runs_at_once", resources.at_once, "left out with ray: --run_cpus decides")
        _ray_tasks()


def launch(name: str, runs: Sequence[PlannedRun], folder: Path, resources: Resources) -> list[RunOutcome]:
    """Run the unfinished runs, show the progress, and return the outcome of each, in their order.

    The list is empty where the runs were left to a scheduler, which finishes them later.

    Args:
        name: of the launcher.
        runs: all of the experiment.
        folder: of the experiment.
        resources: of each run.
    """
    if name == "slurm":
        from adapters.experiments.many_runs.slurm_launcher import write_job_array

        if write_job_array(runs, folder, resources):
            return []
    with LiveTable(runs, folder) as live_table:
        if name == "ray":
            outcomes: list[RunOutcome] = _ray_tasks().run_all(runs, folder, resources, live_table)
            return outcomes
        return local_launcher.run_all(runs, folder, resources, live_table)


def _ray_tasks() -> Any:
    """The launcher that needs ray. Raises SettingsError where ray is not installed."""
    try:
        return importlib.import_module("adapters.experiments.many_runs.ray_launcher")
    except ImportError as error:
        if (error.name or "").startswith("adapters"):
            raise
        raise SettingsError(
            f"--launcher ray needs {error.name}, which is not installed: {install_command('ray')}, on every machine of "
            "the cluster."
        ) from error
