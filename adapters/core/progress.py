"""A progress bar on the main process; plain lines without a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters.core.processes import is_first


def say(*lines: str) -> None:
    """Print lines on stderr, on the main process."""
    if is_first():
        for line in lines:
            print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time for people: 0.4 s, 19 s, 3.1 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.95 or not seconds else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(seconds: float) -> str:
    """How long something takes yet: `40 s left`, `7 min left`, `2.5 h left`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h left"


class ProgressBar:
    """Progress through a number of steps, on stderr. Used as a context manager."""

    def __init__(self, title: str, total: int, *, shown: bool, done: int = 0) -> None:
        """Args:
        title: shown before the bar.
        total: number of steps.
        shown: False on all processes except the main one.
        done: steps that were done before a resume.
        """
        self.title, self.total, self.shown = title, total, shown
        self.done, self.printed_at, self.started = done, time.monotonic(), time.monotonic()
        self.first = done
        console = Console(stderr=True)
        self.live = shown and console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not self.live)
        self.row = self.bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> ProgressBar:
        """Start the bar."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        self.bar.stop()

    def step(self, note: str) -> None:
        """Advance by one step, with a note. Without a terminal, a line is printed every fifteen seconds."""
        self.done += 1
        self.bar.update(self.row, advance=1, note=note)
        if self.shown and not self.live and time.monotonic() - self.printed_at > 15:
            self.printed_at = time.monotonic()
            left = (self.printed_at - self.started) / (self.done - self.first) * (self.total - self.done)
            print(f"{self.title} {self.done}/{self.total} {note}, {time_left(left)}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self.live:
            self.bar.console.print(line, highlight=False)
        elif self.shown:
            print(line, file=sys.stderr, flush=True)
