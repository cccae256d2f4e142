"""Ctrl-C and SIGTERM: as exceptions, or held back while a block must not be left."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_on_sigterm() -> None:
    """Let SIGTERM raise SystemExit (code 143), so that partial files and child processes are cleaned up."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class SignalGuard:
    """While its block runs, the first signal is recorded; a second one is handled as before the block."""

    def __init__(self) -> None:
        self.number = 0
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> SignalGuard:
        """Install the handlers, if this is the main thread; ignored signals remain ignored."""
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self.previous = {number: signal.signal(number, self._record) for number in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous handlers."""
        while self.previous:
            signal.signal(*self.previous.popitem())

    def release(self) -> None:
        """End the guard before its block ends: a recorded signal is now handled as before the block."""
        self.__exit__(None, None, None)
        if self.number:
            signal.raise_signal(self.number)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            signal.signal(number, self.previous[number])
            signal.raise_signal(number)
        self.number = number


def end_by_signal(number: int) -> None:
    """End the process as the signal would have: SIGINT by KeyboardInterrupt, SIGTERM with exit code 143."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
