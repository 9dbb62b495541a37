"""What a pool keeps book of: its sessions, and the callers who wait for one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Any

from .pool_policy import Counts
from .session import Session

__all__ = ["Member", "Roster", "Waiter"]


class Member:
    """One session of the pool. ``tenant`` is who had it, if it may have it again."""

    def __init__(self, session: Session, now: float) -> None:
        self.session = session
        self.born_at = self.idle_since = now
        self.uses = 0
        self.tenant: Hashable = None

    def __repr__(self) -> str:
        return f"<Member uses={self.uses} tenant={self.tenant!r} {self.session!r}>"


class Waiter:
    """One caller in the queue."""

    def __init__(self, tenant: Hashable, since: float) -> None:
        self.tenant = tenant
        self.since = since
        self.member: asyncio.Future[Member] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<Waiter tenant={self.tenant!r} {'served' if self.is_served else 'waiting'}>"

    @property
    def is_served(self) -> bool:
        """Whether it has a session, or an error, or does not wait any more."""
        return self.member.done()


class Roster:
    """Where each session of a pool stands, and the queue of those who wait for one."""

    def __init__(self) -> None:
        self.idle: deque[Member] = deque()
        """Ready and never used."""
        self.kept: deque[Member] = deque()
        """Ready for the tenant that used it before."""
        self.busy: set[Member] = set()
        self.starting: dict[Member, asyncio.Task[Any]] = {}
        self.closing: set[Member] = set()
        self.waiters: deque[Waiter] = deque()

    def __repr__(self) -> str:
        return f"<Roster {self.counts()}>"

    def counts(self) -> Counts:
        """How many there are of each."""
        return Counts(
            idle=len(self.idle),
            kept=len(self.kept),
            busy=len(self.busy),
            starting=len(self.starting),
            closing=len(self.closing),
            waiting=sum(not waiter.is_served for waiter in self.waiters),
        )

    def members(self) -> list[Member]:
        """All sessions that are not closing yet."""
        return [*self.idle, *self.kept, *self.busy, *self.starting]

    def first_waiter(self) -> Waiter | None:
        """Who waits longest; those that were served or have gone meanwhile are taken out."""
        while self.waiters and self.waiters[0].is_served:
            self.waiters.popleft()
        return self.waiters[0] if self.waiters else None

    def serve(self, waiter: Waiter, member: Member) -> None:
        """Give it to the one who waits longest."""
        self.waiters.remove(waiter)
        self.busy.add(member)
        member.tenant = waiter.tenant
        waiter.member.set_result(member)

    def take_ready(self, tenant: Hashable) -> Member | None:
        """The session that this tenant had last, or one that nobody had; None if there is neither."""
        if tenant is not None:
            for member in reversed(self.kept):
                if member.tenant == tenant:
                    self.kept.remove(member)
                    return member
        return self.idle.popleft() if self.idle else None

    def put_back(self, member: Member) -> None:
        """It was handed out to nobody after all, and is the next to go."""
        (self.kept if member.uses else self.idle).appendleft(member)

    def take_out(self, member: Member) -> bool:
        """Whether it was ready; then it is no more."""
        for group in (self.idle, self.kept):
            if member in group:
                group.remove(member)
                return True
        return False

    def clear(self) -> None:
        """Forget all of them."""
        for group in (self.idle, self.kept, self.busy, self.closing, self.waiters, self.starting):
            group.clear()
