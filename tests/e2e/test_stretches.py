"""A blocking stretch of a cell that awaits: what happens to the cell's task meanwhile."""

import textwrap

import pytest


@pytest.mark.parametrize("again", [1, 2])
async def test_a_cancel_of_the_task_arrives_at_the_next_await(session, again):
    code = f"""
        import asyncio, time
        seen, task = [], asyncio.current_task()
        await asyncio.sleep(0)
        for _ in range({again}):
            asyncio.get_running_loop().call_soon(task.cancel, "enough")
        time.sleep(0.05)
        seen.append("after the stretch")
        await asyncio.sleep(0)
        seen.append("after the await")
    """
    result = await session.run(textwrap.dedent(code))
    assert (result.error.type, result.error.message, result.cancelled) == ("CancelledError", "enough", False)
    assert (await session.run("seen, task.cancelling()")).value == (["after the stretch"], again)


async def test_an_error_of_the_stretch_goes_before_a_cancel_of_the_task(session):
    code = """
        import asyncio, time
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        time.sleep("long")
        await asyncio.sleep(0)
    """
    result = await session.run(textwrap.dedent(code))
    assert result.error.type == "TypeError"
    assert (await session.run("await asyncio.sleep(0, 'fine')")).value == "fine"


async def test_a_timeout_that_is_over_during_the_stretch_is_a_timeout(session):
    code = """
        import asyncio, time
        limit = asyncio.timeout(0.001)
        await limit.__aenter__()
        time.sleep(0.05)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            try:
                await limit.__aexit__(type(error), error, None)
            except TimeoutError as error:
                kind = type(error)
        asyncio.current_task().cancelling(), kind is TimeoutError
    """
    assert (await session.run(textwrap.dedent(code), check=True)).value == (0, True)


async def test_the_cells_task_is_the_current_one_in_the_stretch_too(session):
    code = """
        import asyncio, time
        async def other(): return asyncio.current_task()
        await asyncio.sleep(0)
        here = asyncio.current_task()
        time.sleep(0); there, others = asyncio.current_task(), asyncio.create_task(other())
        time.sleep(0.05)
        await asyncio.sleep(0)
        there is here is not None, await others is others
    """
    assert (await session.run(textwrap.dedent(code), check=True)).value == (True, True)
    assert (await session.run("asyncio.current_task()", check=True)).value is None
