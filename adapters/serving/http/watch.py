"""Adapters whose link or `current.json` has moved are reloaded while the server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.core.errors import UnknownAdapterError, UserError

if TYPE_CHECKING:
    from adapters.serving.bank.bank import AdapterBank


class Watch:
    """Looks every few seconds, in a thread of its own. What cannot be loaded leaves the old version in place."""

    def __init__(self, seconds: float, changed: Callable[[], None]) -> None:
        """Args:
        seconds: between two looks; 0 never looks.
        changed: called after a new version was loaded.
        """
        self.seconds, self.changed = seconds, changed
        self.log = logging.getLogger("adapters.serving")
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.said: dict[str, str] = {}  # by adapter: the failure that was last logged

    def start(self, bank: AdapterBank) -> None:
        """Begin to look at a bank's adapters."""
        if self.seconds:
            self.thread = threading.Thread(target=self._work, args=(bank,), name="watch", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """End the thread. Blocks while it loads."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join()

    def _work(self, bank: AdapterBank) -> None:
        while not self.stop.wait(self.seconds):
            try:
                self.look(bank)
            except Exception:  # the next look may succeed
                self.log.exception("the folders of the adapters could not be watched")

    def look(self, bank: AdapterBank) -> None:
        """Reload the adapters that have moved. A failure is logged once, and tried again at the next look."""
        for name in bank.moved():
            try:
                info = bank.reload(name)
            except UnknownAdapterError:  # unloaded meanwhile
                continue
            except UserError as error:
                if self.said.get(name) != str(error):
                    self.said[name] = str(error)
                    self.log.error("%s stays as it is: its new version cannot be loaded: %s", name, error)
                continue
            self.said.pop(name, None)
            self.changed()
            self.log.info("%s: version %d, from %s", name, info["version"], info["folder"])
