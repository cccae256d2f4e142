"""The order in which threads that wait for room in the cache get it: first come, first served."""

from __future__ import annotations

import threading


class WaitQueue:
    """A first-in-first-out queue on a condition; callers of its methods hold the condition's lock."""

    def __init__(self, changed: threading.Condition) -> None:
        """Args: changed: notified when there may be room."""
        self.changed = changed
        self.tickets: list[object] = []
        self.thread = threading.local()

    def is_first(self, ticket: object) -> bool:
        """Whether no other thread goes first. One with a lease goes first: others may be waiting for that lease."""
        return not self.tickets or self.tickets[0] is ticket or getattr(self.thread, "leases", 0) > 0

    def wait(self, ticket: object) -> None:
        """Wait until something changes; the place in the queue is that of the first call."""
        if ticket not in self.tickets:
            self.tickets.append(ticket)
        self.changed.wait()

    def leave(self, ticket: object) -> None:
        """Stop waiting."""
        if ticket in self.tickets:
            self.tickets.remove(ticket)
            self.changed.notify_all()

    def count_leases(self, difference: int) -> None:
        """Add to the number of leases that this thread has."""
        self.thread.leases = getattr(self.thread, "leases", 0) + difference
