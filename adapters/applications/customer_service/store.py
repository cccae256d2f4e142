"""Sessions and their turns, in SQLite or any database of SQLAlchemy: what is acknowledged stays, whatever ends.

SQLite writes ahead (WAL) and flushes at each commit. A session is read by its owner alone: to anybody else it does not
exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.applications.customer_service.conversation import Session, sound
from adapters.core.errors import SessionError

WAIT_SECONDS = 30
LONGEST_NAME = 200
"""Characters of a session's id and of an owner."""


class Store:
    """Sessions of a database. Several threads may use it, and several processes one file."""

    def __init__(self, url: str) -> None:
        """Args: url: of SQLAlchemy (`sqlite:///sessions.db`), or the path of an SQLite file.

        Raises SessionError if it cannot be opened.
        """
        import sqlalchemy as sql

        self.url = url if "://" in url else f"sqlite:///{Path(url).absolute()}"
        meta = sql.MetaData()
        name = sql.String(LONGEST_NAME)
        self.sessions = sql.Table(
            "sessions",
            meta,
            sql.Column("id", name, primary_key=True),
            sql.Column("owner", name, nullable=False, index=True),
            sql.Column("updated", sql.Float, nullable=False),
            sql.Column("state", sql.Text, nullable=False),
        )
        self.turns = sql.Table(
            "turns",
            meta,
            sql.Column("session", name, sql.ForeignKey("sessions.id"), primary_key=True),
            sql.Column("number", sql.Integer, primary_key=True),
            sql.Column("at", sql.Float, nullable=False),
            sql.Column("asked", sql.Text, nullable=False),
            sql.Column("outcome", sql.Text, nullable=False),
        )
        with self._failures():
            own = {"connect_args": {"timeout": WAIT_SECONDS}} if self.url.startswith("sqlite") else {}
            self.engine = sql.create_engine(self.url, **own)
            if self.engine.dialect.name == "sqlite":  # its own settings, for each connection
                sql.event.listen(self.engine, "connect", _durable)
            meta.create_all(self.engine)

    def open(self, id: str, owner: str) -> Session:
        """The session of that id; a new one if there is none.

        Raises:
            SessionError: it is another owner's (it is not said that there is one), or a name is too long.
        """
        if not (0 < len(id) <= LONGEST_NAME and 0 < len(owner) <= LONGEST_NAME):
            raise SessionError(f"A session's id and its owner have 1 to {LONGEST_NAME} characters.")
        with self._failures(), self.engine.connect() as connection:
            found = connection.execute(self.sessions.select().where(self.sessions.c.id == id)).first()
        if found is None:
            return Session(id=id, owner=owner)
        if found.owner != owner:
            raise SessionError(f"There is no session {id!r} of yours. Begin one with another id.")
        return Session.of_record(json.loads(found.state))

    def add(self, session: Session, asked: str, outcome: Mapping[str, Any]) -> None:
        """Write a turn and the state after it, both or neither. When it returns, they are on disk.

        Args:
            session: after the turn, its last one.
            asked: what the customer wrote; `sound` of it is kept.
            outcome: what was answered, as JSON.

        Raises:
            SessionError: it could not be written (a full disk), or another turn of this number was.
        """
        state = {"owner": session.owner, "updated": session.updated, "state": json.dumps(session.record())}
        turn = {"session": session.id, "number": session.turns, "at": session.updated}
        with self._failures(), self.engine.begin() as connection:
            own = (self.sessions.c.id == session.id) & (self.sessions.c.owner == session.owner)
            changed = connection.execute(self.sessions.update().where(own).values(**state))
            if not changed.rowcount:
                connection.execute(self.sessions.insert().values(id=session.id, **state))
            told = {"asked": sound(asked), "outcome": json.dumps(outcome, ensure_ascii=False)}
            connection.execute(self.turns.insert().values(**turn, **told))

    def history(self, id: str, owner: str) -> list[dict[str, Any]]:
        """The turns of a session in order: number, at, asked, outcome. Raises SessionError, as `open`."""
        self.open(id, owner)
        chosen = self.turns.select().where(self.turns.c.session == id).order_by(self.turns.c.number)
        with self._failures(), self.engine.connect() as connection:
            rows = connection.execute(chosen).all()
        return [
            {"number": row.number, "at": row.at, "asked": row.asked, "outcome": json.loads(row.outcome)} for row in rows
        ]

    def forget(self, owner: str) -> int:
        """Delete all sessions of an owner with their turns; returns how many sessions there were."""
        import sqlalchemy as sql

        own = sql.select(self.sessions.c.id).where(self.sessions.c.owner == owner)
        with self._failures(), self.engine.begin() as connection:
            connection.execute(self.turns.delete().where(self.turns.c.session.in_(own)))
            return int(connection.execute(self.sessions.delete().where(self.sessions.c.owner == owner)).rowcount)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """A database's errors as SessionError. Nothing was written then."""
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        try:
            yield
        except IntegrityError as error:
            raise SessionError(
                "Another message of this session was answered at the same time. Send it again."
            ) from error
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error)[:200]
            raise SessionError(
                f"{self.url.partition('@')[2] or self.url}: the session could not be read or written ({why}). Nothing "
                "of this message was kept: free the disk or mend the database, and send it again."
            ) from error


def _durable(connection: Any, record: object) -> None:
    """SQLite's settings of a new connection."""
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()
