"""The file of a durable store: made in one step, checked before it is touched, with one owner.

A new file is built under another name and renamed, so no half-made one is ever seen under its own.
An existing one is judged by its first bytes and by SQLite's own check of the tables before anything
is written to it. The owner holds a lock of the operating system on ``<path>-owner``, which ends with
its process however that ends; the file itself stays and means nothing.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from ...errors import CheckpointError, StoreError
from ...session.name_lock import NameLock

__all__ = ["FORMAT", "connect", "create_if_missing", "own"]

FORMAT = 1
"""The version of the tables."""
APPLICATION_ID = 0x53_74_52_6D  # "StRm"
BUSY_TIMEOUT_S = 10.0
MAX_IDLE_LOG_BYTES = 32 << 20
"""The write-ahead log is cut to this when it has been written back."""
NEW = ".new"

_CHECKED = ("promises", "tasks", "callbacks", "listeners", "schedules", "cells")

_SCHEMA = """
CREATE TABLE promises (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, param TEXT NOT NULL, value TEXT NOT NULL, tags TEXT NOT NULL,
    timeout_at INTEGER NOT NULL, created_at INTEGER NOT NULL, settled_at INTEGER
) STRICT;
CREATE INDEX promises_timeout ON promises (timeout_at) WHERE state = 'pending';
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL, pid TEXT, ttl INTEGER,
    resumed INTEGER NOT NULL DEFAULT 0, due_at INTEGER
) STRICT;
CREATE INDEX tasks_due ON tasks (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE callbacks (
    awaited TEXT NOT NULL, awaiter TEXT NOT NULL, PRIMARY KEY (awaited, awaiter)
) STRICT, WITHOUT ROWID;
CREATE INDEX callbacks_awaiter ON callbacks (awaiter);
CREATE TABLE listeners (
    awaited TEXT PRIMARY KEY, settled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX listeners_settled ON listeners (awaited) WHERE settled;
CREATE TABLE schedules (
    id TEXT PRIMARY KEY, cron TEXT NOT NULL, promise_id TEXT NOT NULL, promise_timeout INTEGER NOT NULL,
    promise_param TEXT NOT NULL, promise_tags TEXT NOT NULL,
    created_at INTEGER NOT NULL, next_run_at INTEGER NOT NULL, last_run_at INTEGER
) STRICT;
CREATE TABLE checkpoints (id INTEGER PRIMARY KEY AUTOINCREMENT, saved_at REAL NOT NULL) STRICT;
CREATE TABLE chunks (
    checkpoint_id INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (checkpoint_id, part)
) STRICT;
CREATE TABLE cells (
    session TEXT NOT NULL, number INTEGER NOT NULL, execution_id TEXT NOT NULL, result BLOB NOT NULL,
    checkpoint_id INTEGER, parts INTEGER NOT NULL, saved_at REAL NOT NULL,
    PRIMARY KEY (session, number), UNIQUE (session, execution_id)
) STRICT;
"""


def own(path: Path) -> NameLock:
    """Be the one owner of the store until ``release()``; raises :class:`StoreError` if there is one."""
    try:
        return NameLock(Path(f"{path}-owner"), str(path))
    except CheckpointError as error:
        raise StoreError(
            f"the durable store {error}; promises in it can be listed and answered all the same"
        ) from None
    except OSError as error:
        raise StoreError(f"the durable store {path} cannot be used: {error}") from error


def create_if_missing(path: Path) -> None:
    """Make an empty store if there is no file, or an empty one; for the owner only.

    It is readable for its user only: values and checkpoints are in it, and who can change them can
    have code run.
    """
    try:
        if path.stat().st_size:
            return
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"the durable store {path} cannot be used: {error}") from error
    try:
        for abandoned in path.parent.glob(f".{path.name}-*{NEW}"):
            abandoned.unlink()
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=NEW)
        os.close(handle)
        _build(Path(temporary))
        Path(temporary).replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the durable store {path} cannot be made: {error}") from error


def _build(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"
            f"{_SCHEMA} COMMIT;"
        )
        db.execute("PRAGMA journal_mode = WAL")


def connect(path: Path, *, check: bool = False, power_safe: bool = False) -> sqlite3.Connection:
    """Open a store that exists. Raises :class:`StoreError`; then the file is as it was.

    ``check`` has SQLite look at every page of the small tables (not at checkpoints, which carry a
    digest of their own). With ``power_safe`` each commit waits for the disk.
    """
    if not path.exists():
        raise StoreError(f"there is no durable store {path}")
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise StoreError(f"the durable store {path} cannot be opened: {error}") from error
    try:
        _leave_untouched(db, untouched=True)
        _judge(db, path)
        if check:
            _check(db, path)
        db.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_LOG_BYTES}")
        db.execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
        _leave_untouched(db, untouched=False)
    except sqlite3.Error as error:
        db.close()
        what = "is damaged" if _is(error, sqlite3.SQLITE_CORRUPT) else "cannot be used"
        raise StoreError(f"the durable store {path} {what}: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def _judge(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no store, or one that cannot be read here.

    SQLite is asked, and not the file: to open and close it here would drop the locks that other
    connections of this process hold on it (POSIX), and with them the store.
    """
    try:
        application_id, found = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
    except sqlite3.DatabaseError as error:
        if not _is(error, sqlite3.SQLITE_NOTADB):
            raise
        raise StoreError(f"{path} is no durable store: {error}; choose another path") from None
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path} is no durable store, but a file of another program; choose another path")
    if found > FORMAT:
        raise StoreError(
            f"the durable store {path} has format {found}, and this stateroom reads formats up to {FORMAT}: "
            "use a newer one"
        )


def _check(db: sqlite3.Connection, path: Path) -> None:
    for table in _CHECKED:
        findings = [row[0] for row in db.execute(f"PRAGMA quick_check('{table}')")]
        if findings != ["ok"]:
            raise StoreError(f"the durable store {path} is damaged: {findings[0]}; bring back a copy of it")


def _is(error: sqlite3.Error, primary: int) -> bool:
    """Whether ``error`` has this code, or one of those that say the same more precisely."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == primary


def _leave_untouched(db: sqlite3.Connection, *, untouched: bool) -> None:
    """Whether closing the file leaves what is in its write-ahead log there."""
    if sys.version_info >= (3, 12):
        db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, untouched)
