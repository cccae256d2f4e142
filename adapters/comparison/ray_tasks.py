"""Cells as tasks of a Ray cluster, each with its share of cores and GPUs; imported only where ray is asked for.

The cluster is that of RAY_ADDRESS, or one on this machine that lives as long as the comparison. Every machine has the
same environment, and sees the current folder, the comparison's and the data under the same paths. A cell whose worker
is killed is run again; where the worker died but the cell's own process lives, its lock makes the next one wait for it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from adapters.comparison.board import Board
from adapters.comparison.cells import Cell, Outcome, Share, clean_environment, finished, own_folder, run
from adapters.errors import SettingsError

RETRIES = 3
"""How often a cell is run again whose worker was killed; a cell that fails by itself is not."""
ANSWERED_WITHIN = 20.0
"""Seconds that a cluster has to accept a connection."""
SEEN_WITHIN = 60.0
"""Seconds until a file that another machine wrote is seen here: NFS remembers for so long that there was none."""
ENDED_WITHIN = 120.0
"""Seconds that the cells have to end where the comparison is interrupted."""


def run_all(cells: Sequence[Cell], folder: Path, share: Share, board: Board) -> list[Outcome]:
    """Run the cells that are not finished; what became of each, in their order. A failure is noted, the others go on.

    Args:
        cells: all of the comparison.
        folder: of the comparison.
        share: of the cluster, for each cell.
        board: where to show how it goes.
    """
    outcomes: dict[int, Outcome] = {}
    for number, cell in enumerate(cells):
        if finished(own := own_folder(cell, folder)):
            outcomes[number] = Outcome(cell=cell, folder=own)
            board.end(outcomes[number])
    if len(outcomes) < len(cells):
        with _cluster():
            options = _options(share)
            waiting = {_submit(cell, folder, share, options): number
                       for number, cell in enumerate(cells) if number not in outcomes}  # fmt: skip
            try:
                for number, outcome in _ended(waiting, cells, folder, board):
                    outcomes[number] = outcome
                    board.end(outcome)
            except BaseException:  # Ctrl-C or SIGTERM: the cells must not go on alone
                _cancel(list(waiting))
                raise
    return [outcomes[number] for number in range(len(cells))]


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster of RAY_ADDRESS, or one of this machine's cores and GPUs. Raises SettingsError if none answers."""
    if ray.is_initialized():  # by the caller, whose it stays
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.WARNING,
                 **({"include_dashboard": False} if address == "local" else {}))  # fmt: skip
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"RAY_ADDRESS {address}: no Ray cluster answers there ({str(error).splitlines()[0]}). Start one with ray "
            "start --head, or unset RAY_ADDRESS: then one is started on this machine."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's would end us on the spot, the cells still running
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at the host and port of a cluster: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERED_WITHIN).close()


def _options(share: Share) -> dict[str, Any]:
    """The resources of a task. Says it where no machine has them, as Ray waits for one that joins.

    Raises:
        SettingsError: this machine is the cluster, and lacks them.
    """
    gpus = share.gpus
    if gpus is None:
        gpus = share.processes if ray.cluster_resources().get("GPU") else 0
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(own.get("CPU", 0) >= share.cpus and own.get("GPU", 0) >= gpus for own in machines):
        said = f"no machine of the Ray cluster has --cell_cpus {share.cpus} and --cell_gpus {gpus:g}"
        if not os.environ.get("RAY_ADDRESS"):
            raise SettingsError(f"{said}. Ask for less, or set RAY_ADDRESS to a larger cluster.")
        print(f"{said}; waiting for one that joins (Ctrl-C ends it)", file=sys.stderr, flush=True)
    return {"num_cpus": share.cpus, "num_gpus": gpus, "max_retries": RETRIES}


def _submit(cell: Cell, folder: Path, share: Share, options: dict[str, Any]) -> Any:
    """A cell as a task; the reference to what will become of it."""
    task = ray.remote(_run_there).options(name=cell.name, **options)
    return task.remote(cell, str(folder), os.getcwd(), share)


def _run_there(cell: Cell, folder: str, place: str, share: Share) -> Outcome:
    """Run a cell on a machine of the cluster, in the folder in which the comparison was started."""
    own = own_folder(cell, Path(folder))
    if not (Path(place) / folder / "settings.json").is_file():
        return Outcome(cell=cell, folder=own, error=(
            f"{socket.gethostname()} does not see {Path(place) / folder}: start the comparison in a folder, and give "
            "it an --output_dir, on a file system that all machines of the cluster share."
        ))  # fmt: skip
    os.chdir(place)
    _settle(os.environ, share.cpus)
    return run(cell, Path(folder), share.processes)


def _settle(environment: MutableMapping[str, str], cpus: int) -> None:
    """Give a cell as many threads as it has cores here, unless the user set a number; what a launcher left goes."""
    clean = clean_environment(environment)
    for name in set(environment) - set(clean):
        del environment[name]
    environment.setdefault("OMP_NUM_THREADS", str(cpus))


def _ended(
    waiting: dict[Any, int], cells: Sequence[Cell], folder: Path, board: Board
) -> Iterator[tuple[int, Outcome]]:  # fmt: skip
    """Each task when it has ended, taken out of those that are waited for, and tells the board of those that begin."""
    logs = {number: folder / "cells" / f"{cells[number].name}.log" for number in waiting.values()}
    before = {number: _written(log) for number, log in logs.items()}
    while waiting:
        time.sleep(0.5)  # here SIGTERM ends us with our exit code; Ray's own waiting makes it 1
        done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        for number in [number for number in waiting.values() if number in before]:
            if _written(logs[number]) != before[number]:
                del before[number]
                board.begin(cells[number])
        for reference in done:
            number = waiting.pop(reference)
            yield number, _outcome(reference, cells[number], folder)


def _written(log: Path) -> tuple[int, int] | None:
    """When a log was begun or added to; other than before where a cell has begun."""
    try:
        found = log.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _outcome(reference: Any, cell: Cell, folder: Path) -> Outcome:
    """What became of a task that has ended."""
    own = own_folder(cell, folder)
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        said = lines[-1] if isinstance(error, ray.exceptions.RayTaskError) else " ".join(lines)
        return Outcome(cell=cell, folder=own, error=f"its Ray task failed: {said}")
    limit = time.monotonic() + SEEN_WITHIN
    while not outcome.error and not finished(own):
        if time.monotonic() > limit:
            return Outcome(cell=cell, folder=own, error=(
                f"it has ended, but {own} is not to be seen here: --output_dir must be on a file system that all "
                "machines of the cluster share."
            ))  # fmt: skip
        time.sleep(0.5)
    return outcome


def _cancel(references: Sequence[Any]) -> None:
    """End the tasks, and wait until their cells have ended."""
    print(f"ending {len(references)} cells", file=sys.stderr, flush=True)
    with suppress(ray.exceptions.RayError):
        for reference in references:
            ray.cancel(reference)
        ray.wait(list(references), num_returns=len(references), timeout=ENDED_WITHIN)
