"""Which sessions of a pool may be handed out, as read from what they do now."""

from __future__ import annotations

import asyncio

from ..config import PoolConfig, SessionConfig
from .info import figures_of
from .pool_policy import Retirement, retirement
from .pool_roster import Member, Roster

__all__ = ["Health"]

HEARTBEATS_MISSED = 5
"""So many intervals without a sign of life, and an idle session is replaced."""


class Health:
    """Reads the age, the memory and the heartbeat of sessions."""

    def __init__(self, config: PoolConfig, session_config: SessionConfig, roster: Roster) -> None:
        self._config = config
        self._interval_s = session_config.heartbeat_interval_s
        self._roster = roster

    def __repr__(self) -> str:
        return f"<Health {self._roster!r}>"

    def pause_s(self) -> float:
        """How long to wait between two looks."""
        limits_s = [self._config.idle_timeout_s, self._config.max_age_s, 4.0]
        return min(limit_s for limit_s in limits_s if limit_s is not None) / 4

    def unfit(self) -> list[tuple[Member, Retirement]]:
        """Of the ready ones: what is too old, too large, not needed, or does not answer."""
        found = []
        left = len(self._roster.idle)
        for member in [*self._roster.idle, *self._roster.kept]:
            is_fresh = not member.uses
            reason = self.reason(member, spare=not is_fresh or left > self._config.ready_size)
            if self.is_silent(member):
                reason = Retirement.SILENT
            if reason is not None:
                found.append((member, reason))
                left -= is_fresh
        return found

    def is_silent(self, member: Member) -> bool:
        """Whether its worker has stopped giving signs of life."""
        age_s = member.session.info.heartbeat_age_s if self._interval_s else None
        return age_s is not None and age_s > HEARTBEATS_MISSED * (self._interval_s or 0)

    def reason_on_return(self, member: Member) -> Retirement | None:
        """Why a session that comes back is not kept for its tenant; None if it is."""
        state = member.session.state
        if state == "broken":
            return Retirement.DIED
        if member.tenant is None or state == "closed":
            return Retirement.USED
        reason = self.reason(member, spare=False)
        if reason is not None:
            return reason
        if state != "idle":
            return Retirement.BUSY
        first = self._roster.first_waiter()
        return Retirement.ROOM if first is not None and first.tenant != member.tenant else None

    def reason(self, member: Member, *, spare: bool) -> Retirement | None:
        """As :func:`retirement`, of this member now."""
        watched = self._config.max_memory_bytes is not None
        now = asyncio.get_running_loop().time()
        return retirement(
            self._config,
            age_s=now - member.born_at,
            uses=member.uses,
            memory_bytes=figures_of(member.session.pid)[0] if watched else None,
            idle_s=now - member.idle_since,
            spare=spare,
        )
