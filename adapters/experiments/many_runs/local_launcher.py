"""Runs on this machine, one after the other or some at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from adapters.core.errors import numbered
from adapters.core.progress import say
from adapters.experiments.many_runs.live_table import LiveTable
from adapters.experiments.many_runs.planned_run import (
    PlannedRun,
    Resources,
    RunOutcome,
    Share,
    ended,
    execute,
    run_folder,
)


def run_all(runs: Sequence[PlannedRun], folder: Path, resources: Resources, live_table: LiveTable) -> list[RunOutcome]:
    """Run the unfinished runs; returns all outcomes in order. A failure is recorded, the others continue.

    Args:
        runs: all of the experiment.
        folder: of the experiment.
        resources: of each run. One after the other, a run has all cores; several at once have `cpus` threads each.
        live_table: shows the progress.
    """
    left = sum(not ended(run_folder(run, folder)) for run in runs)
    if resources.at_once and min(resources.at_once, left) > 1:
        return _at_once(runs, folder, resources, live_table, resources.at_once)
    outcomes = []
    for run in runs:
        live_table.begin(run)
        outcomes.append(execute(run, folder, Share(resources.processes)))
        live_table.end(outcomes[-1])
    return outcomes


def _at_once(
    runs: Sequence[PlannedRun], folder: Path, resources: Resources, live_table: LiveTable, most: int
) -> list[RunOutcome]:
    """Run `most` at the same time, each in a process of its own for which a thread waits."""
    threads = numbered(resources.cpus, "threads")
    say(f"{most} runs at a time, each with {threads} (--run_cpus): their times are those of a shared machine")
    share = Share(resources.processes, resources.cpus)
    outcomes: dict[int, RunOutcome] = {}
    running: dict[Future[RunOutcome], int] = {}
    with ThreadPoolExecutor(most) as pool:
        try:
            for number, run in enumerate(runs):
                if len(running) == most:
                    _collect(running, outcomes, live_table)
                live_table.begin(run)
                running[pool.submit(execute, run, folder, share)] = number
            while running:
                _collect(running, outcomes, live_table)
        except BaseException:  # Ctrl-C or SIGTERM: the runs must not continue alone
            share.stop.set()
            raise
    return [outcomes[number] for number in range(len(runs))]


def _collect(running: dict[Future[RunOutcome], int], outcomes: dict[int, RunOutcome], live_table: LiveTable) -> None:
    """Wait until at least one run has ended, and move what has ended to the outcomes."""
    ended, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in ended:
        outcome = outcomes[running.pop(future)] = future.result()
        live_table.end(outcome)
