"""Sessions, their turns, and the inbox of what was handed over, in SQLite or any database of SQLAlchemy.

What is acknowledged stays, whatever ends: SQLite writes ahead (WAL) and flushes at each commit. A session is read by
its owner alone: to anybody else it does not exist. What is forgotten is overwritten, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.applications.base.sqlite_file import WAIT_SECONDS, empty_log, make_durable
from adapters.applications.customer_service.conversation import Session, sound
from adapters.applications.customer_service.policy import HAND_OVER
from adapters.core.environment import install_command
from adapters.core.errors import SessionError, SettingsError

LONGEST_NAME = 200
"""Characters of a session's id and of an owner."""
Turn = tuple[Session, str, Mapping[str, Any]]
"""A session after a turn, what the customer wrote, and the outcome as JSON."""


class ConflictError(SessionError):
    """Another turn of this number was written."""


class Store:
    """Sessions of a database. Several threads may use it, and several processes one file."""

    def __init__(self, url: str) -> None:
        """Args: url: of SQLAlchemy (`sqlite:///sessions.db`), or the path of an SQLite file.

        Raises SessionError if it cannot be opened, SettingsError if its driver is missing.
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
        self.inbox = sql.Table(  # `decided` is None as long as nobody has
            "inbox",
            meta,
            sql.Column("id", sql.Integer, primary_key=True),
            sql.Column("session", name, sql.ForeignKey("sessions.id"), nullable=False, index=True),
            sql.Column("number", sql.Integer, nullable=False),
            sql.Column("decided", sql.Float, index=True),
            sql.Column("decision", sql.Text),
            sqlite_autoincrement=True,  # a number is not given again after a deletion: it may be on somebody's screen
        )
        with self._failures():
            own = {"connect_args": {"timeout": WAIT_SECONDS}} if self.url.startswith("sqlite") else {}
            try:
                self.engine = sql.create_engine(self.url, **own)
            except ModuleNotFoundError as error:
                raise SettingsError(
                    f"--database: the driver {error.name} is missing. For PostgreSQL, "
                    f"{install_command('postgresql')} and begin the URL with postgresql+psycopg://."
                ) from error
            if self.engine.dialect.name == "sqlite":  # its own settings, for each connection
                sql.event.listen(self.engine, "connect", _durable)
            meta.create_all(self.engine)

    def open(self, id: str, owner: str) -> Session:
        """The session of that id; a new one if there is none.

        Raises:
            SessionError: it is another owner's (it is not said that there is one), or a name is too long.
        """
        (found,) = self.open_all([(id, owner)])
        if isinstance(found, SessionError):
            raise found
        return found

    def open_all(self, asked: Sequence[tuple[str, str]]) -> list[Session | SessionError]:
        """As `open`, for (id, owner) of several sessions; the error of each that cannot be opened."""
        sessions = self.sessions
        with self._failures(), self.engine.connect() as connection:
            rows = connection.execute(sessions.select().where(sessions.c.id.in_([id for id, _ in asked]))).all()
        return [_opened(id, owner, {row.id: row for row in rows}.get(id)) for id, owner in asked]

    def add(self, session: Session, asked: str, outcome: Mapping[str, Any]) -> None:
        """Write a turn and the state after it, both or neither. When it returns, they are on disk.

        Args:
            session: after the turn, its last one.
            asked: what the customer wrote; `sound` of it is kept.
            outcome: what was answered, as JSON; what is handed over comes into the inbox.

        Raises:
            SessionError: it could not be written (a full disk), or another turn of this number was.
        """
        (failed,) = self.add_all([(session, asked, outcome)])
        if failed is not None:
            raise failed

    def add_all(self, turns: Sequence[Turn]) -> list[SessionError | None]:
        """As `add`, for turns of different sessions, flushed together; the error of each that was not written."""
        try:
            with self._failures(), self.engine.begin() as connection:
                self._add(connection, sorted(turns, key=lambda turn: turn[0].id))  # one order: no ring of waiting
        except SessionError as error:
            return [error] if len(turns) == 1 else [self.add_all([turn])[0] for turn in turns]
        return [None] * len(turns)

    def _add(self, connection: Any, turns: Sequence[Turn]) -> None:
        """Write turns of different sessions, each kind of row by one statement."""
        import sqlalchemy as sql

        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("begun", "changed", "turns", "inbox")}
        for session, asked, outcome in turns:
            names, state = (session.id, session.owner), json.dumps(session.record())
            keys = ("id", "owner") if session.turns == 1 else ("its_id", "its_owner")
            row = {**dict(zip(keys, names, strict=True)), "updated": session.updated, "state": state}
            rows["begun" if session.turns == 1 else "changed"].append(row)
            texts = {"asked": sound(asked), "outcome": json.dumps(outcome, ensure_ascii=False)}
            rows["turns"].append({"session": session.id, "number": session.turns, "at": session.updated, **texts})
            if outcome.get("kind") == HAND_OVER:
                rows["inbox"].append({"session": session.id, "number": session.turns})
        named = self.sessions.c.id == sql.bindparam("its_id"), self.sessions.c.owner == sql.bindparam("its_owner")
        if rows["changed"]:
            changed = connection.execute(self.sessions.update().where(*named), rows["changed"]).rowcount
            if changed != len(rows["changed"]):  # what was forgotten must not come back with the state of a turn
                raise ConflictError("This conversation was deleted meanwhile. Begin another one.")
        for name, table in (("begun", self.sessions), ("turns", self.turns), ("inbox", self.inbox)):
            if rows[name]:
                connection.execute(table.insert(), rows[name])

    def history(self, id: str, owner: str) -> list[dict[str, Any]]:
        """The turns of a session in order: number, at, asked, outcome, decision. Raises SessionError, as `open`."""
        self.open(id, owner)
        return self._read(self.turns.c.session == id, self.turns.c.number)

    # the inbox --------------------------------------------------------------------------------------------------------

    def handed_over(self, *, decided: bool, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """What was handed over, in order: as `history`, with its id, session and owner.

        Args:
            decided: what the staff has decided, or what is open.
            after: the id after which to begin.
            limit: maximum number.
        """
        state = self.inbox.c.decided.is_not(None) if decided else self.inbox.c.decided.is_(None)
        return self._read((self.inbox.c.id > after) & state, self.inbox.c.id, limit)

    def item(self, id: int) -> dict[str, Any]:
        """One thing that was handed over. Raises SessionError where there is none of that id."""
        found = self._read(self.inbox.c.id == id, self.inbox.c.id)
        if not found:
            raise SessionError(
                f"There is nothing of the number {id} in the inbox: it was never there, or is forgotten."
            )
        return found[0]

    def decide(self, item: Mapping[str, Any], decision: Mapping[str, Any], now: float) -> None:
        """Write what the staff has decided. A later decision takes the place of an earlier one.

        Args:
            item: as `item` gave it.
            decision: as JSON.
            now: seconds since 1970.

        Raises SessionError: it was deleted meanwhile, or cannot be written.
        """
        values = {"decided": now, "decision": json.dumps(decision, ensure_ascii=False)}
        inbox = self.inbox.c
        same = (inbox.id == item["id"], inbox.session == item["session"], inbox.number == item["number"])
        with self._failures(), self.engine.begin() as connection:
            if not connection.execute(self.inbox.update().where(*same).values(**values)).rowcount:
                raise ConflictError("This question was deleted meanwhile.")

    def _read(self, which: Any, order: Any, limit: int | None = None) -> list[dict[str, Any]]:
        """Turns with what the inbox has of them."""
        import sqlalchemy as sql

        turns, inbox, sessions = self.turns, self.inbox, self.sessions
        same = (inbox.c.session == turns.c.session) & (inbox.c.number == turns.c.number)
        joined = turns.join(sessions, sessions.c.id == turns.c.session).outerjoin(inbox, same)
        columns = (inbox.c.id, sessions.c.owner, *turns.c, inbox.c.decision)
        chosen = sql.select(*columns).select_from(joined).where(which).order_by(order).limit(limit)
        with self._failures(), self.engine.connect() as connection:
            rows = connection.execute(chosen).mappings().all()
        values = [{f"{column.name}": row[column] for column in columns} for row in rows]  # a plain text, for orjson
        read = ("outcome", "decision")
        return [{**row, **{name: row[name] and json.loads(row[name]) for name in read}} for row in values]

    def forget(self, owner: str) -> int:
        """Delete all of an owner: sessions, turns, what is in the inbox. Returns how many sessions there were.

        Raises SessionError: it cannot be deleted, or SQLite's log cannot be emptied of it.
        """
        import sqlalchemy as sql

        own = sql.select(self.sessions.c.id).where(self.sessions.c.owner == owner)
        with self._failures(), self.engine.begin() as connection:
            for table in (self.inbox, self.turns):
                connection.execute(table.delete().where(table.c.session.in_(own)))
            count = connection.execute(self.sessions.delete().where(self.sessions.c.owner == owner)).rowcount
        if self.engine.dialect.name == "sqlite":
            with self._failures(), self.engine.connect() as connection:
                empty_log(lambda statement: connection.execute(sql.text(statement)), self.url)
        return int(count)

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
            raise ConflictError(
                "Another message of this session was answered at the same time. Send it again."
            ) from error
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error)[:200]
            raise SessionError(
                f"{self.url.partition('@')[2] or self.url}: the session could not be read or written ({why}). Nothing "
                "of this message was kept: free the disk or mend the database, and send it again."
            ) from error


def _opened(id: str, owner: str, row: Any) -> Session | SessionError:
    """A session of its row; a new one where there is no row."""
    if not (0 < len(id) <= LONGEST_NAME and 0 < len(owner) <= LONGEST_NAME):
        return SessionError(f"A session's id and its owner have 1 to {LONGEST_NAME} characters.")
    if row is None:
        return Session(id=id, owner=owner)
    if row.owner != owner:
        return SessionError(f"There is no session {id!r} of yours. Begin one with another id.")
    return Session.of_record(json.loads(row.state))


def _durable(connection: Any, record: object) -> None:
    """SQLite's settings of a new connection."""
    make_durable(connection, ["foreign_keys=ON"])
