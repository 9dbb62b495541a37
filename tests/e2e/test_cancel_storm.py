"""Cancels at random moments of short cells: none is lost, and none hits anything but its own cell."""

import asyncio
import random

import pytest

import stateroom
from stateroom import CancelOutcome

PRELUDE = """
import asyncio, threading, time, trio
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.001)
ticker = asyncio.create_task(tick())
def work(n):
    s = 0
    for i in range(n):
        s += i
    return s
async def spin():
    while True: work(10)
async def busy():
    spinning = asyncio.create_task(spin())
    await asyncio.sleep(1000)
"""
# Cells that end by themselves after a random while, and cells that end only by a cancel.
SHORT = [
    "work({n})",
    "time.sleep({s}); {n}",
    "await asyncio.sleep({s}); {n}",
    "await asyncio.sleep(0); work({n})",
    "await asyncio.sleep(0); time.sleep({s}); {n}",
    "asyncio.run(asyncio.sleep({s})); {n}",
    "print({n}); [i for i in range({n})][-1:]",
    "trio.run(trio.sleep, {s}); {n}",
    "async with asyncio.TaskGroup() as g: g.create_task(asyncio.sleep({s}))",
    "1 / 0 if work({n}) < 0 else None",
]
ENDLESS = [
    "while True: pass",
    "time.sleep(1000)",
    "await asyncio.sleep(1000)",
    "threading.Event().wait()",
    "await asyncio.sleep(0)\nwhile True: work(10)",
    "asyncio.run(asyncio.sleep(1000))",
    "asyncio.run(busy())",
    "trio.run(trio.sleep, 1000)",
]


async def storm(count, seed):
    dice = random.Random(seed)
    async with stateroom.Session(cancel_grace_s=20) as session:
        await session.run(PRELUDE, check=True)
        alive = 0
        for _ in range(count):
            endless = dice.random() < 0.3
            code = dice.choice(ENDLESS if endless else SHORT)
            code = code.format(n=dice.randrange(1, 20_000), s=dice.random() * 0.002)
            running = asyncio.create_task(session.run(code))
            await asyncio.sleep(dice.random() * 0.002)  # the random moment
            outcome = await session.cancel()
            result = await running
            assert result.error is None or result.cancelled, (code, result.error)
            if endless:
                assert result.cancelled, (code, outcome)
            elif outcome is CancelOutcome.CANCELLED:
                assert result.cancelled, code
            after = await session.run("ticks, ticker.done(), ticker.cancelling()")
            assert after.error is None, (code, after.error)
            assert after.value[1:] == (False, 0), (code, after.value)
            alive = max(alive, after.value[0])
        assert alive > 0
        assert (await session.run("await asyncio.sleep(0)\nasyncio.current_task().cancelling()")).value == 0
        assert (await session.run("asyncio.get_running_loop() is ticker.get_loop()")).value is True
        return session.info.cancels


async def test_storm_of_cancels():
    cancels = await storm(600, seed=random.randrange(1 << 30))
    assert cancels.effective > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_storm_of_ten_thousand_cancels():
    print(await storm(10_000, seed=random.randrange(1 << 30)))
