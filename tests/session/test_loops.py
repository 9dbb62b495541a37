"""A session belongs to the event loop that has started it."""

import asyncio

import pytest
from stage import Stage

import stateroom
from stateroom.errors import NoRunningLoop

USES = {
    "run": lambda session: session.run("1", timeout=3),
    "execute": lambda session: anext(session.execute("1")),
    "cancel": lambda session: session.cancel(),
    "checkpoint": lambda session: session.checkpoint(),
    "restore": lambda session: session.restore(None),
    "restart": lambda session: session.restart(),
    "close": lambda session: session.close(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_it_can_be_used_in_no_other(use):
    async with Stage() as stage:
        with pytest.raises(NoRunningLoop, match="another event loop than the one that has started it"):
            await asyncio.to_thread(asyncio.run, _await(use, stage.session))
        assert await stage.works()


async def _await(use, session):
    return await use(session)


def test_not_even_when_that_has_ended():
    session = stateroom.Session()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(session.start())
        with pytest.raises(NoRunningLoop):
            second.run(session.run("1"))
        first.run(session.close())
