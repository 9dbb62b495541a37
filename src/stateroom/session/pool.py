"""A pool of sessions that are ready before they are needed.

Every session that is handed out is one that nobody has used, unless its own tenant gets it back
(see :meth:`SessionPool.session`). Workers are forked from a warm template that has loaded the
``preload`` modules, see :mod:`stateroom.session.template_launcher`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from types import EllipsisType
from typing import Any, Self

import msgspec

from ..config import SessionConfig
from ..errors import PoolTimeout, SessionClosed
from ..logs import get_logger
from .arguments import check_inputs, check_launcher, check_timeout, check_work
from .background_tasks import BackgroundTasks
from .launcher import Launcher
from .pool_health import Health
from .pool_info import PoolFigures, PoolInfo
from .pool_map import MapItem, map_over
from .pool_policy import Retirement, check_sessions, split_settings, to_evict, to_start
from .pool_roster import Member, Roster, Waiter
from .session import Session
from .settings import load_config
from .template_launcher import TemplateLauncher

__all__ = ["SessionPool"]

RETRY_FIRST_S, RETRY_MOST_S = 0.5, 30.0
"""Pauses between attempts to start sessions that nobody waits for, after failures."""
CLOSE_SLACK_S = 3.0

log = get_logger("stateroom.pool")


class SessionPool:
    """Sessions kept ready in the background; ``async with pool.session() as session:`` takes one.

    ``size`` is short for ``min_size`` and ``max_size``; one of these given besides stands. Settings are the
    fields of :class:`~stateroom.config.PoolConfig` and, for the sessions, those of :class:`Session`.
    Workers come from ``launcher``, if one is given, and else from a template, which ``preload`` is for.
    Use it as an async context manager, from one event loop.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        config: SessionConfig | None = None,
        launcher: Launcher | None = None,
        **settings: Any,
    ) -> None:
        self.config, others = split_settings(size, settings)
        self.session_config = load_config(config, others)
        """The settings of its sessions."""
        check_sessions(self.session_config)
        if launcher is not None:
            check_launcher(launcher)
        self._given_launcher = launcher
        self._launcher: TemplateLauncher | None = None
        self._state = "new"
        self._roster = Roster()
        self._figures = PoolFigures()
        self._health = Health(self.config, self.session_config, self._roster)
        self._background = BackgroundTasks()
        self._end: asyncio.Task[None] | None = None
        self._housekeeper: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at = 0.0

    def __repr__(self) -> str:
        return f"<SessionPool {self._state} {self._roster.counts()}>"

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
        timeout: float | None = None,
    ) -> AsyncIterator[MapItem]:
        """Do ``work`` for each input; yield ``(position, result)`` as results come, not in order.

        ``work`` is code, which finds the input as ``item`` and ends in an expression, or a function
        of one argument, plain or async. ``timeout`` (seconds) limits the work for each input, as that of
        :meth:`Session.run` limits a cell. Functions and inputs travel to the worker by cloudpickle;
        back come plain values only, as :class:`ExecutionResult`. A failed input is a result with an error.

        At most ``concurrency`` sessions (default: ``max_size``) are taken, and inputs as they are
        needed. A session serves many inputs of this one call, so a module's state may carry over
        from one to the next. Close the iterator (``contextlib.aclosing``) to stop early.
        """
        check_work(work)
        check_inputs(inputs)
        check_timeout(timeout)
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: give at least 1")
        slots = min(concurrency or self.config.max_size, self.config.max_size)
        return map_over(self.session, self.session_config, work, inputs, slots=slots, timeout_s=timeout)

    @property
    def info(self) -> PoolInfo:
        """Counters and figures, read now."""
        return self._figures.info(self._state, self._roster.counts(), self._launcher)

    # Life

    async def start(self) -> None:
        """Start the template and ``min_size`` sessions, and wait for them.

        Raises :class:`ConfigError` for a module of ``preload`` that cannot be imported, and what
        :meth:`Session.start` raises if a session does not come up; nothing is left running then.
        """
        if self._state != "new":
            raise SessionClosed(f"the pool is {self._state}; make another one")
        self._state = "starting"
        try:
            if self._given_launcher is None:
                self._launcher = TemplateLauncher(self.session_config, self.config.preload)
                await self._launcher.start()
            self._state = "open"
            self._pump()
            failures = await asyncio.gather(*self._roster.starting.values())
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
        while (waiter := self._roster.first_waiter()) is not None:
            waiter.member.set_exception(SessionClosed("the pool was closed before a session came free"))
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        for task in self._roster.starting.values():
            task.cancel()
        for member in self._roster.members():
            self._background.run(member.session.close())
        tasks = [*self._background.tasks, *self._roster.starting.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2 * grace_s + CLOSE_SLACK_S)
            if late:
                log.warning("sessions_not_closed", count=len(late))
        self._roster.clear()
        if self._launcher is not None:
            await self._launcher.close(grace_s=grace_s)
        self._state = "closed"

    # Handing out and taking back

    async def _acquire(self, tenant: Hashable, limit_s: float | None) -> Member:
        if self._state != "open":
            raise SessionClosed(f"the pool is {self._state}; use 'async with' or start()")
        waiter = Waiter(tenant, self._now())
        self._roster.waiters.append(waiter)
        self._pump()
        try:
            async with asyncio.timeout(limit_s):
                member = await waiter.member
        except TimeoutError:
            self._withdraw(waiter)
            self._figures.timeouts += 1
            raise PoolTimeout(
                f"no session came free within {limit_s} s; all {self.config.max_size} are taken: "
                f"raise max_size or acquire_timeout_s ({self._roster.counts()})"
            ) from None
        except BaseException:
            self._withdraw(waiter)
            raise
        self._figures.waits_s.append(self._now() - waiter.since)
        self._figures.acquired += 1
        return member

    def _withdraw(self, waiter: Waiter) -> None:
        """The caller is gone. If a session was given to it meanwhile, it is still unused: pass it on."""
        future = waiter.member
        if future.done() and not future.cancelled() and future.exception() is None:
            member = future.result()
            self._roster.busy.discard(member)
            self._put_back(member)
        elif waiter in self._roster.waiters:
            self._roster.waiters.remove(waiter)
        self._pump()

    def _put_back(self, member: Member) -> None:
        if member.session.state != "idle":
            self._retire(member, Retirement.DIED)
        else:
            self._roster.put_back(member)

    def _release(self, member: Member) -> None:
        if self._state != "open":
            return
        self._roster.busy.discard(member)
        member.uses += 1
        member.idle_since = self._now()
        reason = self._health.reason_on_return(member)
        if reason is None:
            self._roster.kept.append(member)
        else:
            self._retire(member, reason)
        self._pump()

    def _pump(self) -> None:
        """After every change: serve who waits, make room, start what is short."""
        if self._state != "open":
            return
        self._serve()
        for _ in range(to_evict(self.config, self._roster.counts())):
            self._retire(self._roster.kept.popleft(), Retirement.ROOM)
        config = self.config
        if self._now() < self._retry_at:  # what was started of late failed: only for those who ask
            config = msgspec.structs.replace(config, min_size=0)
        for _ in range(to_start(config, self._roster.counts())):
            self._start_one()

    def _serve(self) -> None:
        while (waiter := self._roster.first_waiter()) is not None:
            member = self._take(waiter.tenant)
            if member is None:
                return
            self._roster.serve(waiter, member)

    def _take(self, tenant: Hashable) -> Member | None:
        """The session that this tenant had last, or one that nobody had."""
        while (member := self._roster.take_ready(tenant)) is not None:
            reason = self._health.reason(member, spare=False)
            if reason is None:
                return member
            self._retire(member, reason)
        return None

    # Coming and going of sessions

    def _start_one(self) -> None:
        session = Session(self.session_config, launcher=self._launch)
        member = Member(session, self._now())
        self._roster.starting[member] = asyncio.get_running_loop().create_task(self._bring_up(member))

    async def _launch(self, config: SessionConfig) -> Any:
        launcher = self._given_launcher or self._launcher
        assert launcher is not None
        return await launcher(config)

    async def _bring_up(self, member: Member) -> Exception | None:
        try:
            await member.session.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits to hear it
            del self._roster.starting[member]
            self._start_failed(error)
            return error
        if self._state != "open":
            return None
        del self._roster.starting[member]
        self._failures = 0
        self._figures.created += 1
        member.born_at = member.idle_since = self._now()
        member.session.on_worker_lost = functools.partial(self._worker_lost, member)
        self._roster.idle.append(member)
        self._pump()
        return None

    def _start_failed(self, error: Exception) -> None:
        """Tell the first caller in the queue; nobody there, try again after a pause that grows."""
        self._figures.start_failures += 1
        if (waiter := self._roster.first_waiter()) is not None:
            waiter.member.set_exception(error)
        pause_s = min(RETRY_FIRST_S * 2**self._failures, RETRY_MOST_S)
        self._failures += 1
        self._retry_at = self._now() + pause_s
        if self._state == "open":
            log.warning("session_did_not_start", error=str(error), next_attempt_s=pause_s)
            asyncio.get_running_loop().call_later(pause_s, self._pump)
        self._pump()

    def _worker_lost(self, member: Member, _report: object) -> None:
        """A worker has ended; if its session is in use, its user is told by the session."""
        if self._roster.take_out(member):
            self._retire(member, Retirement.DIED)
            self._pump()

    def _retire(self, member: Member, reason: Retirement) -> None:
        self._figures.recycled[reason] += 1
        self._roster.closing.add(member)
        self._background.run(self._bury(member))

    async def _bury(self, member: Member) -> None:
        try:
            await member.session.close()
        finally:
            self._roster.closing.discard(member)
            self._pump()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self._health.pause_s())
            self._look_after()

    def _look_after(self) -> None:
        for member, reason in self._health.unfit():
            self._roster.take_out(member)
            self._retire(member, reason)
        self._pump()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
