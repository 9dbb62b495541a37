"""Which sessions a worker has open, over cells that only say how they end."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")
pytest.importorskip("psycopg", reason="needs psycopg: install stateroom[postgres]")

from tap import Gate

from stateroom.integration.postgres.open_sessions import OpenSessions


class Cells:
    """Cells, their bridge and their session in one; it ends when its gate lets it."""

    def __init__(self, name):
        self.name = name
        self.bridge = self.session = self
        self.gate = Gate()
        self.closed = []

    async def close(self, *, reject=None):
        await self.gate.pass_through()
        self.closed.append("cells" if not self.closed else "bridge" if reject is False else "session")


class Sessions(OpenSessions):
    def __init__(self, max_sessions):
        self.made = []
        super().__init__(max_sessions, self.make_cells)

    async def make_cells(self, name):
        self.made.append(Cells(name))
        return self.made[-1]

    async def use(self, name):
        async with self.using(name) as cells:
            return cells


async def settle():
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_session_is_opened_once_and_kept():
    sessions = Sessions(2)
    first, again = await asyncio.gather(sessions.use("a"), sessions.use("a"))
    assert first is again is await sessions.use("a")
    assert repr(sessions) == "<OpenSessions sessions=1 busy=0 waiting=0>"


async def test_the_least_recently_used_one_makes_room():
    sessions = Sessions(2)
    a, b = await sessions.use("a"), await sessions.use("b")
    await sessions.use("a")
    b.gate.open()
    await sessions.use("c")
    assert (a.closed, b.closed) == ([], ["cells", "bridge", "session"])


async def test_one_who_waits_for_room_closes_one_session_only():
    sessions = Sessions(2)
    a, b = await sessions.use("a"), await sessions.use("b")
    waiting = asyncio.create_task(sessions.use("c"))
    await a.gate.reached.wait()
    await sessions.use("b")  # which tells those who wait that something has changed
    await settle()
    assert not b.gate.reached.is_set()
    a.gate.open()
    assert (await waiting).name == "c"


async def test_two_who_wait_for_room_close_two_sessions():
    sessions = Sessions(2)
    a, b = await sessions.use("a"), await sessions.use("b")
    waiting = [asyncio.create_task(sessions.use(name)) for name in "cd"]
    await a.gate.reached.wait()
    await b.gate.reached.wait()
    b.gate.open()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    a.gate.open()
    assert [cells.name for cells in await asyncio.gather(*waiting)] == ["c", "d"]


async def test_a_session_wanted_while_it_is_closed_is_opened_anew():
    sessions = Sessions(1)
    a = await sessions.use("a")
    other = asyncio.create_task(sessions.use("b"))
    await a.gate.reached.wait()
    other.cancel()
    again = asyncio.create_task(sessions.use("a"))
    await settle()
    assert len(sessions.made) == 1
    a.gate.open()
    assert await again is not a


async def test_one_in_use_is_waited_for():
    sessions = Sessions(1)
    async with sessions.using("a") as a:
        waiting = asyncio.create_task(sessions.use("b"))
        await settle()
        assert repr(sessions) == "<OpenSessions sessions=1 busy=1 waiting=1>"
        a.gate.open()
        assert not a.gate.reached.is_set()
    assert (await waiting).name == "b"


async def test_close_waits_for_a_session_whose_closing_was_begun_for_somebody_else():
    sessions = Sessions(1)
    a = await sessions.use("a")
    waiting = asyncio.create_task(sessions.use("b"))
    await a.gate.reached.wait()
    waiting.cancel()
    closing = asyncio.create_task(sessions.close())
    await settle()
    assert not closing.done()
    a.gate.open()
    await closing
    assert (a.closed, len(sessions)) == (["cells", "bridge", "session"], 0)


async def test_a_session_that_cannot_be_opened_is_tried_again():
    sessions = Sessions(1)
    made, errors = sessions.make_cells, [OSError("no memory")]

    async def make(name):
        if errors:
            raise errors.pop()
        return await made(name)

    sessions._make = make
    with pytest.raises(OSError, match="no memory"):
        await sessions.use("a")
    assert (await sessions.use("a")).name == "a"
    errors.append(OSError("no memory"))
    sessions.made[-1].gate.open()
    with pytest.raises(OSError, match="no memory"):
        await sessions.use("b")
    await sessions.close()
    assert len(sessions) == 0


async def test_a_session_that_is_being_opened_is_not_opened_when_all_are_closed():
    sessions, begun, ended = Sessions(1), asyncio.Event(), asyncio.Event()

    async def make(_name):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    sessions._make = make
    using = asyncio.create_task(sessions.use("a"))
    await begun.wait()
    using.cancel()
    await settle()
    assert not ended.is_set()
    await sessions.close()
    assert ended.is_set()


async def test_what_cannot_be_closed_in_order_is_ended_all_the_same():
    sessions = Sessions(1)
    a = await sessions.use("a")
    a.gate.open()

    class Bridge:
        async def close(self, *, reject):
            raise OSError("the store is gone")

    a.bridge = Bridge()
    await sessions.close()
    assert (a.closed, len(sessions)) == (["cells", "session"], 0)
