"""Round trips: short cells, cells that were seen before and new ones, and many in a row."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from functools import partial

from engine_compile import BIG

from .contestants import AnySession, opened, succeed
from .measuring import Comparison, Group, Plan, Sample, repeated

SHORT = {
    "pass": "pass",
    "1+1": "1+1",
    "await asyncio.sleep(0)": "await asyncio.sleep(0)",
    "time.sleep(0), which blocks": "time.sleep(0)",
}
IN_A_ROW = 500
_numbers = itertools.count()


async def round_trip(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """One short cell after the other."""
    sessions = await opened(plan, stack, "import asyncio, time")
    count = plan.count(100)
    return [
        Comparison(
            name=name,
            contestants={
                kind: repeated(partial(session.execute, code), count if kind != "ipykernel" else count // 10)
                for kind, session in sessions.items()
            },
            rounds=41,
        )
        for name, code in SHORT.items()
    ]


async def cache(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """A long cell, again and again, and with a text of its own each time."""
    sessions = await opened(plan, stack)
    lines = BIG.count("\n")

    async def changed(session: AnySession) -> None:
        await succeed(session, f"{BIG}# {next(_numbers)}\ntotal_1")

    return [
        Comparison(
            name=f"{lines} lines seen before",
            contestants={k: repeated(partial(s.execute, BIG), plan.count(30)) for k, s in sessions.items()},
        ),
        Comparison(
            name=f"{lines} lines, new each time",
            contestants={k: repeated(partial(changed, s), plan.count(20)) for k, s in sessions.items()},
        ),
    ]


async def back_to_back(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Cells that are sent before the ones in front of them have ended."""
    sessions = await opened(plan, stack)

    def sample(session: AnySession) -> Sample:
        return repeated(lambda: session.execute_many(["1+1"] * IN_A_ROW), 1)

    contestants = {kind: sample(session) for kind, session in sessions.items()}
    return [
        Comparison(
            name=f"{IN_A_ROW} cells at once",
            contestants=contestants,
            rounds=11,
            amount=IN_A_ROW,
            unit="cells/s",
        )
    ]


GROUPS = [
    Group("round_trip", "no-op, expression, small await, small blocking call", round_trip),
    Group("cache", "a long cell that was seen before, and a new one", cache),
    Group("back_to_back", "cells sent without waiting", back_to_back),
]
