"""The sessions that are measured side by side: this project's, the floor, and installed peers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

import floor
from adapters import stateroom_session
from adapters.stateroom_session import OnInput, OnOutput, Outcome

from .measuring import Plan
from .placement import move, own_core


class AnySession(Protocol):
    """The shape that the adapters have."""

    pid: int | None

    async def start(self) -> None:
        """Return when cells can be sent."""

    async def execute(
        self, code: str, on_output: OnOutput | None = None, on_input: OnInput | None = None
    ) -> Outcome:
        """Run a cell."""

    async def execute_many(self, codes: list[str]) -> None:
        """Run cells in order, sent at once."""

    async def interrupt(self) -> None:
        """End the running cell."""

    async def close(self) -> None:
        """End the process."""


Maker = Callable[[], AnySession]


def makers(plan: Plan) -> dict[str, Maker]:
    """All kinds of sessions that can be had here; a missing peer is noted."""
    found: dict[str, Maker] = {"stateroom": stateroom_session.Session, "floor": floor.Session}
    if not plan.peers:
        return found
    if importlib.util.find_spec("ipykernel"):
        from adapters import ipykernel_session

        found["ipykernel"] = ipykernel_session.Session
    else:
        plan.note("ipykernel is not installed: measured without it (pip install ipykernel)")
    return found


async def opened(
    plan: Plan, stack: AsyncExitStack, prelude: str = "", **more: Maker
) -> dict[str, AnySession]:
    """One started session of each kind, and of ``more`` kinds, in which ``prelude`` has run."""
    sessions = {}
    core = stack.enter_context(own_core(plan))
    for name, make in {**makers(plan), **more}.items():
        session = make()
        await session.start()
        stack.push_async_callback(session.close)
        if core is not None and session.pid is not None:
            move(session.pid, core)
        await succeed(session, prelude)
        sessions[name] = session
    return sessions


async def succeed(session: AnySession, code: str, on_output: OnOutput | None = None) -> Outcome:
    """Run a cell that may not fail."""
    outcome = await session.execute(code, on_output)
    assert outcome.ok, f"{code[:60]!r} ended with {outcome.error}"
    return outcome
