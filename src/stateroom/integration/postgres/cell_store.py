"""Finished cells and their checkpoints in a PostgreSQL database, beside the promises."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import CheckpointError, ConfigError, StoreError
from ...protocol.framing import Buffer
from ...session.temporary_folder import when_gone
from ..cell_store import FinishedCell, StaleSave, in_chunks
from .driver import check_dsn, describe, psycopg

__all__ = ["PostgresCellStore"]

_SCHEMA = """
SELECT pg_advisory_xact_lock(hashtextextended('stateroom tables', 0));
CREATE SCHEMA IF NOT EXISTS stateroom;
CREATE TABLE IF NOT EXISTS stateroom.checkpoints (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY);
CREATE TABLE IF NOT EXISTS stateroom.chunks (
    checkpoint_id bigint NOT NULL REFERENCES stateroom.checkpoints ON DELETE CASCADE,
    part integer NOT NULL, data bytea NOT NULL, PRIMARY KEY (checkpoint_id, part)
);
ALTER TABLE stateroom.chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS stateroom.cells (
    session text NOT NULL, number integer NOT NULL, execution_id text NOT NULL, result bytea NOT NULL,
    saved_at double precision NOT NULL, checkpoint_id bigint REFERENCES stateroom.checkpoints,
    PRIMARY KEY (session, number), UNIQUE (session, execution_id)
);
"""
_COLUMNS = "session, number, execution_id, result, saved_at"


class PostgresCellStore:
    """The :class:`CellStore` in the schema ``stateroom`` of the database ``dsn``.

    :meth:`prepare` makes the tables; the first use of an object does so too. A cell is saved in one
    transaction. The last ``keep`` checkpoints of each session are kept. Whoever can write to these tables
    can have code run by those who restore from them.

    Raises ConfigError for a ``dsn`` or a ``keep`` that cannot be.
    """

    def __init__(self, dsn: str, *, keep: int = 3) -> None:
        if keep < 1:
            raise ConfigError(f"keep={keep}: give the number of checkpoints to keep, 1 or more")
        check_dsn(dsn)
        self.keep = keep
        """How many checkpoints of each session are kept."""
        self._dsn = dsn
        self._is_prepared = False
        self._spare: list[Any] = []
        """Connections that are not in use."""
        when_gone(self, _close_all, self._spare)

    def __repr__(self) -> str:
        return f"<PostgresCellStore {describe(self._dsn)} keep={self.keep}>"

    def prepare(self) -> None:
        """Make the tables if they are missing. Raises :class:`StoreError` if that cannot be."""
        with self._transaction():
            pass

    def save(
        self, session: str, execution_id: str, result: bytes, checkpoint: Iterable[Buffer], *, after: int
    ) -> FinishedCell:
        """As :meth:`CellStore.save`."""
        cell = FinishedCell(
            session=session, number=after + 1, execution_id=execution_id, result=result, saved_at=time.time()
        )
        with self._transaction() as db:
            _judge(db, cell)
            checkpoint_id = _upload(db, checkpoint)
            _judge(db, cell)
            try:
                db.execute(
                    f"INSERT INTO stateroom.cells ({_COLUMNS}, checkpoint_id) "
                    "VALUES (%s, %s, %s, %s, %s, %s)",
                    (session, cell.number, execution_id, result, cell.saved_at, checkpoint_id),
                )
            except psycopg.errors.UniqueViolation:
                raise StaleSave(f"cell {cell.number} of {session!r} was finished by somebody else") from None
            _remove(db, "session = %s AND number <= %s", session, cell.number - self.keep)
        return cell

    def find(self, session: str, execution_id: str) -> FinishedCell | None:
        """As :meth:`CellStore.find`."""
        return self._one("session = %s AND execution_id = %s", session, execution_id)

    def latest(self, session: str) -> FinishedCell | None:
        """As :meth:`CellStore.latest`."""
        return self._one("session = %s ORDER BY number DESC LIMIT 1", session)

    def checkpoint(self, cell: FinishedCell) -> Iterator[bytes]:
        """As :meth:`CellStore.checkpoint`; one state of the database throughout."""
        with self._transaction() as db:
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = db.execute(
                "SELECT checkpoint_id FROM stateroom.cells WHERE session = %s AND number = %s",
                (cell.session, cell.number),
            ).fetchone()
            if found is None or found[0] is None:
                raise CheckpointError(
                    f"{describe(self._dsn)} keeps no checkpoint of cell {cell.number} of {cell.session!r}"
                )
            for part in range(1 << 31):
                row = db.execute(
                    "SELECT data FROM stateroom.chunks WHERE checkpoint_id = %s AND part = %s",
                    (found[0], part),
                ).fetchone()
                if row is None:
                    return
                yield row[0]

    def delete(self, session: str) -> None:
        """As :meth:`CellStore.delete`."""
        with self._transaction() as db:
            _remove(db, "session = %s", session)
            db.execute("DELETE FROM stateroom.cells WHERE session = %s", (session,))

    def _one(self, condition: str, *values: str) -> FinishedCell | None:
        with self._transaction() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM stateroom.cells WHERE {condition}", values).fetchone()
        if row is None:
            return None
        return FinishedCell(
            session=row[0], number=row[1], execution_id=row[2], result=row[3], saved_at=row[4]
        )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            db = self._take_connection()
            try:
                with db.transaction():
                    yield db.cursor(binary=True)
            except BaseException:
                db.close()
                raise
            self._spare.append(db)
        except psycopg.Error as error:
            raise StoreError(f"the store in {describe(self._dsn)} cannot be used: {error}") from error

    def _take_connection(self) -> Any:
        """One that was used before and is alive, or a new one."""
        while self._spare:
            with contextlib.suppress(IndexError, psycopg.Error):
                db = self._spare.pop()
                db.execute("")
                return db
        db = psycopg.connect(self._dsn, autocommit=True)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: Any) -> None:
        if not self._is_prepared:
            with db.transaction():
                db.execute(_SCHEMA)
            self._is_prepared = True


def _close_all(connections: list[Any]) -> None:
    for connection in connections:
        connection.close()


def _judge(db: Any, cell: FinishedCell) -> None:
    """Whether ``cell`` is the next one of its session."""
    latest, known = db.execute(
        "SELECT max(number), count(*) FILTER (WHERE execution_id = %s) FROM stateroom.cells "
        "WHERE session = %s",
        (cell.execution_id, cell.session),
    ).fetchone()
    if known:
        raise StaleSave(f"execution {cell.execution_id!r} of {cell.session!r} was finished by somebody else")
    if (latest or 0) != cell.number - 1:
        raise StaleSave(f"{cell.session!r} has finished cell {latest or 0} meanwhile, not {cell.number - 1}")


def _upload(db: Any, checkpoint: Iterable[Buffer]) -> int:
    row = db.execute("INSERT INTO stateroom.checkpoints DEFAULT VALUES RETURNING id").fetchone()
    for part, chunk in enumerate(in_chunks(checkpoint)):
        db.execute("INSERT INTO stateroom.chunks VALUES (%s, %s, %s)", (row[0], part, chunk))
    return int(row[0])


def _remove(db: Any, condition: str, *values: object) -> None:
    """Delete the checkpoints of some cells."""
    db.execute(
        f"WITH old AS (SELECT session, number, checkpoint_id FROM stateroom.cells "
        f"WHERE {condition} AND checkpoint_id IS NOT NULL), "
        "freed AS (UPDATE stateroom.cells c SET checkpoint_id = NULL FROM old "
        "WHERE c.session = old.session AND c.number = old.number) "
        "SELECT checkpoint_id FROM old",
        values,
    )
    for (checkpoint_id,) in db.fetchall():
        db.execute("DELETE FROM stateroom.checkpoints WHERE id = %s", (checkpoint_id,))
