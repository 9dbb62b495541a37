"""Other people's loops in a cell: uvloop, Trio and AnyIO, as their users write it."""

import textwrap

import pytest
from watching import begun

import stateroom

TICK = """
import asyncio, time
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.001)
ticker = asyncio.create_task(tick())
"""
TRIO = """
    import trio
    async def nap(seconds):
        print("on")
        await trio.sleep(seconds)
        return await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(lambda: 5))
    trio.run(nap, {seconds})
"""
ANYIO = """
    import anyio
    async def nap(seconds):
        print("on")
        await anyio.sleep(seconds)
        return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(anyio.sleep, 0) or 5)
"""
CELLS = {
    "trio": TRIO,
    "anyio on trio": ANYIO + "    anyio.run(nap, {seconds}, backend='trio')",
    "anyio on asyncio": ANYIO + "    anyio.run(nap, {seconds})",
    "anyio on uvloop": ANYIO + "    anyio.run(nap, {seconds}, backend_options={{'use_uvloop': True}})",
    "anyio in the session's loop": ANYIO + "    await nap({seconds})",
    "anyio task group": ANYIO
    + """
    async with anyio.create_task_group() as group:
        group.start_soon(nap, {seconds})
    5
    """,
    "anyio portal": ANYIO
    + """
    from anyio.from_thread import start_blocking_portal
    with start_blocking_portal() as portal:
        value = portal.call(nap, {seconds})
    value
    """,
    "uvloop": """
    import uvloop
    async def nap(seconds):
        print("on")
        await asyncio.sleep(seconds)
        return 5
    uvloop.run(nap({seconds}))
    """,
    "loop of uvloop": """
    import uvloop
    async def nap(seconds):
        print("on")
        await asyncio.sleep(seconds)
        return 5
    loop = uvloop.new_event_loop()
    try:
        value = loop.run_until_complete(nap({seconds}))
    finally:
        loop.close()
    value
    """,
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
async def test_runs_and_leaves_the_session_its_own_loop(session, code):
    await session.run(TICK, check=True)
    result = await session.run(textwrap.dedent(code.format(seconds=0.05)), check=True)
    assert (result.value, result.stderr) == (5, "")
    assert (await session.run("asyncio.get_running_loop() is ticker.get_loop()")).value is True
    assert (await session.run("before = ticks; await asyncio.sleep(0.01); ticks > before")).value is True


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
async def test_is_ended_by_one_cancel(code):
    async with stateroom.Session(cancel_grace_s=20) as session:
        await session.run(TICK, check=True)
        running = await begun(session, textwrap.dedent(code.format(seconds=100)))
        assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
        result = await running
        assert (result.cancelled, result.error.type) == (True, "CancelledError")
        assert (await session.run("await asyncio.sleep(0, ticker.done())")).value is False


TRIO_CELLS = {
    "waits": "    await trio.sleep(100)",
    "waits in children": """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 100)
        nursery.start_soon(trio.sleep, 100)
    """,
    "yields": "    while True: await trio.sleep(0)",
    "spins": "    while True: pass",
    "blocks": "    time.sleep(100)",
    "spins in children": """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spin)
        nursery.start_soon(spin)
        nursery.start_soon(trio.sleep, 100)
    """,
}
TRIO_MAIN = """
import time, trio
cleaned = []
async def spin():
    while True: pass
async def run():
    print("on")
{body}
async def main():
    try:
        await run()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        cleaned.append(True)
"""


@pytest.mark.parametrize("before", ["", "await asyncio.sleep(0)\n"], ids=["alone", "behind an await"])
@pytest.mark.parametrize("body", TRIO_CELLS.values(), ids=TRIO_CELLS)
async def test_a_cancel_unwinds_the_tasks_of_trio_which_runs_again_afterwards(body, before):
    async with stateroom.Session(cancel_grace_s=20) as session:
        await session.run(TICK + TRIO_MAIN.format(body=body), check=True)
        running = await begun(session, f"{before}trio.run(main)")
        assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
        assert (await running).error.type == "CancelledError"
        assert (await session.run("trio.run(trio.sleep, 0); cleaned, ticker.done()")).value == ([True], False)


async def test_the_second_cancel_ends_what_trio_shields():
    body = "    with trio.CancelScope(shield=True): await trio.sleep(100)"
    async with stateroom.Session(cancel_grace_s=0) as session:
        await session.run(TRIO_MAIN.format(body=body), check=True)
        running = await begun(session, "trio.run(main)")
        assert await session.cancel() is stateroom.CancelOutcome.IGNORED
        await session.cancel()
        result = await running
        assert (result.cancelled, "abandoned" in result.stderr) == (True, True)
        assert (await session.run("trio.run(trio.sleep, 0)")).error is None


TRIO_ENDS = {
    "a system task that blocks": """
import time, trio
async def clean_up():
    try:
        await trio.sleep_forever()
    finally:
        print("on")
        time.sleep(100)
async def main():
    trio.lowlevel.spawn_system_task(clean_up)
    await trio.testing.wait_all_tasks_blocked()
""",
    "a system task that waits": """
import trio
async def clean_up():
    try:
        await trio.sleep_forever()
    finally:
        print("on")
        with trio.CancelScope(shield=True):
            await trio.sleep(100)
async def main():
    trio.lowlevel.spawn_system_task(clean_up)
    await trio.testing.wait_all_tasks_blocked()
""",
    "an async generator": """
import time, trio
async def numbers():
    try:
        yield 1
    finally:
        print("on")
        time.sleep(100)
async def main():
    global left_open
    left_open = numbers()
    await anext(left_open)
""",
}


@pytest.mark.parametrize("code", TRIO_ENDS.values(), ids=TRIO_ENDS)
async def test_the_second_cancel_ends_what_holds_up_the_end_of_trio(code):
    async with stateroom.Session(cancel_grace_s=0, insist_grace_s=20) as session:
        await session.run(f"import trio.testing\n{code}", check=True)
        running = await begun(session, "trio.run(main)")
        assert await session.cancel() is stateroom.CancelOutcome.IGNORED
        assert not running.done()
        await session.cancel()
        result = await running
        # What the end of a generator raises, Trio logs, and comes to its own end.
        assert result.cancelled or (result.error is None and "left_open" in code)
        assert (await session.run("trio.run(trio.sleep, 0)")).error is None


async def test_uvloop_runs_in_workers_that_find_it_loaded():
    code = "import asyncio, uvloop\nasync def f(): return await asyncio.sleep(0.01, 5)\nuvloop.run(f())"
    async with stateroom.SessionPool(size=1, preload=["uvloop"]) as pool, pool.session() as session:
        assert (await session.run(code, check=True)).value == 5
        assert (await session.run("await f()", check=True)).value == 5
