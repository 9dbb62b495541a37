"""What the cancel's handler sees of a loop that a cell runs itself."""

import asyncio
import sys
import threading

from stateroom.worker.own_loops import is_in_asyncio, own_loop_around


def looks_during(main):
    """What is seen at each call while ``asyncio.run(main())`` is in the code of that coroutine function."""
    looks = []

    def look(frame, event, _argument):
        if event == "call":
            own = own_loop_around(frame)
            if own is not None and own.current is not None:
                looks.append((frame.f_code.co_name, own.is_idle, is_in_asyncio(frame)))

    async def looked_at():
        sys.setprofile(look)
        try:
            return await main()
        finally:
            sys.setprofile(None)

    asyncio.run(looked_at())
    return looks


def test_nothing_is_raised_in_asyncio_while_a_task_makes_another():
    async def child():
        pass

    async def main():
        await asyncio.create_task(child())

    looks = looks_during(main)
    assert ("main", False, False) in looks
    assert ("create_task", False, True) in looks
    calls = [name for name, _, _ in looks]
    inside = looks[calls.index("create_task") :]
    assert all(in_asyncio for name, _, in_asyncio in inside if name in ("create_task", "add"))
    assert sys.version_info >= (3, 14) or "add" in calls


def test_what_asyncio_calls_to_make_a_loop_is_its_own_and_a_callback_is_not():
    looks = []

    def look(frame, event, _argument):
        if event == "call":
            looks.append((frame.f_code.co_name, is_in_asyncio(frame)))

    def callback():
        threading.Event().wait(0)

    sys.setprofile(look)
    try:
        loop = asyncio.new_event_loop()
        loop.call_soon(callback)
        loop.call_soon(threading.Event().wait, 0)
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        sys.setprofile(None)
        loop.close()
    assert ("socketpair", True) in looks
    assert ("callback", False) in looks
    assert [answer for name, answer in looks if name == "wait"] == [False] * 4  # of Event, and of Condition
