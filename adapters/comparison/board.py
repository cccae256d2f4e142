"""A comparison while it runs: a table whose rows fill as their cells end, a bar, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from adapters.comparison.cells import Cell, Outcome, finished, own_folder, read_json, rows
from adapters.comparison.verdict import points


class Board:
    """Shows the cells on stderr; plain lines where there is no terminal. Used as a context manager."""

    def __init__(self, cells: Sequence[Cell], folder: Path) -> None:
        """Args:
        cells: all of them, in order.
        folder: of the comparison.
        """
        self.cells = cells
        self.waiting = sum(not finished(own_folder(cell, folder)) for cell in cells)
        self.outcomes: list[Outcome] = []
        self.running: dict[str, str] = {}
        console = Console(stderr=True)
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console)
        self.row = self.bar.add_task("cells", total=len(cells))

    def __enter__(self) -> Board:
        """Begin."""
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        if self.live:
            self.live.stop()

    def begin(self, cell: Cell) -> None:
        """A cell begins; of several that run at once, each."""
        self.running[cell.name] = time.strftime("%H:%M")
        self._draw()

    def end(self, outcome: Outcome) -> None:
        """A cell has ended, or was there already."""
        self.outcomes.append(outcome)
        self.running.pop(outcome.cell.name, None)
        self.bar.update(self.row, completed=len(self.outcomes), description=f"cells{self._left()}")
        if self.live:
            self._draw()
        else:
            number = f"[{len(self.outcomes)}/{len(self.cells)}]"
            said = "failed: " + outcome.error.splitlines()[-1] if outcome.error else _score(outcome)
            print(f"{number} {outcome.cell.name}: {said} ({outcome.seconds:.0f} s){self._left()}",
                  file=sys.stderr, flush=True)  # fmt: skip

    def _left(self) -> str:
        """The time left, by the mean of the cells that were run here and by how many run at once."""
        took = [outcome.seconds for outcome in self.outcomes if outcome.seconds > 1]
        ahead, at_once = self.waiting - len(took), len(self.running) + 1
        return f", about {ahead * sum(took) / len(took) / at_once / 60:.0f} min left" if took and ahead > 0 else ""

    def _draw(self) -> None:
        if not self.live:
            return
        table = Table("method", "base", "train", "score of each seed", "", box=None, pad_edge=False)
        for key in rows(self.cells):
            own = [outcome for outcome in self.outcomes if outcome.cell.row == key]
            begun = [self.running[cell.name] for cell in self.cells if cell.row == key and cell.name in self.running]
            cells = "  ".join("failed" if outcome.error else _score(outcome) for outcome in own)
            running = f"running since {begun[0]}" if begun else ""
            table.add_row(key[0], Path(key[1]).name, key[2], cells, running)
        self.live.update(Group(table, self.bar), refresh=True)


def _score(outcome: Outcome) -> str:
    """The main score of a finished cell."""
    return points(read_json(outcome.folder / "scores.json")["main"]["value"])
