"""Runs as tasks of a Ray cluster, each with its cores and GPUs; imported only for --launcher ray.

The cluster is that of RAY_ADDRESS, or one on this machine for the time of the experiment. Every machine has the same
environment, and sees the current folder, the experiment's folder and the data at the same paths. A run whose worker is
killed is run again; where the worker died but the run's own process lives, the next one waits for its lock.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from adapters.core.errors import SettingsError, numbered
from adapters.experiments.many_runs.live_table import LiveTable
from adapters.experiments.many_runs.planned_run import (
    PlannedRun,
    Resources,
    RunOutcome,
    Share,
    execute,
    finished,
    run_folder,
)

RETRIES = 3
"""How often a run is run again after its worker was killed; a run that fails by itself is not."""
ANSWERED_WITHIN = 20.0
"""Seconds for a cluster to accept a connection."""
SEEN_WITHIN = 60.0
"""Seconds until a file written by another machine is visible: NFS caches its absence for about as long."""
ENDED_WITHIN = 120.0
"""Seconds for the runs to end when the experiment is interrupted."""


def run_all(runs: Sequence[PlannedRun], folder: Path, resources: Resources, live_table: LiveTable) -> list[RunOutcome]:
    """Run the unfinished runs; returns all outcomes in order. A failure is recorded, the others continue.

    Args:
        runs: all of the experiment.
        folder: of the experiment.
        resources: of each run.
        live_table: shows the progress.
    """
    outcomes: dict[int, RunOutcome] = {}
    for number, run in enumerate(runs):
        if finished(own := run_folder(run, folder)):
            outcomes[number] = RunOutcome(run=run, folder=own)
            live_table.end(outcomes[number])
    if len(outcomes) < len(runs):
        with _cluster():
            options = _options(resources)
            waiting = {
                _submit(run, folder, resources, options): number
                for number, run in enumerate(runs)
                if number not in outcomes
            }
            try:
                for number, outcome in _ended(waiting, runs, folder, live_table):
                    outcomes[number] = outcome
                    live_table.end(outcome)
            except BaseException:  # Ctrl-C or SIGTERM: the runs must not continue alone
                _cancel(list(waiting))
                raise
    return [outcomes[number] for number in range(len(runs))]


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster of RAY_ADDRESS, or one of this machine's cores and GPUs. Raises SettingsError if none answers."""
    if ray.is_initialized():  # by the caller, who shuts it down
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    before = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address)
        ray.init(
            address=address,
            logging_level=logging.WARNING,
            **({"include_dashboard": False} if address == "local" else {}),
        )
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"RAY_ADDRESS {address}: no Ray cluster answers there ({str(error).splitlines()[0]}). Start one with ray "
            "start --head, or unset RAY_ADDRESS to start one on this machine."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's would end this process at once and leave the runs running
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError where nothing listens at a cluster's address: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERED_WITHIN).close()


def _options(resources: Resources) -> dict[str, Any]:
    """The resources of a task. Prints where no machine has them, as Ray then waits for one to join.

    Raises:
        SettingsError: the cluster is this machine, which lacks them.
    """
    gpus = resources.gpus
    if gpus is None:
        gpus = resources.processes if ray.cluster_resources().get("GPU") else 0
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(own.get("CPU", 0) >= resources.cpus and own.get("GPU", 0) >= gpus for own in machines):
        lacking = f"no machine of the Ray cluster has --run_cpus {resources.cpus} and --run_gpus {gpus:g}"
        if not os.environ.get("RAY_ADDRESS"):
            raise SettingsError(f"{lacking}. Request less, or set RAY_ADDRESS to a larger cluster.")
        print(f"{lacking}; waiting for one that joins (Ctrl-C ends it)", file=sys.stderr, flush=True)
    return {"num_cpus": resources.cpus, "num_gpus": gpus, "max_retries": RETRIES}


def _submit(run: PlannedRun, folder: Path, resources: Resources, options: dict[str, Any]) -> Any:
    """Submit a run as a task; returns the reference to its outcome."""
    task = ray.remote(_run_on_worker).options(name=run.name, **options)
    return task.remote(run, str(folder), os.getcwd(), resources)


def _run_on_worker(run: PlannedRun, folder: str, start: str, resources: Resources) -> RunOutcome:
    """Run a run on a machine of the cluster, in the folder in which the experiment was started."""
    own = run_folder(run, Path(folder))
    if not (Path(start) / folder / "settings.json").is_file():
        return RunOutcome(
            run=run,
            folder=own,
            error=(
                f"{socket.gethostname()} does not see {Path(start) / folder}: start the experiment in a folder, and "
                "give it an --output_dir, on a file system that all machines of the cluster share."
            ),
        )
    os.chdir(start)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as below nohup; but Ray cancels a task by it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return execute(run, Path(folder), Share(resources.processes, resources.cpus))


def _ended(
    waiting: dict[Any, int], runs: Sequence[PlannedRun], folder: Path, live_table: LiveTable
) -> Iterator[tuple[int, RunOutcome]]:
    """Yield each task when it has ended and remove it from `waiting`; show in the live table those that begin."""
    logs = {number: folder / "runs" / f"{runs[number].name}.log" for number in waiting.values()}
    before = {number: _log_state(log) for number, log in logs.items()}
    while waiting:
        time.sleep(0.5)  # SIGTERM here gives exit code 143; during Ray's own wait it would give 1
        done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        for number in [number for number in waiting.values() if number in before]:
            if _log_state(logs[number]) != before[number]:
                del before[number]
                live_table.begin(runs[number])
        for reference in done:
            number = waiting.pop(reference)
            yield number, _outcome(reference, runs[number], folder)


def _log_state(log: Path) -> tuple[int, int] | None:
    """The inode and modification time of a log, which change when a run begins."""
    try:
        found = log.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _outcome(reference: Any, run: PlannedRun, folder: Path) -> RunOutcome:
    """The outcome of a task that has ended."""
    own = run_folder(run, folder)
    try:
        outcome: RunOutcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else " ".join(lines)
        return RunOutcome(run=run, folder=own, error=f"its Ray task failed: {reason}")
    limit = time.monotonic() + SEEN_WITHIN
    while not outcome.error and not finished(own):
        if time.monotonic() > limit:
            return RunOutcome(
                run=run,
                folder=own,
                error=(
                    f"it has ended, but {own} is not visible here: --output_dir must be on a file system that all "
                    "machines of the cluster share."
                ),
            )
        time.sleep(0.5)
    return outcome


def _cancel(references: Sequence[Any]) -> None:
    """Cancel the tasks and wait until their runs have ended."""
    print(f"ending {numbered(len(references), 'runs')}", file=sys.stderr, flush=True)
    with suppress(ray.exceptions.RayError):
        for reference in references:
            ray.cancel(reference)
        ray.wait(list(references), num_returns=len(references), timeout=ENDED_WITHIN)
