"""An SQLite file in which each transaction is written whole or not at all, and is on disk when it ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapters.core.errors import SessionError

WAIT_SECONDS = 30
"""For another connection's lock."""
DURABLE = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
"""Writes ahead, flushes at each commit, overwrites what is deleted."""


def make_durable(connection: Any, more: Sequence[str] = ()) -> None:
    """Set `DURABLE`, and more pragmas, for a connection to SQLite."""
    cursor = connection.cursor()
    for setting in (*DURABLE, *more):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def empty_log(execute: Callable[[str], Any], path: object) -> None:
    """Write the log ahead into its file and empty it: until then it has what was deleted, also while it is open.

    Args:
        execute: a statement, by the connection, which gives a cursor.
        path: of the file, for the message.

    Raises SessionError where another connection keeps the log from being emptied.
    """
    if execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise SessionError(
            f"{path}: deleted, but its log still has the bytes, as another process reads the file. Delete it again."
        )


class SqliteFile:
    """One file, with the settings of `DURABLE`. One thread at a time uses an object; several objects may use one
    file."""

    schema: ClassVar[str]
    """SQL that makes the tables that are not there."""

    def __init__(self, path: Path) -> None:
        """Raises SessionError if it cannot be opened."""
        self.path = path
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            make_durable(self.connection)
            self.connection.executescript(self.schema)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes of the block, or none. Raises SessionError if they cannot be written."""
        with self._failures():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself (a full disk), or Ctrl-C may have come after the commit.
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """A database's errors as SessionError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SessionError(
                f"{self.path}: could not be read or written ({error}). Nothing of the last batch was kept: free the "
                "disk or mend the file, and start again."
            ) from error

    def _empty_log(self) -> None:
        """Leave no bytes of what was deleted. Raises SessionError."""
        with self._failures():
            empty_log(self.connection.execute, self.path)

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._failures():
            return self.connection.execute(query, values).fetchall()
