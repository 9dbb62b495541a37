"""Finished cells and their checkpoints in the file of a durable store."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ...errors import CheckpointError, ConfigError, StoreError
from ...protocol.framing import Buffer
from ..cell_store import FinishedCell, StaleSave, in_chunks
from .file import connect

__all__ = ["SqliteCellStore"]

ABANDONED_AFTER_S = 3600.0
"""An upload that has not become a cell's for so long was left by a writer that is gone."""

_COLUMNS = "session, number, execution_id, result, saved_at"


class SqliteCellStore:
    """The :class:`CellStore` in the durable store ``path``, which must exist.

    A checkpoint goes in piece by piece, each in a transaction of its own, so that the store stays
    usable for others meanwhile; one more transaction makes it that of its cell. The last ``keep``
    checkpoints of each session are kept. With ``power_safe``, each commit waits for the disk.

    Raises ConfigError for a ``keep`` below 1.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int = 3, power_safe: bool = False) -> None:
        if keep < 1:
            raise ConfigError(f"keep={keep}: give the number of checkpoints to keep, 1 or more")
        self.path = Path(path)
        """The file."""
        self.keep = keep
        """How many checkpoints of each session are kept."""
        self._power_safe = power_safe

    def __repr__(self) -> str:
        return f"<SqliteCellStore {str(self.path)!r} keep={self.keep}>"

    def save(
        self, session: str, execution_id: str, result: bytes, checkpoint: Iterable[Buffer], *, after: int
    ) -> FinishedCell:
        """As :meth:`CellStore.save`."""
        cell = FinishedCell(
            session=session,
            number=after + 1,
            execution_id=execution_id,
            result=result,
            saved_at=time.time(),
        )
        with self._opened() as db:
            _judge(db, cell)
            _remove_abandoned(db)
            checkpoint_id, parts = _upload(db, cell, checkpoint)
            _finish(db, cell, checkpoint_id, parts)
            self._remove_old(db, session)
        return cell

    def find(self, session: str, execution_id: str) -> FinishedCell | None:
        """As :meth:`CellStore.find`."""
        return self._one("session = ? AND execution_id = ?", session, execution_id)

    def latest(self, session: str) -> FinishedCell | None:
        """As :meth:`CellStore.latest`."""
        return self._one("session = ? ORDER BY number DESC LIMIT 1", session)

    def checkpoint(self, cell: FinishedCell) -> Iterator[bytes]:
        """As :meth:`CellStore.checkpoint`."""
        with self._opened() as db:
            found = db.execute(
                "SELECT checkpoint_id, parts FROM cells WHERE session = ? AND number = ?",
                (cell.session, cell.number),
            ).fetchone()
            if found is None or found[0] is None:
                raise CheckpointError(
                    f"{self.path} keeps no checkpoint of cell {cell.number} of {cell.session!r}"
                )
            for part in range(found[1]):
                row = db.execute(
                    "SELECT data FROM chunks WHERE checkpoint_id = ? AND part = ?", (found[0], part)
                ).fetchone()
                if row is None:
                    raise CheckpointError(
                        f"the checkpoint of cell {cell.number} of {cell.session!r} was replaced meanwhile"
                    )
                yield row[0]

    def delete(self, session: str) -> None:
        """As :meth:`CellStore.delete`."""
        with self._opened() as db:
            freed = db.execute(
                "SELECT checkpoint_id FROM cells WHERE session = ? AND checkpoint_id IS NOT NULL", (session,)
            ).fetchall()
            db.execute("DELETE FROM cells WHERE session = ?", (session,))
            _remove(db, freed)

    def _one(self, condition: str, *values: str) -> FinishedCell | None:
        with self._opened() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM cells WHERE {condition}", values).fetchone()
        if row is None:
            return None
        return FinishedCell(
            session=row[0], number=row[1], execution_id=row[2], result=row[3], saved_at=row[4]
        )

    def _remove_old(self, db: sqlite3.Connection, session: str) -> None:
        old = (
            "WHERE session = ? AND checkpoint_id IS NOT NULL "
            "AND number <= (SELECT max(number) FROM cells WHERE session = ?) - ?"
        )
        values = (session, session, self.keep)
        freed = db.execute(f"SELECT checkpoint_id FROM cells {old}", values).fetchall()
        db.execute(f"UPDATE cells SET checkpoint_id = NULL {old}", values)
        _remove(db, freed)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self.path, power_safe=self._power_safe)) as db:
            try:
                yield db
            except sqlite3.Error as error:
                raise StoreError(f"the durable store {self.path} cannot be used: {error}") from error


def _judge(db: sqlite3.Connection, cell: FinishedCell) -> None:
    """Whether ``cell`` is the next one of its session."""
    latest = db.execute("SELECT max(number) FROM cells WHERE session = ?", (cell.session,)).fetchone()[0] or 0
    known = db.execute(
        "SELECT number FROM cells WHERE session = ? AND execution_id = ?", (cell.session, cell.execution_id)
    ).fetchone()
    if known is not None:
        raise StaleSave(f"execution {cell.execution_id!r} of {cell.session!r} was finished by somebody else")
    if latest != cell.number - 1:
        raise StaleSave(f"{cell.session!r} has finished cell {latest} meanwhile, not {cell.number - 1}")


def _upload(db: sqlite3.Connection, cell: FinishedCell, checkpoint: Iterable[Buffer]) -> tuple[int, int]:
    checkpoint_id = db.execute("INSERT INTO checkpoints (saved_at) VALUES (?)", (cell.saved_at,)).lastrowid
    assert checkpoint_id is not None
    parts = 0
    for chunk in in_chunks(checkpoint):
        db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (checkpoint_id, parts, chunk))
        parts += 1
    return checkpoint_id, parts


def _finish(db: sqlite3.Connection, cell: FinishedCell, checkpoint_id: int, parts: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        _judge(db, cell)
        there = db.execute("SELECT count(*) FROM chunks WHERE checkpoint_id = ?", (checkpoint_id,)).fetchone()
        if there[0] != parts:
            raise StaleSave(f"another process has stored cells of {cell.session!r} meanwhile")
        db.execute(
            f"INSERT INTO cells ({_COLUMNS}, checkpoint_id, parts) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (cell.session, cell.number, cell.execution_id, cell.result, cell.saved_at, checkpoint_id, parts),
        )
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def _remove_abandoned(db: sqlite3.Connection) -> None:
    """Delete checkpoints that belong to no cell, and whose writer was killed long ago."""
    abandoned = db.execute(
        "SELECT id FROM checkpoints WHERE saved_at < ? "
        "AND id NOT IN (SELECT checkpoint_id FROM cells WHERE checkpoint_id IS NOT NULL)",
        (time.time() - ABANDONED_AFTER_S,),
    ).fetchall()
    _remove(db, abandoned)


def _remove(db: sqlite3.Connection, checkpoint_ids: Iterable[tuple[int]]) -> None:
    for (checkpoint_id,) in checkpoint_ids:
        parts = db.execute("SELECT part FROM chunks WHERE checkpoint_id = ?", (checkpoint_id,)).fetchall()
        db.executemany(
            "DELETE FROM chunks WHERE checkpoint_id = ? AND part = ?",
            [(checkpoint_id, *part) for part in parts],
        )
        db.execute("DELETE FROM checkpoints WHERE id = ?", (checkpoint_id,))
