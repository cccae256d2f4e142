"""Ctrl-C and SIGTERM during training take effect at the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        for number, handler in self.previous.items():
            signal.signal(number, handler)

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
