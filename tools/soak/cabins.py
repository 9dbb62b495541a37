"""The sessions of the soak, of all kinds, each with the model of what its namespace may hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from cells import Cell, End
from figures import Figures
from logs import Provoked
from trail import Trail

import stateroom
from stateroom.protocol.messages import InputMessage, OutputMessage, ToSession

__all__ = ["IMPATIENT", "KINDS", "Cabin", "Kind", "common_settings"]

ITSELF: End = "itself"
POLL_S = 0.005


@dataclass(frozen=True)
class Kind:
    """What a session is set up for, and what may be done to it."""

    name: str
    ends: frozenset[End]
    rough: bool
    """Its worker may be killed, it may be restarted and closed."""
    settings: dict[str, Any]
    pooled: bool = False
    tenant: bool = False
    stored: bool = False
    steps: tuple[int, int] = (5, 60)
    """How many steps a session lives."""


GENTLE: frozenset[End] = frozenset({"itself", "cancel"})
ROUGH: frozenset[End] = frozenset({"itself", "cancel", "insist", "force", "death"})
COUNT_BLOCKS = """
import gc, sys
for name in ("last_exc", "last_type", "last_value", "last_traceback"):
    sys.__dict__.pop(name, None)  # the frames of the last error hold what its cell had
Out.clear()
gc.collect()
sys.getallocatedblocks() - len(globals().get("trail", ()))
"""
PATIENT: dict[str, Any] = {"cancel_grace_s": 30.0, "insist_grace_s": 30.0}
IMPATIENT: dict[str, Any] = {"cancel_grace_s": 0.5, "insist_grace_s": 1.0}
RECOVERING = {**IMPATIENT, "auto_restart": True, "checkpoint_every_cells": 4}

OLD_HAND = Kind(
    "old hand",
    GENTLE,
    rough=False,
    # Small histories, which are full before its memory is looked at.
    settings={**PATIENT, "source_cache_size": 100, "history_size": 100},
    steps=(1 << 60, 1 << 60),
)
KINDS = [
    Kind("plain", ROUGH, rough=True, settings=IMPATIENT),
    Kind("pooled", ROUGH, rough=True, settings={}, pooled=True, steps=(1, 15)),
    Kind("recovering", ROUGH, rough=True, settings=RECOVERING),
    Kind("patient", GENTLE, rough=False, settings=PATIENT),
    Kind("tenant", ROUGH, rough=True, settings={}, pooled=True, tenant=True, steps=(1, 15)),
    Kind("stored", ROUGH, rough=True, settings=RECOVERING, stored=True),
]


def common_settings() -> dict[str, Any]:
    """Of all sessions: what they keep is bounded, so that a flat line of memory can be seen."""
    return {"history_size": 2, "max_output_bytes": 2 << 20, "source_cache_size": 64, "code_cache_size": 64}


class Cabin:
    """One caller, with one session at a time: opens it, looks into it, closes it."""

    def __init__(self, index: int, seed: int, figures: Figures, store: str) -> None:
        self.index = index
        self.kind = OLD_HAND if index == 0 else KINDS[(index - 1) % len(KINDS)]
        self.figures = figures
        self.doing = "nothing yet"
        self.session: stateroom.Session | None = None
        self.pool: stateroom.SessionPool | None = None
        self.trail = self._fresh_trail()
        self.late: dict[str, str] = {}
        """Output that came after the end of its cell, by cell."""
        self.seen_chars: Counter[str] = Counter()
        """Output that the interceptor saw, by cell."""
        self.saved: list[tuple[stateroom.Checkpoint, list[tuple[int, ...]]]] = []
        self._store = store
        self._names = itertools.count(1)
        self._stack = contextlib.AsyncExitStack()
        self._dice = Random(f"{seed}/{index}/callbacks")
        self._name = ""
        self._lives = 0

    def __repr__(self) -> str:
        return f"<Cabin {self.index} {self.kind.name}, {self.doing}; {self.session!r}>"

    @property
    def open_session(self) -> stateroom.Session:
        """The session, which must be open."""
        assert self.session is not None
        return self.session

    async def open(self) -> None:
        """Open a session, with a fresh model or, if it has a past, the model of that."""
        started = asyncio.get_running_loop().time()
        if self.kind.pooled:
            await self._take_from_pool()
        else:
            await self._open_own()
        self.figures.latency("open" + (" (pool)" if self.kind.pooled else ""), self._since(started))
        self.figures.count("sessions opened")
        session = self.open_session
        session.on_late_output = self._take_late
        session.on_worker_lost = lambda _report: self.figures.count("workers lost")
        session.add_message_interceptor(self._see)
        if self._dice.random() < 0.2:
            session.add_message_interceptor(self._see_slowly)

    async def close(self) -> None:
        """Close it, or give it back."""
        session, self.session = self.session, None
        if session is None:
            return
        session.remove_message_interceptor(self._see)
        with contextlib.suppress(ValueError):
            session.remove_message_interceptor(self._see_slowly)
        self._count_cancels(session)
        was_idle = session.state == "idle"
        started = asyncio.get_running_loop().time()
        if self.kind.pooled:
            await self._stack.aclose()
        else:
            await session.close()
            assert session.state == "closed", session
            self.figures.latency("close", self._since(started))
        self.closed(saved=was_idle)

    def closed(self, *, saved: bool) -> None:
        """Tell the model that the session was closed; ``saved``: surely with all that it had."""
        self.late.clear()
        self.seen_chars.clear()
        if self.kind.stored:
            self.trail.saved() if saved else self.trail.may_have_saved()
        elif self.kind.tenant:
            self.trail.may_begin_empty()
        else:
            self.trail = self._fresh_trail()
            self.saved.clear()
        if self.kind.stored:
            self.trail.restored(self.trail.kept)

    async def count_blocks(self) -> int:
        """Living blocks of the worker's allocator, when it holds no results of cells any more."""
        for _ in range(4):
            await self.open_session.run("0")
        return int((await self.open_session.run(COUNT_BLOCKS, check=True)).value)

    async def forget(self) -> None:
        """Something went wrong: start from nothing."""
        self._lives = 0
        self.saved.clear()
        with contextlib.suppress(Exception):
            await self.open_session.close()  # of a pool, too: nobody gets it again
        with contextlib.suppress(Exception):
            await self.close()
        self._name = ""
        self.trail = self._fresh_trail()

    async def settle(self) -> bool:
        """See that there is a session with a worker; whether it had to be opened anew."""
        session = self.open_session
        while session.state in ("starting", "restarting", "closing"):
            await asyncio.sleep(POLL_S)
        if session.state == "broken":
            self.figures.count("restarts by the caller")
            await session.restart()
        if session.state != "closed":
            return False
        self.session = None
        if self.kind.pooled:
            await self._stack.aclose()
        return True

    def answer(self, cell: Cell) -> Any:
        """The ``on_input`` of a cell."""
        if cell.answer == "none":
            return None
        return {
            "text": self._say_text,
            "eof": self._say_eof,
            "error": self._fail,
            "never": self._say_nothing,
        }[cell.answer]

    async def _open_own(self) -> None:
        settings = {**common_settings(), **self.kind.settings}
        if self.kind.stored:
            if not self._name or self._lives >= 3:
                self._name, self._lives = f"cabin-{self.index}-{next(self._names)}", 0
                self.trail = self._fresh_trail()
                self.saved.clear()
            self._lives += 1
            settings |= {"store": self._store, "name": self._name}
        session = stateroom.Session(**settings)
        await session.start()
        self.session = session

    async def _take_from_pool(self) -> None:
        assert self.pool is not None
        tenant = f"tenant {self.index}" if self.kind.tenant else None
        while True:
            limit_s = 0.02 if self._dice.random() < 0.1 else 60.0
            taken = self.pool.session(tenant=tenant, acquire_timeout_s=limit_s)
            try:
                self.session = await self._stack.enter_async_context(taken)
                return
            except stateroom.PoolTimeout:
                self.figures.count("pool timeouts")
                assert limit_s < 1, "a session of the pool did not come free for a minute"

    def _fresh_trail(self) -> Trail:
        return Trail(self.kind.settings.get("checkpoint_every_cells"))

    def _since(self, started: float) -> float:
        return asyncio.get_running_loop().time() - started

    def _count_cancels(self, session: stateroom.Session) -> None:
        info = session.info
        cancels, count = info.cancels, self.figures.count
        count("cancels requested", cancels.requested)
        count("cancels effective", cancels.effective)
        count("cancels without effect", cancels.no_op)
        count("cancels that insisted", cancels.escalated)
        count("hard stops", cancels.hard_stops)
        count("restarts", info.restarts)
        count("messages", info.messages)

    # Callbacks

    def _take_late(self, message: OutputMessage) -> None:
        key = str(message.execution_id)
        self.late[key] = self.late.get(key, "") + message.data
        self._sometimes_fail()

    def _see(self, message: ToSession) -> None:
        if isinstance(message, OutputMessage):
            self.seen_chars[str(message.execution_id)] += len(message.data)
            self._sometimes_fail()

    async def _see_slowly(self, _message: ToSession) -> None:
        await asyncio.sleep(self._dice.random() * 0.002)
        self._sometimes_fail()

    def _sometimes_fail(self) -> None:
        if self._dice.random() < 0.01:
            raise Provoked

    async def _say_text(self, _message: InputMessage) -> str:
        await asyncio.sleep(self._dice.random() * 0.01)
        return "text"

    def _say_eof(self, _message: InputMessage) -> str:
        raise EOFError("nothing to say")

    def _fail(self, _message: InputMessage) -> str:
        raise Provoked("no answer")

    async def _say_nothing(self, _message: InputMessage) -> str:
        await asyncio.Event().wait()
        return "never"
