"""Resonate on a PostgreSQL database: promises that all machines that reach it share.

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

from ...errors import ConfigError, StoreError
from ...session.shielded import Closing
from ..runtime import DEFAULT_TTL_S, make_resonate
from ..sdk import Resonate
from .driver import PostgresConnection, check_dsn, describe, psycopg
from .slots import Slots, WorkSource

__all__ = ["PostgresResonate"]

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
        self._closing = Closing()
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
        """Stop for good, when the functions that run have ended. A cancelled caller leaves it going on."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        await self._source.stop()
        await self.resonate.stop()


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
