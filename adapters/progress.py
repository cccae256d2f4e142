"""One progress bar on the main process; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Progress through a number of steps, on stderr. Used as a context manager."""

    def __init__(self, title: str, total: int, *, shown: bool, done: int = 0) -> None:
        """Args:
        title: what goes on.
        total: steps in all.
        shown: False on every process but the main one.
        done: steps that an earlier process has made.
        """
        self.title, self.total, self.shown = title, total, shown
        self.done, self.said, self.begun = done, time.monotonic(), time.monotonic()
        self.first = done
        console = Console(stderr=True)
        self.live = shown and console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not self.live)
        self.row = self.bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Bar:
        """Begin."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with or without an error."""
        self.bar.stop()

    def step(self, note: str) -> None:
        """One step done; `note` says how it went. Without a terminal a line is printed every fifteen seconds."""
        self.done += 1
        self.bar.update(self.row, advance=1, note=note)
        if self.shown and not self.live and time.monotonic() - self.said > 15:
            self.said = time.monotonic()
            left = (self.said - self.begun) / (self.done - self.first) * (self.total - self.done)
            print(f"{self.title} {self.done}/{self.total} {note}, {left:.0f} s left", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        if self.live:
            self.bar.console.print(line, highlight=False)
        elif self.shown:
            print(line, file=sys.stderr, flush=True)
