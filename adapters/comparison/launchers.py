"""Launchers: given the cells of a comparison, get those done that are not. Here, as tasks of Ray, as a job array."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.comparison.board import Board
from adapters.comparison.cells import Cell, Outcome, Share, run
from adapters.errors import SettingsError, did_you_mean
from adapters.settings import require

NAMES = ("local", "ray", "slurm")


def check(name: str, share: Share) -> None:
    """Refuse a launcher that there is none of, one that is not installed, and shares that it cannot give.

    Raises:
        SettingsError: says the flag and what is needed.
    """
    if name not in NAMES:
        raise SettingsError(f"--launcher {name}: there is no such launcher: {did_you_mean(name, NAMES)}")
    require(share.processes >= 1, "num_processes", share.processes, "at least 1")
    require(share.cpus >= 1, "cell_cpus", share.cpus, "at least 1")
    require(share.at_once is None or share.at_once >= 1, "cells_at_once", share.at_once, "at least 1")
    if share.gpus is not None:
        require(math.isfinite(share.gpus) and share.gpus >= 0, "cell_gpus", share.gpus, "0 or more")
        whole = share.gpus == int(share.gpus)
        needed = "a whole number: Slurm gives no part of a GPU" if name == "slurm" else "below 1, or a whole number"
        require(whole or (name == "ray" and share.gpus < 1) or name == "local", "cell_gpus", share.gpus, needed)
    if name == "ray":
        _ray_tasks()


def launch(name: str, cells: Sequence[Cell], folder: Path, share: Share) -> list[Outcome]:
    """Get the cells done that are not finished, show how it goes, and return what became of each, in their order.

    The list is empty where the cells were handed over to a scheduler: they will be finished at another time.

    Args:
        name: of the launcher.
        cells: all of the comparison.
        folder: of the comparison.
        share: of the machines, for each cell.
    """
    if name == "slurm":
        from adapters.comparison.slurm import hand_over

        if hand_over(cells, folder, share):
            return []
    with Board(cells, folder) as board:
        if name == "ray":
            outcomes: list[Outcome] = _ray_tasks().run_all(cells, folder, share, board)
            return outcomes
        return _one_by_one(cells, folder, share, board)


def _one_by_one(cells: Sequence[Cell], folder: Path, share: Share, board: Board) -> list[Outcome]:
    """On this machine; a failure is noted and the others go on."""
    outcomes = []
    for cell in cells:
        board.begin(cell)
        outcomes.append(run(cell, folder, share.processes))
        board.end(outcomes[-1])
    return outcomes


def _ray_tasks() -> Any:
    """The launcher that needs ray. Raises SettingsError where ray is not installed."""
    try:
        return importlib.import_module("adapters.comparison.ray_tasks")
    except ImportError as error:
        if (error.name or "").startswith("adapters"):
            raise
        raise SettingsError(
            f"--launcher ray needs {error.name}, which is not installed: pip install -e \".[ray]\" in the clone of "
            "taskswap, on every machine of the cluster."
        ) from error  # fmt: skip
