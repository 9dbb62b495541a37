"""Wires a session, its bridge and Resonate together; the runtime takes them apart in the right order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from ..errors import ConfigError
from ..session.session import Session
from .cell_store import CellStore
from .durable_cells import DurableCells
from .resonate_bridge import ResonateProtocolBridge
from .resonate_functions import register
from .runtime import DEFAULT_TTL_S, DurableRuntime, host_of, make_resonate
from .sdk import LocalConnection

__all__ = ["initialize_resonate_local", "initialize_resonate_postgres"]


async def initialize_resonate_local(
    session: Session,
    *,
    path: str | os.PathLike[str] | None = None,
    connection: Any = None,
    store: CellStore | None = None,
    session_name: str = "default",
    input_timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
) -> DurableRuntime:
    """Make the executions of a started session durable, in this process.

    With ``path``, promises and the state after each cell live in that SQLite file and outlive any
    process. Otherwise they live where ``connection`` and ``store`` keep them; without those, promises
    are in memory and outlive the worker, and no state is kept. Closing rejects what is pending in
    memory, and leaves what is pending elsewhere for the next process.

    Raises :class:`StoreError` for a file that cannot be used, another owner's for one, ConfigError for
    a ``path`` and a ``connection``, :class:`DurableError` for a session that has a bridge.
    """
    if path is not None and connection is not None:
        raise ConfigError("give the path of a file, or a connection that keeps the promises, not both")
    async with AsyncExitStack() as undo:
        owned = None
        if path is not None:
            from .sqlite_store import SqliteCellStore, SqliteConnection

            connection = owned = SqliteConnection(path)
            undo.callback(owned.close)
            store = store if store is not None else SqliteCellStore(path)
        keep_pending = connection is not None
        resonate = make_resonate(connection if connection is not None else LocalConnection(), env=env)
        undo.push_async_callback(resonate.stop)
        bridge = ResonateProtocolBridge(resonate, session, input_timeout_s=input_timeout_s)
        undo.push_async_callback(bridge.close, reject=False)
        cells = DurableCells(bridge, store, session_name=session_name)
        register(resonate, host_of(cells))
        undo.pop_all()
    return DurableRuntime(resonate, bridge, cells, keep_pending=keep_pending, connection=owned)


async def initialize_resonate_postgres(
    dsn: str,
    group: str,
    session: Session,
    *,
    session_name: str = "default",
    store: CellStore | None = None,
    ttl_s: float = DEFAULT_TTL_S,
    input_timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
) -> DurableRuntime:
    """Make the executions of a started session durable in the database ``dsn``.

    As :func:`initialize_resonate_local`, but other processes see the promises and may answer them, and
    each execution owns the session ``session_name`` in the database while it runs. ``store`` is the
    database itself if left out. Closing leaves what is pending for the next process of ``group``.

    ``ttl_s`` is after how long the executions of a process that died are taken over, ``input_timeout_s`` how
    long a question waits for its answer.

    Raises :class:`StoreError` if the database cannot be used, ConfigError for a ``dsn`` that cannot be one,
    :class:`DurableError` for a session that has a bridge.
    """
    from .postgres.cell_store import PostgresCellStore
    from .postgres.connection import PostgresResonate
    from .postgres.leased_cells import LeasedCells
    from .postgres.runtime import PostgresRuntime

    database = PostgresResonate(dsn, group, ttl_s=ttl_s, env=env)
    await database.check()
    cell_store = store if store is not None else PostgresCellStore(dsn)
    bridge = ResonateProtocolBridge(database.resonate, session, input_timeout_s=input_timeout_s)
    cells = LeasedCells(bridge, cell_store, dsn=dsn, session_name=session_name)
    register(database.resonate, host_of(cells))
    database.start()
    return PostgresRuntime(database, bridge, cells)
