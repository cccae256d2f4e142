"""Where items come from: a file that grows, standard input, or (feeds.py) feeds that are polled."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adapters.applications.news_monitor.items import ItemError
from adapters.applications.news_monitor.monitor import IncomingItem
from adapters.core.errors import DataError

CHUNK = 1 << 16
ACTIVE_SECONDS = 2.0
"""After its last line, in which standard input is taken to have more."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What a source hands over at a time.

    Attributes:
        given: items.
        marks: to keep with them.
        settled: called with what became of each item, when that is on disk, or with the error that kept it from there.
    """

    given: tuple[IncomingItem, ...]
    marks: Mapping[str, Any]
    settled: Callable[[list[str] | Exception], None] | None = None


class GrowingFile:
    """Lines of a file from its read position on; complete ones only, unless the end of the file is final. A file that
    takes its place, as log rotation leaves it, is read from its beginning.

    Attributes:
        behind: whether it has more, as far as is known.
    """

    def __init__(self, path: Path, mark: Mapping[str, Any] | None, longest: int) -> None:
        """Args: path: of the file; mark: what `arrival` gave last; longest: bytes of a line.

        Raises DataError where there is no such file.
        """
        self.path, self.longest, self.behind = path, longest, True
        self.name = f"read {path.absolute()}"
        self.offset, self.line, self.inode = (int((mark or {}).get(key, 0)) for key in ("offset", "line", "inode"))
        try:
            self.stream: IO[bytes] = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). Name a file of items.") from error
        known = os.fstat(self.stream.fileno())
        if self.inode not in (0, known.st_ino) or known.st_size < self.offset:
            self.offset = self.line = 0  # another file under the name, as log rotation leaves it
        self.inode = known.st_ino
        self.stream.seek(self.offset)

    def arrival(self, most: int, *, last: bool = False) -> Arrival:
        """At most `most` next lines, and of a file whose place was taken, all. Args: last: nothing more is written, so
        that a line may lack its end."""
        found = self._lines(most, last=last)
        self.behind = len(found) == most
        mark = self._mark()
        if not self.behind and not last and (following := self._following()) is not None:
            # First to the end of the former one, to which something may have been added until now.
            while rest := self._lines(most, last=True):
                found += rest
            mark, self.behind = self._mark(), True
            former, self.stream = self.stream, following
            former.close()
            self.offset, self.line, self.inode = 0, 0, os.fstat(following.fileno()).st_ino
            if not found:
                return self.arrival(most)
        return Arrival(given=tuple(found), marks={self.name: mark} if found else {})

    def _mark(self) -> dict[str, int]:
        return {"offset": self.offset, "line": self.line, "inode": self.inode}

    def _following(self) -> IO[bytes] | None:
        """The file that is now under the name, or has been emptied, if another one is written to; else None.

        An empty one is left until it has something: after a rename, the former one is often written to for a while.
        """
        try:
            there = os.stat(self.path)
            same = there.st_ino == self.inode
            return self.path.open("rb") if (there.st_size < self.offset if same else there.st_size > 0) else None
        except OSError:  # between the rename and the new file
            return None

    def _lines(self, most: int, *, last: bool) -> list[IncomingItem]:
        """At most `most` next lines of the file that is open."""
        found: list[IncomingItem] = []
        while len(found) < most:
            line = self.stream.readline(self.longest + 1)
            if not line or (not line.endswith(b"\n") and len(line) <= self.longest and not last):
                self.stream.seek(self.offset)
                break
            whole = self._skipped() if len(line) > self.longest and not line.endswith(b"\n") else True
            if not whole and not last:
                self.stream.seek(self.offset)
                break
            self.offset, self.line = self.stream.tell(), self.line + 1
            if line.strip():
                item = ItemError(f"longer than {self.longest:,} bytes") if len(line) > self.longest else line
                found.append(IncomingItem(where=f"{self.path}:{self.line}", item=item, input=self.name))
        return found

    def _skipped(self) -> bool:
        """Read on to the end of a line that is too long, in parts; returns whether it has one."""
        while part := self.stream.readline(CHUNK):
            if part.endswith(b"\n"):
                return True
        return False

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class Pipe(threading.Thread):
    """Lines of standard input, put into a queue."""

    def __init__(self, stream: IO[bytes], longest: int, into: queue.Queue[Arrival]) -> None:
        """Args: stream: of bytes; longest: bytes of a line; into: takes the lines."""
        super().__init__(daemon=True, name="standard input")
        self.stream, self.longest, self.into = stream, longest, into
        self.given = self.taken = 0
        self.active = time.monotonic()

    @property
    def behind(self) -> bool:
        """Whether it may have more: lines wait, or one came just now."""
        return self.taken < self.given or (self.is_alive() and time.monotonic() - self.active < ACTIVE_SECONDS)

    def _settled(self, _: list[str] | Exception) -> None:
        self.taken += 1

    def run(self) -> None:
        """Read until the stream ends."""
        number = 0
        while line := self.stream.readline(self.longest + 1):
            number += 1
            self.active = time.monotonic()
            item: bytes | ItemError = line
            if len(line) > self.longest:
                item = ItemError(f"longer than {self.longest:,} bytes")
                while not line.endswith(b"\n") and (line := self.stream.readline(CHUNK)):
                    pass
            if isinstance(item, ItemError) or item.strip():
                self.given += 1
                given = IncomingItem(where=f"{self.name}:{number}", item=item, input=self.name)
                self.into.put(Arrival(given=(given,), marks={}, settled=self._settled))


def drained(waiting: queue.Queue[Arrival], most: int, seconds: float) -> list[Arrival]:
    """The arrivals in a queue, up to `most` items; waits up to `seconds` for the first."""
    found: list[Arrival] = []
    try:
        while sum(len(one.given) for one in found) < most:
            found.append(waiting.get(timeout=seconds) if not found else waiting.get_nowait())
    except queue.Empty:
        pass
    return found
