"""Control: from a cancel to the result, and what moving the event loop costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack

from cancel_latency import CELLS, PRELUDE, SETTLE_S
from handover import TICK, handover_moves

import stateroom

from .contestants import AnySession, opened
from .measuring import Comparison, Group, Plan, Sample, repeated_in
from .placement import own_core

CANCELLED = ("time.sleep", "while True: pass", "regex", "await")
BLOCKED_S = 0.1


def cancels(session: AnySession, code: str, count: int) -> Sample:
    """From the request until the result is here; that the cell gets going is not counted."""

    async def once() -> float:
        running = asyncio.Event()
        cell = asyncio.create_task(session.execute(code, lambda _: running.set()))
        try:
            await running.wait()
            await asyncio.sleep(SETTLE_S)
            begin = time.perf_counter()
            request = asyncio.create_task(session.interrupt())
            outcome = await cell
            taken = time.perf_counter() - begin
            await request
        finally:
            cell.cancel()
        assert not outcome.ok, "the cell was not cancelled"
        return taken

    async def sample() -> list[float]:
        return [await once() for _ in range(count)]

    return sample


async def cancel(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Beside the floor, which has nothing but SIGINT and KeyboardInterrupt."""
    sessions = await opened(plan, stack, PRELUDE)
    count = plan.count(15)
    return [
        Comparison(
            name=name,
            contestants={
                kind: cancels(session, CELLS[name], count if kind != "ipykernel" else 3)
                for kind, session in sessions.items()
            },
        )
        for name in CANCELLED
    ]


class PingPong:
    """Two threads that wake each other: the least that work for another thread can cost."""

    def __init__(self) -> None:
        self._ping, self._pong = threading.Lock(), threading.Lock()
        self._ping.acquire()
        self._pong.acquire()
        self._over = False
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while not self._over:
            self._ping.acquire()
            self._pong.release()

    def there_and_back(self) -> None:
        """Wake the other thread and wait until it has answered."""
        self._ping.release()
        self._pong.acquire()

    def close(self) -> None:
        """End the other thread."""
        self._over = True
        self.there_and_back()
        self._thread.join()


def ticks(session: stateroom.Session, code: str) -> Sample:
    """Time for each tick of a background task while a cell of that kind runs."""

    async def sample() -> list[float]:
        await session.run("gaps.clear()", check=True)
        await session.run(code, check=True)
        count, elapsed = (await session.run("len(gaps), sum(gaps)", check=True)).value
        return [elapsed / count]

    return sample


async def moves(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """The moves of a loop that stands still, in a thread of their own: here, a loop runs."""
    home = stack.enter_context(ThreadPoolExecutor(1))
    inner = ExitStack()
    stack.callback(lambda: home.submit(inner.close).result())

    def enter() -> tuple[dict[str, Callable[[], None]], PingPong]:
        inner.enter_context(own_core(plan))  # threads that share the interpreter's lock gain nothing by two
        threads = PingPong()
        inner.callback(threads.close)
        return inner.enter_context(handover_moves()), threads

    found, threads = home.submit(enter).result()
    base = repeated_in(home, threads.there_and_back, plan.count(500))
    return [
        Comparison(
            name=name,
            contestants={"stateroom": repeated_in(home, move, plan.count(500)), "two threads": base},
            base="two threads",
        )
        for name, move in found.items()
    ]


async def handover(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """The moves themselves beside two threads that wake each other, and a task's pace in a session."""
    comparisons = await moves(plan, stack)
    session = await stack.enter_async_context(stateroom.Session())
    await session.run(TICK, check=True)
    kinds = {
        "time.sleep": f"time.sleep({BLOCKED_S})",
        "blocks undetected": f"hidden['sleep']({BLOCKED_S})",
        "await": f"await asyncio.sleep({BLOCKED_S})",
    }
    pace = {name: ticks(session, code) for name, code in kinds.items()}
    return [*comparisons, Comparison(name="tick of a background task", contestants=pace, base="await")]


GROUPS = [
    Group("cancel", "from the request to the result, by what the cell is doing", cancel),
    Group("handover", "moving the event loop, and the pace of background tasks", handover),
]
