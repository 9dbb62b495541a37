"""Starts: a session in a new process, from the warm template, and from a pool."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from pool import MANY, PRELOAD, BareServer, first_results, from_pool

import stateroom
from stateroom.session.template_launcher import TemplateLauncher

from .contestants import Maker, makers, succeed
from .measuring import Comparison, Group, Plan, Sample

CELL = "6 * 7"


def cold(make: Maker, count: int) -> Sample:
    """From nothing to the first result of sessions that start at once; their end is not counted."""

    async def sample() -> list[float]:
        sessions = [make() for _ in range(count)]

        async def first(number: int) -> None:
            await sessions[number].start()
            assert (await succeed(sessions[number], CELL)).value == "42"

        begin = time.perf_counter()
        await asyncio.gather(*map(first, range(count)))
        taken = time.perf_counter() - begin
        for session in sessions:
            await session.close()
        return [taken]

    return sample


async def cold_start(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """One session, and ten at once; of a peer that takes seconds only one."""
    kinds = makers(plan)
    one = {kind: cold(make, 1) for kind, make in kinds.items()}
    ten = {kind: cold(make, MANY) for kind, make in kinds.items() if kind != "ipykernel"}
    return [
        Comparison(name="first result", contestants=one, rounds=9),
        Comparison(name=f"first results, {MANY} at once", contestants=ten, rounds=5),
    ]


def once(seconds: Callable[[], Awaitable[float]]) -> Sample:
    """A sample of what measures itself."""

    async def sample() -> list[float]:
        return [await seconds()]

    return sample


async def pool(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Forked on demand, and ready before they are asked for; numpy is loaded in all of them."""
    if not importlib.util.find_spec("numpy"):
        plan.note("numpy is not installed: pools are not measured")
        return []
    bare = BareServer()
    stack.callback(bare.close)
    launcher = TemplateLauncher(stateroom.SessionConfig(), PRELOAD)
    await launcher.start()
    stack.push_async_callback(partial(launcher.close, grace_s=2))
    ready = await stack.enter_async_context(stateroom.SessionPool(size=MANY, preload=PRELOAD))
    return [
        Comparison(
            name="first result" if count == 1 else f"first results, {count} at once",
            contestants={
                "from the template": once(partial(first_results, launcher, count)),
                "ready in a pool": once(partial(from_pool, ready, count)),
                "bare fork server": once(partial(bare.first_results, count)),
            },
            base="bare fork server",
            rounds=rounds,
        )
        for count, rounds in ((1, 31), (MANY, 11))
    ]


GROUPS = [
    Group("cold_start", "from nothing to the first result, in a new process", cold_start),
    Group("pool", "sessions forked from the template, and ready in a pool", pool),
]
