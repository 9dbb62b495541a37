"""Settings of the engine that a session passes on to its worker."""

import pytest
import structlog

import stateroom


async def test_tla_timeout_ends_a_cell_that_awaits_for_too_long():
    async with stateroom.Session(tla_timeout_s=0.05) as session:
        result = await session.run("import asyncio\nasync def forever(): await asyncio.Event().wait()\nx = 1")
        assert result.ok
        result = await session.run("await forever()")
        assert (result.error.type, result.cancelled) == ("TimeoutError", False)
        assert "tla_timeout_s (0.05 s)" in result.error.message
        assert (await session.run("x")).value == 1


async def test_a_stretch_that_blocks_is_run_to_its_end_before_the_timeout_is_told():
    async with stateroom.Session(tla_timeout_s=0.5) as session:
        code = "import asyncio, time\ndone = []\nawait asyncio.sleep(0)\ntime.sleep(0.8)\ndone.append(1)\nawait asyncio.sleep(0)\ndone.append(2)"
        result = await session.run(code)
        assert result.error.type == "TimeoutError"
        assert (await session.run("done")).value == [1]


async def test_a_timeout_of_the_cell_itself_keeps_its_words():
    async with stateroom.Session(tla_timeout_s=60) as session:
        result = await session.run("import asyncio\nawait asyncio.sleep(0)\nraise TimeoutError('mine')")
        assert (result.error.type, result.error.message) == ("TimeoutError", "mine")


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("import time\n\ntime.sleep(0)", {"call": "time.sleep", "line": 3, "via": []}),
        (
            "import time\ndef nap(): time.sleep(0)\nnap()",
            {"call": "time.sleep", "line": 3, "via": ["nap"]},
        ),
        (
            "import asyncio, time\nawait asyncio.sleep(0)\ntime.sleep(0)",
            {"call": "time.sleep", "line": 3, "via": []},
        ),
    ],
)
async def test_a_blocking_call_is_told_if_that_is_wanted(code, fields):
    with structlog.testing.capture_logs() as logs:
        async with stateroom.Session(warn_on_blocking=True) as session:
            await session.run(code, execution_id="napping", check=True)
            await session.run("x = 1", check=True)
    (log,) = [log for log in logs if log["event"] == "worker_warning"]
    message = log["message"]
    assert (message["event"], message["execution_id"]) == ("blocking_call", "napping")
    assert message["fields"] == fields


async def test_a_blocking_call_is_not_told_otherwise():
    with structlog.testing.capture_logs() as logs:
        async with stateroom.Session() as session:
            await session.run("import time\ntime.sleep(0)", check=True)
    assert logs == []
