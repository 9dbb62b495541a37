"""Sole ownership of a named session among all processes that use a database.

It is an advisory lock of PostgreSQL, held by a connection of its own: it ends with its process, and
within half a minute if the machine or the network between is gone. Who waits is served in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ...errors import StoreError
from .driver import psycopg

__all__ = ["Lease"]

_KEEPALIVES = {"idle": 10, "interval": 5, "count": 3}
_SERVER_OPTIONS = " ".join(f"-c tcp_keepalives_{name}={value}" for name, value in _KEEPALIVES.items())


class Lease:
    """The ownership of the session ``name`` in the database ``dsn``, for one holder at a time.

    Its connection is opened when it is needed first, and kept until :meth:`close`.
    """

    def __init__(self, dsn: str, name: str) -> None:
        self.name = name
        self._dsn = dsn
        self._key = (f"stateroom session {name}",)
        self._db: Any = None

    def __repr__(self) -> str:
        return f"<Lease {self.name!r} connected={self._db is not None and not self._db.closed}>"

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Wait until nobody owns the session, then own it. Raises :class:`StoreError`."""
        try:
            await self._acquire()
            yield
        finally:
            await asyncio.shield(self._release())

    async def lost(self) -> str:
        """Wait until a lease that is held is lost, if ever, and say why."""
        try:
            async for _ in self._db.notifies():
                pass
        except psycopg.Error as error:
            return str(error)
        return "the connection was closed"

    async def close(self) -> None:
        """Give up the connection, and with it the lease if it is held; safe to call twice."""
        db, self._db = self._db, None
        if db is not None:
            await db.close()

    async def _acquire(self) -> None:
        try:
            if self._db is None or not await self._is_alive():
                await self.close()
                self._db = await self._connect()
            await self._db.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", self._key)
        except psycopg.Error as error:
            raise StoreError(f"no lease of session {self.name!r}: {error}") from error

    async def _release(self) -> None:
        """Let the next one have it; a connection that cannot say so is closed, which says it too."""
        if self._db is None:
            return
        try:
            found = await self._db.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", self._key)
            if not (await found.fetchone())[0]:
                await self.close()
        except psycopg.Error:
            await self.close()

    async def _is_alive(self) -> bool:
        try:
            await self._db.execute("")
        except psycopg.Error:
            return False
        return True

    async def _connect(self) -> Any:
        return await psycopg.AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name=f"stateroom lease {self.name}"[:63],
            options=_SERVER_OPTIONS,
            **{f"keepalives_{name}": value for name, value in _KEEPALIVES.items()},  # type: ignore[arg-type]
        )
