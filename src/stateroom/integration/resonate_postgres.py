"""Wires Resonate to a PostgreSQL database: promises that all machines that reach it share.

The database needs the schema of ``resonate-pg`` (its file ``resonate.sql``), applied once by an
administrator. Tasks are leased for ``ttl_s`` and the lease is renewed while their process lives; if it
dies, another process of the same group gets them after that time at the latest.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..errors import ConfigError, StoreError
from ..session.session import Session
from .cell_store import CellStore
from .leased_cells import LeasedCells
from .postgres import PostgresConnection, check_dsn, psycopg
from .postgres_cells import PostgresCellStore, describe
from .resonate_bridge import ResonateProtocolBridge
from .resonate_functions import register
from .resonate_init import DurableRuntime, host_of, make_resonate
from .sdk import Resonate
from .slots import Slots, WorkSource

__all__ = ["DEFAULT_TTL_S", "PostgresResonate", "initialize_resonate_postgres"]

DEFAULT_TTL_S = 15.0
MAX_CONCURRENT_TASKS = 1_000
UNLIMITED = 1_000_000


class PostgresResonate:
    """A Resonate on a database whose deliveries can be stopped before it is.

    Of the tasks of its group it takes as many as ``slots`` are free, all if left out. Nothing connects
    before :meth:`start`. Raises ConfigError for a ``ttl_s`` under one second, and a ``dsn`` that is none.
    """

    def __init__(
        self,
        dsn: str,
        group: str,
        *,
        ttl_s: float = DEFAULT_TTL_S,
        slots: Slots | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if ttl_s < 1:
            raise ConfigError(f"ttl_s={ttl_s}: give the seconds that a task stays with a process, 1 or more")
        check_dsn(dsn)
        self.dsn = dsn
        pid = uuid.uuid4().hex
        self._source = WorkSource(dsn, pid=pid, group=group, slots=slots or Slots(UNLIMITED))
        self.resonate: Resonate = make_resonate(
            PostgresConnection(dsn, pid=pid, group=group),
            env=env,
            ttl=timedelta(seconds=ttl_s),
            sources=[self._source],
            group=group,
            pid=pid,
            max_concurrent_tasks=MAX_CONCURRENT_TASKS,
            autostart=False,
        )

    def __repr__(self) -> str:
        return f"<PostgresResonate {describe(self.dsn)}>"

    async def check(self) -> None:
        """Look at the database. Raises :class:`StoreError` if it cannot be used."""
        await asyncio.to_thread(_check_schema, self.dsn)

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self.resonate.start()

    async def stop_deliveries(self) -> None:
        """Get no more tasks; those that are held can be finished or given back."""
        await self._source.stop()

    async def close(self) -> None:
        """Stop for good, when the functions that run have ended."""
        await self._source.stop()
        await self.resonate.stop()


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

    Raises :class:`StoreError` if the database cannot be used.
    """
    connection = PostgresResonate(dsn, group, ttl_s=ttl_s, env=env)
    await connection.check()
    cell_store = store if store is not None else PostgresCellStore(dsn)
    bridge = ResonateProtocolBridge(connection.resonate, session, input_timeout_s=input_timeout_s)
    cells = LeasedCells(bridge, cell_store, dsn=dsn, session_name=session_name)
    register(connection.resonate, host_of(cells))
    connection.start()
    return PostgresRuntime(connection, bridge, cells)


class PostgresRuntime(DurableRuntime):
    """What :func:`initialize_resonate_postgres` has made."""

    def __init__(
        self, database: PostgresResonate, bridge: ResonateProtocolBridge, cells: LeasedCells
    ) -> None:
        super().__init__(database.resonate, bridge, cells, keep_pending=True)
        self._database = database
        self._leased = cells

    async def close(self) -> None:
        await self._database.stop_deliveries()
        await self._leased.close()
        await super().close()


def _check_schema(dsn: str) -> None:
    try:
        with psycopg.connect(dsn) as db:
            found: Any = db.execute("SELECT to_regprocedure('resonate.resonate_rpc(jsonb)')").fetchone()
    except psycopg.Error as error:
        raise StoreError(f"the database {describe(dsn)} cannot be used: {error}") from error
    if found is None or found[0] is None:
        raise StoreError(
            f"the database {describe(dsn)} has no Resonate schema: apply resonate.sql of "
            "github.com/resonatehq/resonate-pg to it"
        )
