"""Whose turn it is among threads that wait for room: theirs who began to wait first."""

from __future__ import annotations

import threading


class Turns:
    """A queue behind a condition, whose lock whoever calls a method holds."""

    def __init__(self, changed: threading.Condition) -> None:
        """Args: changed: notified when there may be room."""
        self.changed = changed
        self.waiting: list[object] = []
        self.mine = threading.local()

    def has(self, ticket: object) -> bool:
        """Whether nobody waits in front. Who holds a lease goes in front: those who wait may be waiting for it."""
        return not self.waiting or self.waiting[0] is ticket or getattr(self.mine, "leases", 0) > 0

    def wait(self, ticket: object) -> None:
        """Wait for something to change, in the order in which waiting began."""
        if ticket not in self.waiting:
            self.waiting.append(ticket)
        self.changed.wait()

    def leave(self, ticket: object) -> None:
        """Wait no longer."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)
            self.changed.notify_all()

    def count(self, leases: int) -> None:
        """This thread holds so many more leases, or fewer."""
        self.mine.leases = getattr(self.mine, "leases", 0) + leases
