"""A Resonate connection whose server is one SQLite file: durable executions without a server.

``SqliteConnection(path)`` is used like ``resonate.connections.LocalConnection``. Everything that it
has acknowledged is in the file: whoever opens it next goes on from there, however the last one ended.

It answers the requests of the wire protocol from tables of its own, each request in one transaction,
rather than keeping the SDK's local server state alive by a log that is replayed. So it is coupled to
the protocol, which is versioned, and not to private parts of the SDK; what happened does not depend
on a replay coming out the same in the next version; opening takes the same time however long the
history is; and any other process can look at pending promises and settle them with a transaction of
its own (:func:`pending_promises`, :func:`answer_promise`), whether the owner is alive or not.

What holds:

- The death of a process, by ``kill -9`` too, loses nothing that was acknowledged. On power loss the
  file stays whole, and with ``power_safe=True`` nothing is lost either; without it the last moments
  before may be, because commits do not wait for the disk.
- One owner at a time: a second connection to the file is refused at once, with the pid of the owner.
- A task is held as long as its owner lives and offered again when the file is opened next. Leases
  never run out in between, so the ``ttl`` of the Resonate does not matter.
- All promises are settled when their time is up, those without a target too, and schedules fire
  (five fields, UTC), as long as somebody has the file open; otherwise at the next opening.
- Whoever can write to the file can have code run by those who read it. It is made readable for its
  user only; so leave it, and do not put it on a network file system, where locks may not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from resonate_base import ConnectorError

from ..errors import StoreError
from ..logs import get_logger
from .pending import PendingPromise
from .sqlite.answers import answer_promise, pending_promises
from .sqlite.cell_store import SqliteCellStore
from .sqlite.file import connect, create_if_missing, own
from .sqlite.server import StoreServer

__all__ = ["PendingPromise", "SqliteCellStore", "SqliteConnection", "answer_promise", "pending_promises"]

RETRY_S = 1.0
"""After this a file that could not be used is tried again."""

log = get_logger("stateroom.durable")


class SqliteConnection:
    """Promises, tasks and schedules in the file ``path``, which is made if it is missing.

    Network and source of a Resonate at once. The file is opened here, and raises :class:`StoreError`
    if it is in use, damaged, foreign or of a newer format. ``poll_s`` is how long it may take until
    an answer of another process is noticed. Close it after the Resonate that uses it was stopped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        group: str = "default",
        power_safe: bool = False,
        poll_s: float = 0.05,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.path = Path(path).absolute()
        """The file."""
        self._group = group
        self._poll_s = poll_s
        self._clock = clock
        self._receivers: list[Callable[[str], None]] = []
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._sleeps_until: float = 0
        self._seen: int | None = None
        self._told_time = 0
        self._server: StoreServer | None = None
        self._owner = own(self.path)
        try:
            create_if_missing(self.path)
            self._server = StoreServer(connect(self.path, check=True, power_safe=power_safe))
            self._server.open(clock())
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"the durable store {self.path} cannot be written: {error}") from error
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<SqliteConnection {str(self.path)!r} {state} delivering={self._pump is not None}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether requests are answered."""
        return self._server is not None

    # As Resonate asks its connections

    def unicast(self) -> str:
        """The address of this process."""
        return f"sqlite://uni@{self._group}/{os.getpid()}"

    def resolve_target(self, target: str) -> str:
        """The address of whichever process of the group ``target``."""
        return f"sqlite://any@{target}"

    def recv(self, callback: Callable[[str], None]) -> None:
        """Call it with each message that is delivered."""
        self._receivers.append(callback)

    async def start(self) -> None:
        """Begin to deliver messages, those that the last owner left first."""
        if self._pump is None and self._receivers:
            self._pump = asyncio.create_task(self._deliver_for_ever())

    async def stop(self) -> None:
        """Deliver nothing any more; requests are answered until :meth:`close`."""
        pump, self._pump = self._pump, None
        self._receivers.clear()
        if pump is not None:
            pump.cancel()
            await asyncio.wait([pump])  # unlike the pump itself, it is cancelled with its caller only

    def close(self) -> None:
        """Close the file and let others own it; safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._owner.release()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        """The response to a request; it is durable when this returns.

        Raises ConnectorError if the file cannot be written: nothing has happened then.
        """
        if self._server is None:
            raise ConnectorError(RuntimeError(f"the durable store {self.path} was closed"))
        try:
            now = self._now(self._server)
            request = msgspec.json.decode(req, type=dict[str, Any])
            with self._server.transaction():
                response = self._server.answer(now, request)
                messages = self._server.take_messages(now) if self._pump is not None else []
            due = self._server.next_due()
        except (msgspec.MsgspecError, sqlite3.Error) as error:
            raise ConnectorError(error) from error
        if messages:
            asyncio.get_running_loop().call_soon(self._deliver, messages)
        if due is not None and due < self._sleeps_until:
            self._wake.set()
        return msgspec.json.encode(response).decode()

    def _now(self, server: StoreServer) -> int:
        """The time; when the clock was set back, what was about to happen is not late by as much."""
        now = self._clock()
        if now < self._told_time:
            server.offer_again(now)
        self._told_time = now
        return now

    def _deliver(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            text = msgspec.json.encode(message).decode()
            for receiver in tuple(self._receivers):
                receiver(text)

    async def _deliver_for_ever(self) -> None:
        """Deliver what falls due, and what other processes did."""
        self._seen = None
        while self._server is not None:
            self._wake.clear()
            try:
                due = self._deliver_what_is_new(self._server)
            except Exception as error:  # noqa: BLE001 - without this loop nothing would go on
                log.warning("durable_store_unavailable", path=str(self.path), error=repr(error))
                await asyncio.sleep(RETRY_S)
            else:
                await self._sleep(due)

    def _deliver_what_is_new(self, server: StoreServer) -> int | None:
        """Deliver, and tell when something is due next."""
        now = self._now(server)
        version, due = server.foreign_version(), server.next_due()
        if version != self._seen or (due is not None and due <= now):
            with server.transaction():
                messages = server.take_messages(now)
            self._deliver(messages)
            self._seen, due = version, server.next_due()
        return due

    async def _sleep(self, due: int | None) -> None:
        """Until something is due, or time to look for what others did: settle what is pending."""
        if due is None:  # nothing is pending
            self._sleeps_until = math.inf
            await self._wake.wait()
            return
        now = self._clock()
        self._sleeps_until = now + self._poll_s * 1000
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(self._poll_s, max(0.0, (due - now) / 1000)))
