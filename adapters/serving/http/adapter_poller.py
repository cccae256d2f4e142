"""Adapters, and a router, whose link or `current.json` has moved are reloaded while the server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.core.errors import UnknownAdapterError, UserError

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank


ROUTER = "the router"  # which is no adapter's name


class AdapterPoller:
    """Polls in a thread of its own. A version that cannot be loaded leaves the old one in place."""

    def __init__(self, seconds: float, changed: Callable[[], None]) -> None:
        """Args:
        seconds: polling interval; 0 disables polling.
        changed: called after a new version was loaded.
        """
        self.seconds, self.changed = seconds, changed
        self.log = logging.getLogger("adapters.serving")
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.failures: dict[str, str] = {}  # by adapter, and of the router: the failure that was last logged

    def start(self, bank: ServedBank) -> None:
        """Start polling a bank's adapters."""
        if self.seconds:
            self.thread = threading.Thread(target=self._work, args=(bank,), name="adapter poller", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """End the thread. Blocks while it loads."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join()

    def _work(self, bank: ServedBank) -> None:
        while not self.stop.wait(self.seconds):
            try:
                self.poll(bank)
            except Exception:  # the next poll may succeed
                self.log.exception("the folders of the adapters could not be polled")

    def poll(self, bank: ServedBank) -> None:
        """Reload what has moved. A failure is logged once, and tried again at the next poll.

        The router comes last: it may route to a new version's adapters.
        """
        for name in bank.moved():
            try:
                info = bank.reload(name)
            except UnknownAdapterError:  # unloaded meanwhile
                continue
            except UserError as error:
                self._failed(name, error)
                continue
            self.failures.pop(name, None)
            self.changed()
            self.log.info("%s: version %d, from %s", name, info["version"], info["folder"])
        try:
            router = bank.follow_router()
        except UserError as error:
            self._failed(ROUTER, error)
            return
        self.failures.pop(ROUTER, None)
        if router is not None:
            self.log.info("%s: from %s", ROUTER, router["folder"])

    def _failed(self, name: str, error: UserError) -> None:
        if self.failures.get(name) != str(error):
            self.failures[name] = str(error)
            self.log.error("%s stays as it is: its new version cannot be loaded: %s", name, error)
