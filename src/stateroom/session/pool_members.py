"""What a pool keeps book of: its sessions, and the callers who wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from .session import Session

__all__ = ["Member", "Waiter"]


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
        return f"<Waiter tenant={self.tenant!r} {'served' if self.member.done() else 'waiting'}>"
