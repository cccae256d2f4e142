"""Which adapters of a bank are known, which are held in memory, and who is using them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence

from adapters.errors import BankError, UnknownAdapterError, UserError, did_you_mean
from adapters.mixed import MixedBody
from adapters.mixed_inference import Placed
from adapters.staging import Adapter, Source, Staged, read_again
from adapters.turns import Turns

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Residency:
    """Names, slots and leases under one lock; adapters are read without it."""

    def __init__(
        self, mixed: MixedBody, read: Callable[[Source], Staged], *, capacity: int, max_bytes: int | None
    ) -> None:
        """Args:
        mixed: holds the tensors.
        read: verifies an adapter and makes it ready.
        capacity: adapters held at a time.
        max_bytes: of their tensors; None sets no bound.
        """
        self.mixed, self.read = mixed, read
        self.capacity, self.max_bytes = capacity, max_bytes
        self.changed = threading.Condition(threading.RLock())
        self.known: dict[str, Adapter] = {}
        self.aliases: dict[str, str] = {}
        self.holding: set[Adapter] = set()
        self.free = list(range(capacity, 0, -1))
        self.clock = 0
        self.turns = Turns(self.changed)
        self.evictions = 0

    # names ------------------------------------------------------------------------------------------------------------

    def check_free(self, name: str) -> None:
        """Raises BankError unless an adapter may take the name."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BankError(f"{str(name)[:80]!r} is no name for an adapter: it must match {NAME.pattern}.")
        with self.changed:
            if name in self.known or name in self.aliases:
                raise BankError(f"{name} is loaded already. Unload it, reload it, or choose another name.")

    def find(self, name: str) -> Adapter:
        """The current generation of an adapter, by name or alias. Raises BankError."""
        with self.changed:
            found = self.known.get(self.aliases.get(name, name)) if isinstance(name, str) else None
            if found is None:
                near = did_you_mean(str(name)[:80], [*self.known, *self.aliases])
                raise UnknownAdapterError(f"No adapter is called {str(name)[:80]!r}: {near}")
            return found

    def all(self) -> list[Adapter]:
        """Current generations, by name."""
        with self.changed:
            return [self.known[name] for name in sorted(self.known)]

    def alias(self, alias: str, name: str) -> None:
        """Point an alias at an adapter."""
        with self.changed:
            adapter = self.find(name)
            if not isinstance(alias, str) or alias in self.known or alias not in self.aliases:
                self.check_free(alias)
            if alias in self.aliases:
                self.known[self.aliases[alias]].aliases.discard(alias)
            self.aliases[alias] = adapter.name
            adapter.aliases.add(alias)

    def pin(self, name: str, pinned: bool) -> None:
        """Set whether an adapter may be evicted."""
        with self.changed:
            self.find(name).pinned = pinned
            self.changed.notify_all()

    # coming and going -------------------------------------------------------------------------------------------------

    def add(self, name: str, source: Source, staged: Staged, *, pin: bool) -> Adapter:
        """Take in a staged adapter under a new name."""
        with self.changed:
            self.check_free(name)
            adapter = self._of(name, 1, source, staged)
            adapter.pinned = pin
            self._hold(adapter, staged)
            if name in self.known or name in self.aliases:  # while this one waited for room
                self._retire(adapter)
                self.check_free(name)
            self.known[name] = adapter
            return adapter

    def replace(self, name: str, source: Source, staged: Staged) -> Adapter:
        """Put a new generation in an adapter's place."""
        with self.changed:
            self.mixed.check(staged.change)
            there = self.find(name)
            if not there.users:  # it makes room itself; were the new one not to fit, it comes back when it is asked for
                self._drop(there)
            adapter = self._of(name, 0, source, staged)
            self._hold(adapter, staged)
            before = self.known.get(name)
            if before is None:  # removed while this one waited for room
                self._retire(adapter)
                self.find(name)
            assert before is not None
            adapter.generation, adapter.pinned, adapter.aliases = before.generation + 1, before.pinned, before.aliases
            self._retire(before)
            self.known[name] = adapter
            return adapter

    def remove(self, name: str) -> None:
        """Forget an adapter and its aliases."""
        with self.changed:
            adapter = self.find(name)
            del self.known[adapter.name]
            for alias in adapter.aliases:
                del self.aliases[alias]
            self._retire(adapter)

    @staticmethod
    def _of(name: str, generation: int, source: Source, staged: Staged) -> Adapter:
        return Adapter(name=name, generation=generation, source=source, card=dict(staged.card), digest=staged.digest,
                       nbytes=staged.nbytes)  # fmt: skip

    def _hold(self, adapter: Adapter, staged: Staged) -> None:
        """Give an adapter a slot, and it its tensors, once there is room. Raises BankError if there is never any."""
        self.mixed.check(staged.change)
        ticket = object()
        try:
            while not (self.turns.has(ticket) and self._make_room([adapter], keep=set())):
                self.turns.wait(ticket)
        finally:
            self.turns.leave(ticket)
        self._put(adapter, staged)

    def _put(self, adapter: Adapter, staged: Staged) -> None:
        """Write an adapter's tensors where there is room for them."""
        slot = self.free.pop()
        try:
            self.mixed.put(slot, staged.change)
        except BaseException:
            self.mixed.drop(slot)
            self.free.append(slot)
            raise
        adapter.held = Placed(slot=slot, task=staged.task, budget=staged.budget, head=staged.head)
        adapter.used = self._tick()
        self.holding.add(adapter)

    def _retire(self, adapter: Adapter) -> None:
        adapter.retired = True
        if not adapter.users:
            self._drop(adapter)

    def _drop(self, adapter: Adapter) -> None:
        """Let go of an adapter's tensors. Nobody may be using it."""
        assert not adapter.users, adapter.name
        if adapter.held is not None:
            self.mixed.drop(adapter.held.slot)
            self.free.append(adapter.held.slot)
            adapter.held = None
            self.holding.discard(adapter)
            self.changed.notify_all()

    def _make_room(self, coming: Sequence[Adapter], keep: set[Adapter]) -> bool:
        """Evict the least recently used until some adapters fit, all or none; False where users must go first.

        Raises BankError where they would not fit if all users had gone.
        """
        if self._fits(coming, self.holding):
            return True
        settled = {adapter for adapter in self.holding if adapter in keep or (adapter.pinned and not adapter.retired)}
        if not self._fits(coming, settled):
            bound = "" if self.max_bytes is None else f" and {self.max_bytes:,} bytes"
            raise BankError(
                f"No room for {', '.join(adapter.name for adapter in coming)}: the bank holds {self.capacity} "
                f"adapters{bound}, of which {len(settled)} are pinned or asked for. Unpin some, or give it more room."
            )
        staying = set(self.holding)
        for adapter in sorted(self.holding - settled, key=lambda one: one.used):
            if self._fits(coming, staying):
                break
            if not adapter.users:
                staying.discard(adapter)
        if not self._fits(coming, staying):
            return False
        for adapter in self.holding - staying:
            self._drop(adapter)
            self.evictions += 1
        return True

    def _fits(self, coming: Sequence[Adapter], staying: Iterable[Adapter]) -> bool:
        all_of_them = [*coming, *staying]
        small = self.max_bytes is None or sum(adapter.nbytes for adapter in all_of_them) <= self.max_bytes
        return small and len(all_of_them) <= self.capacity

    # leases -----------------------------------------------------------------------------------------------------------

    def acquire(self, names: Iterable[str]) -> tuple[dict[str, Adapter], dict[str, UserError]]:
        """Pin the current generations of some adapters, all at once, bringing back those that were evicted.

        Those are read without the lock, so that nobody else waits for it.

        Returns:
            The adapters, to be given back by `release`; and what is wrong with those that cannot be had.
        """
        names, ticket = list(names), object()
        read: dict[Adapter, Staged | UserError] = {}
        try:
            while True:
                with self.changed:
                    wanted, refused = self._wanted(names)
                    absent = {adapter for adapter in wanted.values() if adapter.held is None}
                    if absent <= read.keys():
                        if self.turns.has(ticket) and self._fit_in(wanted, refused, read):
                            return self._leased(wanted, refused)
                        self.turns.wait(ticket)
                        continue
                for adapter in absent - read.keys():
                    read[adapter] = read_again(self.read, adapter)
        finally:
            with self.changed:
                self.turns.leave(ticket)

    def _fit_in(
        self, wanted: dict[str, Adapter], refused: dict[str, UserError], read: dict[Adapter, Staged | UserError]
    ) -> bool:
        """Hold what was read, all or nothing, and say in `refused` what cannot be; False where users must go first."""
        found = {adapter: read[adapter] for adapter in wanted.values() if adapter.held is None}
        coming = {adapter: staged for adapter, staged in found.items() if isinstance(staged, Staged)}
        wrong = {adapter: error for adapter, error in found.items() if isinstance(error, UserError)}
        try:
            if not self._make_room([*coming], keep=set(wanted.values())):
                return False
        except BankError as error:
            wrong, coming = {**wrong, **dict.fromkeys(coming, error)}, {}
        for adapter, staged in coming.items():
            self._put(adapter, staged)
        refused.update({name: wrong[adapter] for name, adapter in wanted.items() if adapter in wrong})
        return True

    def _leased(
        self, wanted: dict[str, Adapter], refused: dict[str, UserError]
    ) -> tuple[dict[str, Adapter], dict[str, UserError]]:
        """Count a user more of each that can be had."""
        held = {name: adapter for name, adapter in wanted.items() if name not in refused}
        for adapter in set(held.values()):
            adapter.users += 1
            adapter.used = self._tick()
        self.turns.count(1)
        return held, refused

    def _wanted(self, names: Sequence[str]) -> tuple[dict[str, Adapter], dict[str, UserError]]:
        """The current generation of each, and what is wrong with the names that have none."""
        wanted: dict[str, Adapter] = {}
        refused: dict[str, UserError] = {}
        for name in names:
            try:
                wanted[name] = self.find(name)
            except BankError as error:
                refused[name] = error
        return wanted, refused

    def release(self, adapters: Iterable[Adapter]) -> None:
        """Give back what `acquire` gave."""
        with self.changed:
            self.turns.count(-1)
            for adapter in set(adapters):
                adapter.users -= 1
                if adapter.retired and not adapter.users:
                    self._drop(adapter)
            self.changed.notify_all()

    def waves(self, names: Iterable[str]) -> list[list[str]]:
        """Names in groups that fit together; one group, perhaps of nothing, where all do."""
        groups: list[list[str]] = [[]]
        with self.changed:
            pinned = {adapter for adapter in self.known.values() if adapter.pinned}
            together: set[Adapter] = set()
            unknown: list[list[str]] = []
            for name in dict.fromkeys(names):
                adapter = self.known.get(self.aliases.get(name, name))
                if adapter is None:  # it may be there when it is asked for: then others shall not lack room
                    unknown.append([name])
                    continue
                grown = together | {adapter}
                if together and not self._fits([], grown | pinned):
                    groups.append([])
                    grown = {adapter}
                groups[-1].append(name)
                together = grown
        return groups + unknown

    def _tick(self) -> int:
        self.clock += 1
        return self.clock
