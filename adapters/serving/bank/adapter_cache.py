"""The adapters of a bank: which are known, which are in memory (a cache, LRU), and which are in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.core.errors import BankError, UnknownAdapterError, UserError, did_you_mean
from adapters.serving.bank.adapter_loader import (
    AdapterSource,
    FormerVersion,
    LoadedAdapter,
    PreparedAdapter,
    read_unchanged,
)
from adapters.serving.bank.adapter_name import AUTO, fault_of
from adapters.serving.bank.mixed_inference import ResidentAdapter
from adapters.serving.bank.mixed_model import MixedModel
from adapters.serving.bank.wait_queue import WaitQueue

FORMER = 2
"""Versions of an adapter that can be rolled back to."""


@dataclass(frozen=True, kw_only=True)
class BankStats:
    """Counts of a bank.

    Attributes:
        known: adapters that requests may name.
        resident: adapters in memory, replaced versions that are still in use included.
        evictions: adapters evicted since the bank was made.
    """

    known: int
    resident: int
    evictions: int


class AdapterCache:
    """Names, slots and leases under one lock; adapters are read without it."""

    def __init__(
        self,
        mixed: MixedModel,
        read: Callable[[AdapterSource], PreparedAdapter],
        *,
        capacity: int,
        max_bytes: int | None,
    ) -> None:
        """Args:
        mixed: stores the tensors.
        read: verifies an adapter and prepares it.
        capacity: adapters in memory at a time.
        max_bytes: bound on the size of their tensors; None for no bound.
        """
        self.mixed, self.read = mixed, read
        self.capacity, self.max_bytes = capacity, max_bytes
        self.changed = threading.Condition(threading.RLock())
        self.known: dict[str, LoadedAdapter] = {}
        self.aliases: dict[str, str] = {}
        self.resident: set[LoadedAdapter] = set()
        self.free_slots = list(range(capacity + 1, 0, -1))
        """One more than adapters, for the moment in which a version replaces another."""
        self.clock = 0
        self.queue = WaitQueue(self.changed)
        self.evictions = 0

    # names ------------------------------------------------------------------------------------------------------------

    def check_free(self, name: str) -> None:
        """Raises BankError unless a new adapter may have the name."""
        fault = fault_of(name)
        if fault is not None:
            raise BankError(fault)
        with self.changed:
            if name in self.known or name in self.aliases:
                raise BankError(f"{name} is already loaded. Unload it, reload it, or choose another name.")

    def find(self, name: str) -> LoadedAdapter:
        """The current version of an adapter, by name or alias. Raises UnknownAdapterError."""
        with self.changed:
            adapter = self.known.get(self.aliases.get(name, name)) if isinstance(name, str) else None
            if adapter is None and name == AUTO:
                raise UnknownAdapterError(f"{AUTO!r} is chosen by the router for predictions only. Name an adapter.")
            if adapter is None:
                near = did_you_mean(str(name)[:80], [*self.known, *self.aliases])
                raise UnknownAdapterError(f"No adapter is called {str(name)[:80]!r}: {near}")
            return adapter

    def all(self) -> list[LoadedAdapter]:
        """Current versions, in the order in which the adapters were loaded."""
        with self.changed:
            return list(self.known.values())

    def stats(self) -> BankStats:
        """Counts, read at one moment."""
        with self.changed:
            return BankStats(known=len(self.known), resident=len(self.resident), evictions=self.evictions)

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

    # adding and removing ----------------------------------------------------------------------------------------------

    def add(self, name: str, source: AdapterSource, prepared: PreparedAdapter, *, pin: bool) -> LoadedAdapter:
        """Add an adapter under a new name."""
        with self.changed:
            self.check_free(name)
            adapter = self._version(name, 1, source, prepared)
            adapter.pinned = pin
            self._insert_when_room(adapter, prepared)
            if name in self.known or name in self.aliases:  # taken while this thread waited for room
                self._retire(adapter)
                self.check_free(name)
            self.known[name] = adapter
            return adapter

    def replace(
        self, name: str, source: AdapterSource, prepared: PreparedAdapter, *, pin: bool | None = None
    ) -> LoadedAdapter:
        """Replace an adapter by a new version.

        Args:
            name: of the adapter.
            source: where the new version is.
            prepared: the new version.
            pin: whether it may be evicted; None keeps that of the old version.
        """
        with self.changed:
            adapter = self._version(name, 0, source, prepared)
            old = self._swap(adapter, prepared)
            adapter.former = (old.as_former(), *old.former)[:FORMER]
            adapter.pinned = old.pinned if pin is None else pin
            return adapter

    def roll_back(
        self, current: LoadedAdapter, former: FormerVersion, prepared: PreparedAdapter, *, followed: Path
    ) -> LoadedAdapter:
        """Replace a version by one of its former ones, under a new number.

        Args:
            current: the version to leave. Raises BankError if it is not the current one any more.
            former: the version to return to.
            prepared: the same, read again.
            followed: what the link or `current.json` of its source names now.
        """
        with self.changed:
            adapter = self._version(current.name, 0, former.source, prepared)
            self._swap(adapter, prepared, leaving=current)
            adapter.former = current.former[current.former.index(former) + 1 :]
            adapter.followed, adapter.pinned = followed, current.pinned
            return adapter

    def _swap(
        self, adapter: LoadedAdapter, prepared: PreparedAdapter, *, leaving: LoadedAdapter | None = None
    ) -> LoadedAdapter:
        """Wait for room, then put a version in the place of the current one, which is returned.

        Raises UnknownAdapterError where there is none; BankError where it is not the one to leave, if that is given.
        """
        self._replaceable(adapter.name, leaving)
        self._insert_when_room(adapter, prepared)
        try:
            old = self._replaceable(adapter.name, leaving)  # another thread may have changed it meanwhile
        except BankError:
            self._retire(adapter)
            raise
        adapter.version, adapter.aliases = old.version + 1, old.aliases
        self._retire(old)
        self.known[adapter.name] = adapter
        return old

    def _replaceable(self, name: str, leaving: LoadedAdapter | None) -> LoadedAdapter:
        """The current version of an adapter. Raises what `_swap` raises."""
        current = self.known.get(name)
        if current is None:
            raise UnknownAdapterError(f"{name} was unloaded at the same time. Load it under its name.")
        if leaving is not None and current is not leaving:
            raise BankError(
                f"{name} is version {current.version} now, as it was loaded at the same time; version "
                f"{leaving.version} was to be rolled back. Nothing has changed."
            )
        return current

    def remove(self, name: str) -> None:
        """Forget an adapter and its aliases."""
        with self.changed:
            adapter = self.find(name)
            del self.known[adapter.name]
            for alias in adapter.aliases:
                del self.aliases[alias]
            self._retire(adapter)

    @staticmethod
    def _version(name: str, version: int, source: AdapterSource, prepared: PreparedAdapter) -> LoadedAdapter:
        return LoadedAdapter(
            name=name,
            version=version,
            source=source,
            folder=prepared.folder,
            followed=prepared.folder,
            card=dict(prepared.card),
            digest=prepared.digest,
            nbytes=prepared.nbytes,
            mixed=prepared.alone is None,
        )

    def _insert_when_room(self, adapter: LoadedAdapter, prepared: PreparedAdapter) -> None:
        """Wait for room, then store an adapter's tensors. Raises BankError if there can never be room.

        A version of the same name that nobody uses takes no room, as it will be freed; but it stays until the new one
        is stored, so that nothing is lost where that fails.
        """
        self.mixed.check(prepared.delta)
        ticket = object()
        try:
            while not (self.queue.is_first(ticket) and self._make_room([adapter], keep=set())):
                self.queue.wait(ticket)
        finally:
            self.queue.leave(ticket)
        self._insert(adapter, prepared)

    def _insert(self, adapter: LoadedAdapter, prepared: PreparedAdapter) -> None:
        """Store an adapter's tensors in a free slot."""
        slot = self.free_slots.pop()
        try:
            self.mixed.put(slot, prepared.delta)
        except BaseException:
            self.mixed.drop(slot)
            self.free_slots.append(slot)
            raise
        adapter.entry = ResidentAdapter(
            slot=slot, task=prepared.task, budget=prepared.budget, head=prepared.head, alone=prepared.alone
        )
        adapter.last_used = self._tick()
        self.resident.add(adapter)

    def _retire(self, adapter: LoadedAdapter) -> None:
        adapter.retired = True
        if not adapter.users:
            self._free(adapter)

    def _free(self, adapter: LoadedAdapter) -> None:
        """Free an adapter's slot and tensors. No batch may be using it."""
        assert not adapter.users, adapter.name
        if adapter.entry is not None:
            self.mixed.drop(adapter.entry.slot)
            self.free_slots.append(adapter.entry.slot)
            adapter.entry = None
            self.resident.discard(adapter)
            self.changed.notify_all()

    def _make_room(self, incoming: Sequence[LoadedAdapter], keep: set[LoadedAdapter]) -> bool:
        """Evict the least recently used adapters until some others fit, all or none.

        Returns:
            False where adapters that are in use must be released first.

        Raises:
            BankError: they would not fit if no adapter were in use.
        """
        replaced = {self.known.get(adapter.name) for adapter in incoming} - {*incoming}
        resident = {adapter for adapter in self.resident if adapter.users or adapter not in replaced}
        if self._fits(incoming, resident):
            return True
        unevictable = {a for a in resident if a in keep or (a.pinned and not a.retired)}
        if not self._fits(incoming, unevictable):
            bound = "" if self.max_bytes is None else f" and {self.max_bytes:,} bytes"
            raise BankError(
                f"No room for {', '.join(adapter.name for adapter in incoming)}: the capacity is {self.capacity} "
                f"adapters{bound}, of which {len(unevictable)} are pinned or requested in the same call. Unpin some, "
                "or raise the capacity."
            )
        remaining = set(resident)
        for adapter in sorted(resident - unevictable, key=lambda one: one.last_used):
            if self._fits(incoming, remaining):
                break
            if not adapter.users:
                remaining.discard(adapter)
        if not self._fits(incoming, remaining):
            return False
        for adapter in resident - remaining:
            self._free(adapter)
            self.evictions += 1
        return True

    def _fits(self, incoming: Sequence[LoadedAdapter], remaining: Iterable[LoadedAdapter]) -> bool:
        together = [*incoming, *remaining]
        within = self.max_bytes is None or sum(adapter.nbytes for adapter in together) <= self.max_bytes
        return within and len(together) <= self.capacity

    # leases -----------------------------------------------------------------------------------------------------------

    def acquire(self, names: Iterable[str]) -> tuple[dict[str, LoadedAdapter], dict[str, UserError]]:
        """Lease the current versions of some adapters, all at once, reading again those that were evicted.

        They are read without the lock, so that no other thread waits for it.

        Returns:
            The adapters, to be given back to `release`; and an error for each that cannot be used.
        """
        names, ticket = list(names), object()
        read: dict[LoadedAdapter, PreparedAdapter | UserError] = {}
        try:
            while True:
                with self.changed:
                    wanted, errors = self._resolve(names)
                    absent = {adapter for adapter in wanted.values() if adapter.entry is None}
                    if absent <= read.keys():
                        if self.queue.is_first(ticket) and self._insert_read(wanted, errors, read):
                            return self._lease(wanted, errors)
                        self.queue.wait(ticket)
                        continue
                for adapter in absent - read.keys():
                    read[adapter] = self._read_again(adapter)
        finally:
            with self.changed:
                self.queue.leave(ticket)

    def _read_again(self, adapter: LoadedAdapter) -> PreparedAdapter | UserError:
        """An evicted adapter, or why it cannot be used."""
        try:
            return read_unchanged(self.read, adapter, adapter.name, f"Reload {adapter.name} to use the new content.")
        except UserError as error:
            return error

    def acquire_resident(self, name: str) -> LoadedAdapter | None:
        """Lease the current version of an adapter without waiting, to be given back to `release`.

        None where it is not in memory, or where other threads wait for room, which leases must not keep from them.
        Raises UnknownAdapterError.
        """
        with self.changed:
            adapter = self.find(name)
            if adapter.entry is None or self.queue.tickets:
                return None
            return self._lease({name: adapter}, {})[0][name]

    @property
    def crowded(self) -> bool:
        """Whether threads wait for room."""
        with self.changed:
            return bool(self.queue.tickets)

    def _insert_read(
        self,
        wanted: dict[str, LoadedAdapter],
        errors: dict[str, UserError],
        read: dict[LoadedAdapter, PreparedAdapter | UserError],
    ) -> bool:
        """Store the adapters that were read, all or none, adding to `errors`; False where others must leave first."""
        absent = {adapter: read[adapter] for adapter in wanted.values() if adapter.entry is None}
        if not absent:
            return True
        incoming = {adapter: prepared for adapter, prepared in absent.items() if isinstance(prepared, PreparedAdapter)}
        failed = {adapter: error for adapter, error in absent.items() if isinstance(error, UserError)}
        try:
            if not self._make_room([*incoming], keep=set(wanted.values())):
                return False
        except BankError as error:
            failed, incoming = {**failed, **dict.fromkeys(incoming, error)}, {}
        for adapter, prepared in incoming.items():
            self._insert(adapter, prepared)
        errors.update({name: failed[adapter] for name, adapter in wanted.items() if adapter in failed})
        return True

    def _lease(
        self, wanted: dict[str, LoadedAdapter], errors: dict[str, UserError]
    ) -> tuple[dict[str, LoadedAdapter], dict[str, UserError]]:
        """Count one more user of each adapter that can be used."""
        leased = {name: adapter for name, adapter in wanted.items() if name not in errors}
        for adapter in set(leased.values()):
            adapter.users += 1
            adapter.last_used = self._tick()
        self.queue.count_leases(1)
        return leased, errors

    def _resolve(self, names: Sequence[str]) -> tuple[dict[str, LoadedAdapter], dict[str, UserError]]:
        """The current version of each adapter, and an error for each unknown name."""
        wanted: dict[str, LoadedAdapter] = {}
        errors: dict[str, UserError] = {}
        for name in names:
            try:
                wanted[name] = self.find(name)
            except BankError as error:
                errors[name] = error
        return wanted, errors

    def release(self, adapters: Iterable[LoadedAdapter]) -> None:
        """End a lease that `acquire` gave."""
        with self.changed:
            self.queue.count_leases(-1)
            for adapter in set(adapters):
                adapter.users -= 1
                if adapter.retired and not adapter.users:
                    self._free(adapter)
            self.changed.notify_all()

    def groups(self, names: Mapping[int, str | None]) -> list[tuple[list[int], list[str]]]:
        """Requests in groups whose adapters fit into memory together: one group, perhaps empty, where all do.

        Args:
            names: by a request's number, its adapter's name; None for the base alone, which is in the first group.

        Returns:
            Of each group the numbers of the requests, in their order, and the names of their adapters.
        """
        groups: list[list[str]] = [[]]
        with self.changed:
            pinned = {adapter for adapter in self.known.values() if adapter.pinned}
            together: set[LoadedAdapter] = set()
            unknown: list[list[str]] = []
            for name in dict.fromkeys(name for name in names.values() if name is not None):
                adapter = self.known.get(self.aliases.get(name, name))
                if adapter is None:  # it may be loaded by the time of its lease: the others must not lack room then
                    unknown.append([name])
                    continue
                grown = together | {adapter}
                if together and not self._fits([], grown | pinned):
                    groups.append([])
                    grown = {adapter}
                groups[-1].append(name)
                together = grown
        groups += unknown
        place: dict[str | None, int] = {name: index for index, group in enumerate(groups) for name in group}
        numbers: list[list[int]] = [[] for _ in groups]
        for number, asked in names.items():
            numbers[place.get(asked, 0)].append(number)
        return list(zip(numbers, groups, strict=True))

    def _tick(self) -> int:
        self.clock += 1
        return self.clock
