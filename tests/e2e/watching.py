"""What tests of real sessions wait for, and what they see of a cell."""

import asyncio

import psutil

THING = """
class Thing:
    def _repr_html_(self): return "<b>", {"isolated": True}
    def _repr_png_(self): return bytes(range(256))
    def __repr__(self): return "a thing"
thing = Thing()
"""
"""Code of a cell that makes a thing which has representations."""


async def until(fact):
    """Wait for something that the event loop brings about; the test's time limit bounds it."""
    while not fact():
        await asyncio.sleep(0.001)


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def begun(session, code, **how):
    """The caller's task of a cell that runs and has printed something."""
    started = asyncio.Event()
    running = asyncio.create_task(session.run(code, on_output=lambda _: started.set(), **how))
    printing = asyncio.create_task(started.wait())
    await asyncio.wait([running, printing], return_when=asyncio.FIRST_COMPLETED)
    assert printing.done(), running.result()
    return running


async def shown_by(session, code, **how):
    """The result of a cell that has to succeed, and everything that came before it."""
    seen = []
    result = await session.run(code, on_output=seen.append, on_display=seen.append, **how)
    assert result.error is None, result.error.text
    return result, seen
