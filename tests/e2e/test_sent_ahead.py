"""Cells that come back to back, in real workers."""

import asyncio
import itertools
import os
import random

import stateroom


async def test_a_cell_that_is_cancelled_before_it_began_leaves_no_trace():
    dice = random.Random(20)
    async with stateroom.Session() as session:
        await session.run("seen = set()", check=True)
        for number in range(300):
            first = asyncio.create_task(
                session.run("sum(range(dice))".replace("dice", str(dice.randrange(3000))))
            )
            second = asyncio.create_task(session.run(f"seen.add({number})", execution_id=f"cell-{number}"))
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            await session.cancel(f"cell-{number}")
            assert (await first).ok
            result = await second
            seen = (await session.run(f"{number} in seen", check=True)).value
            if result.error is not None and result.error.message == "cancelled before it began":
                assert not seen
            elif result.ok:
                assert seen


async def test_background_tasks_have_their_turns_between_cells_that_come_back_to_back():
    tick = """
import asyncio
turns = 0
async def tick():
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)
task = asyncio.create_task(tick())
"""
    async with stateroom.Session() as session:
        await session.run(tick, check=True)
        results = await asyncio.gather(*[session.run("turns") for _ in range(200)])
        values = [result.value for result in results]
        assert all(later > earlier for earlier, later in itertools.pairwise(values))


async def test_results_output_and_errors_stay_with_their_cells():
    async with stateroom.Session() as session:
        codes = [f"print({n}, end='')\n{n} // ({n} % 7)" for n in range(200)]
        results = await asyncio.gather(*[session.run(code) for code in codes])
    for number, result in enumerate(results):
        assert result.stdout == str(number)
        if number % 7:
            assert result.value == number // (number % 7)
        else:
            assert result.error.type == "ZeroDivisionError"


async def test_the_next_cell_begins_while_the_transport_is_read_elsewhere():
    async with stateroom.Session() as session:
        blocking, after = (
            session.run("import time; time.sleep(0.05); 1"),
            session.run("await asyncio.sleep(0)\n2"),
        )
        last = session.run("import threading; threading.current_thread() is threading.main_thread()")
        await session.run("import asyncio")
        results = await asyncio.gather(blocking, after, last)
        assert [result.value for result in results] == [1, 2, True]


async def test_a_result_does_not_wait_for_a_next_cell_that_lets_no_other_thread_run(tmp_path):
    begun = tmp_path / "begun"
    deaf_code = f"open({str(begun)!r}, 'w').close()\nsum(range(10 ** 14))"
    async with stateroom.Session(cancel_grace_s=0.1, insist_grace_s=0.1) as session:
        large = asyncio.create_task(session.run("b'x' * 8_000_000"))
        deaf = asyncio.create_task(session.run(deaf_code, execution_id="deaf"))
        assert len((await large).value) == 8_000_000
        while not begun.exists():
            await asyncio.sleep(0)
        assert await session.cancel("deaf", hard_stop=True) == "stopped"
        assert not (await deaf).ok


async def test_a_cell_behind_a_task_that_blocks_the_loop_is_cancelled_and_the_worker_stays(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    block = f"""
import asyncio
ran = []
async def block():
    open({str(gate)!r}, "rb").read()
task = asyncio.create_task(block())
"""
    async with stateroom.Session() as session:
        await session.run(block, check=True)
        with await asyncio.to_thread(open, gate, "wb"):  # the task is there
            pid = session.pid
            first = asyncio.create_task(session.run("ran.append(1)"))
            second = asyncio.create_task(session.run("ran.append(2)", execution_id="second"))
            await asyncio.sleep(0)
            assert await session.cancel() == "cancelled"
            assert await session.cancel("second") == "cancelled"
            limited = await session.run("ran.append(3)", timeout=0.05)
            assert "did not begin" in limited.error.message
            last = asyncio.create_task(session.run("ran.append(4)\nran"))
            await asyncio.sleep(0)
        assert (await last).value == [4]
        for result in (await first, await second):
            assert (result.cancelled, result.error.message) == (True, "cancelled before it began")
        assert session.pid == pid
