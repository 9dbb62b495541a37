"""A pool of sessions that are ready before they are needed.

Every session that is handed out is one that nobody has used, unless its own tenant gets it back
(see :meth:`SessionPool.session`). Workers are forked from a warm template that has loaded the
``preload`` modules, see :mod:`stateroom.session.template_launcher`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from types import EllipsisType
from typing import Any, Self

import msgspec
import structlog

from ..config import SessionConfig
from ..errors import PoolTimeout, SessionClosed
from .helpers import Helpers
from .info import figures_of
from .pool_map import MapItem, map_over
from .pool_members import Member, Waiter
from .pool_policy import (
    Counts,
    PoolInfo,
    Retirement,
    WaitTimes,
    retirement,
    split_settings,
    to_evict,
    to_start,
)
from .session import Session
from .settings import load_config
from .template_launcher import TemplateLauncher

__all__ = ["SessionPool"]

WAITS_REMEMBERED = 1000
HEARTBEATS_MISSED = 5
"""So many intervals without a sign of life, and an idle session is replaced."""
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 30.0
"""Pauses between attempts to start sessions that nobody waits for, after failures."""
CLOSE_SLACK_S = 3.0

log = structlog.get_logger("stateroom.pool")


class SessionPool:
    """Sessions kept ready in the background; ``async with pool.session() as session:`` takes one.

    ``size`` is short for ``min_size`` and ``max_size``. Settings are the fields of
    :class:`~stateroom.config.PoolConfig` and, for the sessions, those of :class:`Session`.
    Use it as an async context manager, from one event loop.
    """

    def __init__(
        self, size: int | None = None, *, config: SessionConfig | None = None, **settings: Any
    ) -> None:
        self.config, others = split_settings(size, settings)
        self.session_config = config if config is not None else load_config(others)
        self._launcher: TemplateLauncher | None = None
        self._state = "new"
        self._idle: deque[Member] = deque()
        self._kept: deque[Member] = deque()
        self._busy: set[Member] = set()
        self._starting: dict[Member, asyncio.Task[Exception | None]] = {}
        self._closing: set[Member] = set()
        self._waiters: deque[Waiter] = deque()
        self._helpers = Helpers()
        self._end: asyncio.Task[None] | None = None
        self._housekeeper: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._created = self._acquired = self._timeouts = self._start_failures = 0
        self._recycled: Counter[Retirement] = Counter()
        self._waits_s: deque[float] = deque(maxlen=WAITS_REMEMBERED)

    def __repr__(self) -> str:
        return f"<SessionPool {self._state} {self._counts()}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Use

    @asynccontextmanager
    async def session(
        self, *, tenant: Hashable = None, acquire_timeout_s: float | EllipsisType | None = ...
    ) -> AsyncIterator[Session]:
        """A session for as long as the ``async with`` block lasts.

        It is one that nobody has used, with an empty namespace, and is thrown away after the block: files
        that a cell left on disk are the only thing that outlives it. The one exception takes two
        steps: with ``max_uses`` above 1, a session that was taken with a ``tenant`` is kept with all its
        variables, and given to a caller that names an equal tenant; to no other.

        Callers are served in the order in which they came. Raises :class:`PoolTimeout` after
        ``acquire_timeout_s`` (the pool's own, unless given; None for no limit), :class:`SessionClosed`,
        and :class:`WorkerStartError` if the session that was started for this caller did not come up.
        """
        limit_s = acquire_timeout_s if acquire_timeout_s is not ... else self.config.acquire_timeout_s
        member = await self._acquire(tenant, limit_s)
        try:
            yield member.session
        finally:
            self._release(member)

    def map(
        self,
        work: str | Callable[[Any], Any],
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int | None = None,
    ) -> AsyncIterator[MapItem]:
        """Do ``work`` for each input; yield ``(position, result)`` as results come, not in order.

        ``work`` is code, which finds the input as ``item`` and ends in an expression, or a function
        of one argument, plain or async. Functions and inputs travel to the worker by cloudpickle;
        back come plain values only, as :class:`ExecutionResult`. A failed input is a result with an error.

        At most ``concurrency`` sessions (default: ``max_size``) are taken, and inputs as they are
        needed. A session serves many inputs of this one call, so a module's state may carry over
        from one to the next. Close the iterator (``contextlib.aclosing``) to stop early.
        """
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: give at least 1")
        slots = min(concurrency or self.config.max_size, self.config.max_size)
        return map_over(self.session, self.session_config, work, inputs, slots)

    @property
    def info(self) -> PoolInfo:
        """Counters and figures, read now."""
        launcher, counts = self._launcher, self._counts()
        template = launcher.template if launcher is not None else None
        return PoolInfo(
            state=self._state,
            **counts._asdict(),
            created=self._created,
            acquired=self._acquired,
            timeouts=self._timeouts,
            start_failures=self._start_failures,
            recycled={str(reason): count for reason, count in self._recycled.items()},
            waits=WaitTimes.of(self._waits_s),
            template_pid=template.pid if template is not None and template.alive else None,
            templates_started=launcher.templates_started if launcher is not None else 0,
            spawns_instead=launcher.spawns_instead if launcher is not None else None,
        )

    # Life

    async def start(self) -> None:
        """Start the template and ``min_size`` sessions, and wait for them.

        Raises :class:`ConfigError` for a module of ``preload`` that cannot be imported, and what
        :meth:`Session.start` raises if a session does not come up; nothing is left running then.
        """
        if self._state != "new":
            raise SessionClosed(f"the pool is {self._state}; make another one")
        self._state = "starting"
        self._launcher = TemplateLauncher(self.session_config, self.config.preload)
        try:
            await self._launcher.start()
            self._state = "open"
            self._pump()
            failures = await asyncio.gather(*self._starting.values())
            for error in filter(None, failures):
                raise error
        except BaseException:
            await self.close()
            raise
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house())

    async def close(self) -> None:
        """End everything: waiting callers get :class:`SessionClosed`, sessions in use are closed as well.

        Bounded in time by ``close_grace_s``. Safe to call twice.
        """
        if self._end is None:
            self._state = "closing"
            self._end = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._end)

    async def _close(self) -> None:
        grace_s = self.session_config.close_grace_s
        for waiter in self._waiters:
            if not waiter.member.done():
                waiter.member.set_exception(SessionClosed("the pool was closed before a session came free"))
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        for task in self._starting.values():
            task.cancel()
        for member in [*self._idle, *self._kept, *self._busy, *self._starting]:
            self._helpers.run(member.session.close())
        tasks = [*self._helpers.tasks, *self._starting.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2 * grace_s + CLOSE_SLACK_S)
            if late:
                log.warning("sessions_not_closed", count=len(late))
        for group in (self._idle, self._kept, self._busy, self._closing, self._waiters):
            group.clear()
        self._starting.clear()
        if self._launcher is not None:
            await self._launcher.close(grace_s=grace_s)
        self._state = "closed"

    # Handing out and taking back

    async def _acquire(self, tenant: Hashable, limit_s: float | None) -> Member:
        if self._state != "open":
            raise SessionClosed(f"the pool is {self._state}; use 'async with' or start()")
        waiter = Waiter(tenant, self._now())
        self._waiters.append(waiter)
        self._pump()
        try:
            async with asyncio.timeout(limit_s):
                member = await waiter.member
        except TimeoutError:
            self._withdraw(waiter)
            self._timeouts += 1
            raise PoolTimeout(
                f"no session came free within {limit_s} s; all {self.config.max_size} are taken: "
                f"raise max_size or acquire_timeout_s ({self._counts()})"
            ) from None
        except BaseException:
            self._withdraw(waiter)
            raise
        self._waits_s.append(self._now() - waiter.since)
        self._acquired += 1
        return member

    def _withdraw(self, waiter: Waiter) -> None:
        """The caller is gone. If a session was given to it meanwhile, it is still unused: pass it on."""
        future = waiter.member
        if future.done() and not future.cancelled() and future.exception() is None:
            member = future.result()
            self._busy.discard(member)
            self._put_back(member)
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
        self._pump()

    def _put_back(self, member: Member) -> None:
        if member.session.state != "idle":
            self._retire(member, Retirement.DIED)
        else:
            (self._kept if member.uses else self._idle).appendleft(member)

    def _release(self, member: Member) -> None:
        if self._state != "open":
            return
        self._busy.discard(member)
        member.uses += 1
        member.idle_since = self._now()
        reason = self._reason_to_retire(member)
        if reason is None:
            self._kept.append(member)
        else:
            self._retire(member, reason)
        self._pump()

    def _reason_to_retire(self, member: Member) -> Retirement | None:
        """Of a session that comes back."""
        state = member.session.state
        if state == "broken":
            return Retirement.DIED
        if member.tenant is None or state == "closed":
            return Retirement.USED
        reason = self._retirement(member, spare=False)
        if reason is not None:
            return reason
        if state != "idle":
            return Retirement.BUSY
        first = next((waiter for waiter in self._waiters if not waiter.member.done()), None)
        return Retirement.ROOM if first is not None and first.tenant != member.tenant else None

    def _pump(self) -> None:
        """After every change: serve who waits, make room, start what is short."""
        if self._state != "open":
            return
        self._serve()
        for _ in range(to_evict(self.config, self._counts())):
            self._retire(self._kept.popleft(), Retirement.ROOM)
        config = self.config
        if self._now() < self._retry_at:  # what was started of late failed: only for those who ask
            config = msgspec.structs.replace(config, min_size=0)
        for _ in range(to_start(config, self._counts())):
            self._start_one()

    def _serve(self) -> None:
        while self._waiters:
            waiter = self._waiters[0]
            if not waiter.member.done():
                member = self._take(waiter.tenant)
                if member is None:
                    return
                self._busy.add(member)
                member.tenant = waiter.tenant
                waiter.member.set_result(member)
            self._waiters.popleft()

    def _take(self, tenant: Hashable) -> Member | None:
        """The session that this tenant had last, or one that nobody had."""
        if tenant is not None:
            for member in reversed(self._kept):
                if member.tenant == tenant:
                    self._kept.remove(member)
                    return member
        while self._idle:
            member = self._idle.popleft()
            reason = self._retirement(member, spare=False)
            if reason is None:
                return member
            self._retire(member, reason)
        return None

    # Coming and going of sessions

    def _start_one(self) -> None:
        session = Session(self.session_config, launcher=self._launch)
        member = Member(session, self._now())
        self._starting[member] = asyncio.get_running_loop().create_task(self._bring_up(member))

    async def _launch(self, config: SessionConfig) -> Any:
        assert self._launcher is not None
        return await self._launcher(config)

    async def _bring_up(self, member: Member) -> Exception | None:
        try:
            await member.session.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits to hear it
            del self._starting[member]
            self._start_failed(error)
            return error
        if self._state != "open":
            return None
        del self._starting[member]
        self._failures = 0
        self._created += 1
        member.born_at = member.idle_since = self._now()
        member.session.on_worker_lost = functools.partial(self._worker_lost, member)
        self._idle.append(member)
        self._pump()
        return None

    def _start_failed(self, error: Exception) -> None:
        """Tell the first caller in the queue; nobody there, try again after a pause that grows."""
        self._start_failures += 1
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.member.done():
                waiter.member.set_exception(error)
                break
        pause_s = min(RETRY_FIRST_S * 2**self._failures, RETRY_MOST_S)
        self._failures += 1
        self._retry_at = self._now() + pause_s
        if self._state == "open":
            log.warning("session_did_not_start", error=str(error), next_attempt_s=pause_s)
            asyncio.get_running_loop().call_later(pause_s, self._pump)
        self._pump()

    def _worker_lost(self, member: Member, _report: object) -> None:
        """A worker has ended; if its session is in use, its user is told by the session."""
        for group in (self._idle, self._kept):
            if member in group:
                group.remove(member)
                self._retire(member, Retirement.DIED)
                self._pump()
                return

    def _retire(self, member: Member, reason: Retirement) -> None:
        self._recycled[reason] += 1
        self._closing.add(member)
        self._helpers.run(self._bury(member))

    async def _bury(self, member: Member) -> None:
        try:
            await member.session.close()
        finally:
            self._closing.discard(member)
            self._pump()

    async def _keep_house(self) -> None:
        limits = [self.config.idle_timeout_s, self.config.max_age_s, 4.0]
        pause_s = min(limit for limit in limits if limit is not None) / 4
        while True:
            await asyncio.sleep(pause_s)
            self._look_after(self._idle)
            self._look_after(self._kept)
            self._pump()

    def _look_after(self, group: deque[Member]) -> None:
        """Throw out what is too old, too large, not needed, or does not answer."""
        for member in list(group):
            spare = group is self._kept or len(group) > self.config.ready_size
            reason = Retirement.SILENT if self._is_silent(member) else self._retirement(member, spare=spare)
            if reason is not None:
                group.remove(member)
                self._retire(member, reason)

    def _is_silent(self, member: Member) -> bool:
        interval_s = self.session_config.heartbeat_interval_s
        age_s = member.session.info.heartbeat_age_s if interval_s else None
        return age_s is not None and age_s > HEARTBEATS_MISSED * interval_s

    def _retirement(self, member: Member, *, spare: bool) -> Retirement | None:
        watched = self.config.max_memory_bytes is not None
        memory_bytes = figures_of(member.session.pid)[0] if watched else None
        return retirement(
            self.config,
            age_s=self._now() - member.born_at,
            uses=member.uses,
            memory_bytes=memory_bytes,
            idle_s=self._now() - member.idle_since,
            spare=spare,
        )

    # Small things

    def _counts(self) -> Counts:
        return Counts(
            idle=len(self._idle),
            kept=len(self._kept),
            busy=len(self._busy),
            starting=len(self._starting),
            closing=len(self._closing),
            waiting=sum(not waiter.member.done() for waiter in self._waiters),
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
