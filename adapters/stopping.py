"""Ctrl-C and SIGTERM that wait for the end of a training step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """While its block runs, the first signal is noted; the second ends the process as signals did before."""

    def __init__(self) -> None:
        """No signal has come."""
        self.number = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        """Take the signals, where Python lets this thread; a signal that is ignored stays so."""
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            signal.signal(number, self.before[number])
            signal.raise_signal(number)
        self.number = number


def stop(number: int) -> None:
    """End as the signal would have: Ctrl-C with KeyboardInterrupt, SIGTERM with code 143."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
