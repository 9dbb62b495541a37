"""Output: many lines, one big print, the first byte, and bursts of messages through the router."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

from adapters import stateroom_session

from .contestants import AnySession, opened, succeed
from .measuring import Comparison, Group, Plan, Sample, repeated

LINES = 200_000
MANY_LINES = f"for i in range({LINES}): print(i)"
BIG_BYTES = 50_000_000
BIG_PRINT = f"print('x' * {BIG_BYTES - 1})"
BURST = 5_000
FLUSHED = f"for i in range({BURST}): print(i, flush=True)"
FIRST = "print(time.time()); time.sleep(0.02)"
FLOOD_TIMEOUT_S = 30


async def all_received(session: AnySession, code: str, count: int) -> None:
    """Run a cell and hold all characters that it prints."""
    out = (await asyncio.wait_for(succeed(session, code), FLOOD_TIMEOUT_S)).out
    assert len(out) == count, f"{len(out)} of {count} characters came"


def first_bytes(session: AnySession, count: int) -> Sample:
    """From the print in the cell until the text is here, while the cell goes on."""

    async def sample() -> list[float]:
        late: list[float] = []

        def on_output(text: str) -> None:
            if text.strip():
                late.append(time.time() - float(text))

        for _ in range(count):
            await succeed(session, FIRST, on_output)
        return late

    return sample


async def output(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Speeds, all output counted, and the delay of the first text."""
    sessions = await opened(plan, stack, "import time")
    line_chars = sum(len(str(i)) + 1 for i in range(LINES))
    floods = {
        "200,000 lines": (MANY_LINES, line_chars, LINES / 1e3, "klines/s"),
        "one print of 50 MB": (BIG_PRINT, BIG_BYTES, BIG_BYTES / 1e6, "MB/s"),
    }
    comparisons = [
        Comparison(
            name=name,
            contestants={k: repeated(partial(all_received, s, code, chars), 1) for k, s in sessions.items()},
            amount=amount,
            unit=unit,
        )
        for name, (code, chars, amount, unit) in floods.items()
    ]
    first = {kind: first_bytes(session, plan.count(20)) for kind, session in sessions.items()}
    return [*comparisons, Comparison(name="first text of a print", contestants=first, rounds=5)]


def intercepted() -> AnySession:
    """A session of this project with an interceptor that sees every message."""
    session = stateroom_session.Session()
    session.session.add_message_interceptor(lambda message: None)
    return session


async def routing(plan: Plan, stack: AsyncExitStack) -> list[Comparison]:
    """Bursts of small messages: every print is flushed, every text goes to a callback."""
    sessions = await opened(plan, stack, intercepted=intercepted)
    chars = sum(len(str(i)) + 1 for i in range(BURST))

    async def burst(session: AnySession) -> None:
        texts: list[str] = []
        await asyncio.wait_for(succeed(session, FLUSHED, texts.append), FLOOD_TIMEOUT_S)
        assert sum(map(len, texts)) == chars

    return [
        Comparison(
            name=f"{BURST:,} flushed prints",
            contestants={kind: repeated(partial(burst, session), 1) for kind, session in sessions.items()},
            rounds=9,
            amount=BURST / 1e3,
            unit="kprints/s",
        )
    ]


GROUPS = [
    Group("output", "lines, one big print, first byte", output),
    Group("routing", "bursts of small messages, with and without an interceptor", routing),
]
