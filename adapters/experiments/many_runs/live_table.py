"""an experiment while it runs: a table that fills as runs end, a progress bar, and the time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from adapters.core.files import read_json
from adapters.core.progress import say, time_left
from adapters.evaluation.report.tables import points
from adapters.experiments.many_runs.planned_run import PlannedRun, RunOutcome, finished, row_keys, run_folder


class LiveTable:
    """Shows the runs on stderr; plain lines where there is no terminal. Used as a context manager."""

    def __init__(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Args:
        runs: all of them, in order.
        folder: of the experiment.
        """
        self.runs = runs
        self.waiting = [run for run in runs if not finished(run_folder(run, folder))]
        self.outcomes: list[RunOutcome] = []
        self.running: dict[str, str] = {}
        console = Console(stderr=True)
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)
        self.row = self.bar.add_task("runs", total=len(runs))

    def __enter__(self) -> LiveTable:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def begin(self, run: PlannedRun) -> None:
        """Show that a run begins; several may run at once."""
        self.running[run.name] = time.strftime("%H:%M")
        self._draw()

    def end(self, outcome: RunOutcome) -> None:
        """Show that a run has ended, or was finished already."""
        self.outcomes.append(outcome)
        self.running.pop(outcome.run.name, None)
        self.bar.update(self.row, completed=len(self.outcomes), description=f"runs{self._left()}")
        if self.live:
            self._draw()
        else:
            number = f"[{len(self.outcomes)}/{len(self.runs)}]"
            result = "failed: " + outcome.error.splitlines()[-1] if outcome.error else _score(outcome)
            say(f"{number} {outcome.run.name}: {result} ({outcome.seconds:.0f} s){self._left()}")

    def _left(self) -> str:
        """The time left: of a run the mean of its row so far, else of all, shared by those that run at once."""
        ended = {outcome.run.name for outcome in self.outcomes}
        ahead = [run for run in self.waiting if run.name not in ended]
        took: dict[Any, list[float]] = {}
        for outcome in self.outcomes:
            if outcome.seconds > 1:
                took.setdefault(outcome.run.row, []).append(outcome.seconds)
        if not ahead or not took:
            return ""
        usual = mean(seconds for each in took.values() for seconds in each)
        seconds = sum(mean(took.get(run.row, [usual])) for run in ahead) / (len(self.running) + 1)
        return f", about {time_left(seconds)}"

    def _draw(self) -> None:
        if not self.live:
            return
        table = Table("method", "base", "train", "score of each seed", "", box=None, pad_edge=False)
        for key in row_keys(self.runs):
            own = [outcome for outcome in self.outcomes if outcome.run.row == key]
            begun = [self.running[run.name] for run in self.runs if run.row == key and run.name in self.running]
            runs = "  ".join("failed" if outcome.error else _score(outcome) for outcome in own)
            running = f"running since {begun[0]}" if begun else ""
            table.add_row(key[0], Path(key[1]).name, key[2], runs, running)
        self.live.update(Group(table, self.bar), refresh=True)


def _score(outcome: RunOutcome) -> str:
    """The main score of a finished run."""
    return points(read_json(outcome.folder / "scores.json")["main"]["value"])
