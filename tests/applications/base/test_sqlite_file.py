"""A file of an application: whole transactions, and errors and interruptions that say what they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapters.applications.base.sqlite_file import SqliteFile
from adapters.core.errors import SessionError


class Numbers(SqliteFile):
    schema = "CREATE TABLE IF NOT EXISTS numbers (n INTEGER UNIQUE)"

    def add(self, n: int) -> None:
        self.connection.execute("INSERT INTO numbers VALUES (?)", [n])

    def all(self) -> list[int]:
        return [n for (n,) in self._rows("SELECT n FROM numbers ORDER BY n")]


@pytest.fixture
def numbers(tmp_path: Path) -> Numbers:
    return Numbers(tmp_path / "numbers.db")


def test_what_a_block_raises_undoes_it(numbers: Numbers) -> None:
    with pytest.raises(KeyError), numbers.transaction():
        numbers.add(1)
        raise KeyError
    with pytest.raises(SessionError, match="UNIQUE"), numbers.transaction():
        numbers.add(2)
        numbers.add(2)
    assert numbers.all() == []


class InterruptedCommit:
    """A connection whose COMMIT is done when Ctrl-C arrives."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def execute(self, query: str, *values: object) -> sqlite3.Cursor:
        cursor = self.real.execute(query, *values)
        if query == "COMMIT":
            raise KeyboardInterrupt
        return cursor


def test_an_interruption_after_the_commit_is_one_and_loses_nothing(numbers: Numbers) -> None:
    real = numbers.connection
    numbers.connection = InterruptedCommit(real)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt), numbers.transaction():
        numbers.add(1)
    numbers.connection = real
    with numbers.transaction():
        numbers.add(2)
    assert numbers.all() == [1, 2]


def test_an_error_at_which_sqlite_rolls_back_itself_is_the_one_that_is_told(numbers: Numbers) -> None:
    numbers.connection.execute("PRAGMA max_page_count = 4")
    with pytest.raises(SessionError, match="full"), numbers.transaction():
        for n in range(100_000):
            numbers.add(n)
    assert numbers.all() == []
