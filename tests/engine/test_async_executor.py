"""AsyncExecutor inside somebody else's loop: no session, no worker."""

import asyncio
import threading

import pytest

from stateroom import AsyncExecutor, ExecutionMode, NamespaceManager
from stateroom.config import EngineConfig
from stateroom.errors import NoRunningLoop


@pytest.fixture
def executor():
    executor = AsyncExecutor(NamespaceManager(), execution_id="e1")
    yield executor
    assert executor.cleanup_coroutines() == 0


@pytest.mark.parametrize(
    ("code", "mode"),
    [
        ("x = 1", ExecutionMode.SIMPLE_SYNC),
        ("async def f(): pass", ExecutionMode.ASYNC_DEF),
        ("await f()", ExecutionMode.TOP_LEVEL_AWAIT),
        ("import time; time.sleep(1)", ExecutionMode.BLOCKING_SYNC),
        ("def (", ExecutionMode.UNKNOWN),
        ("return 1", ExecutionMode.UNKNOWN),
    ],
)
def test_analysis_runs_nothing(executor, code, mode):
    assert executor.analyze_execution_mode(code) is mode
    assert "f" not in executor.namespace
    assert "time" not in executor.namespace


async def test_values_of_all_modes_land_in_the_history(executor):
    assert await executor.execute("x = 20\nx + 1") == 21
    assert await executor.execute("import asyncio\nawait asyncio.sleep(0, x + 2)") == 22
    assert await executor.execute("import time\ntime.sleep(0)\nx + 3") == 23
    assert await executor.execute("(_, __, ___)") == (23, 22, 21)
    assert await executor.execute("Out[2], In[1]") == (22, "x = 20\nx + 1")


async def test_namespace_is_one_dict_for_life(executor):
    namespace = executor.namespace
    for code in ("x = 1", "await asyncio.sleep(0)", "import time; time.sleep(0)", "1/0"):
        try:
            await executor.execute("import asyncio\n" + code)
        except ZeroDivisionError:
            pass
    assert executor.namespace is namespace
    assert executor.namespace_manager.namespace is namespace
    assert await executor.execute("locals() is globals()") is True


async def test_simple_code_runs_in_the_callers_thread_blocking_code_does_not(executor):
    await executor.execute("import threading, time")
    here = threading.get_ident()
    assert await executor.execute("threading.get_ident()") == here
    assert await executor.execute("await __import__('asyncio').sleep(0)\nthreading.get_ident()") == here
    assert await executor.execute("time.sleep(0)\nthreading.get_ident()") != here
    first = await executor.execute("time.sleep(0)\nthreading.get_ident()")
    assert await executor.execute("time.sleep(0)\nthreading.get_ident()") == first


async def test_blocking_stretch_of_an_awaiting_cell_leaves_the_loop_free(executor):
    """The cell waits in its blocking stretch for something that only the loop can do."""
    executor.namespace["go"] = go = threading.Event()
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(go.set))
    code = "import asyncio, threading\nawait asyncio.sleep(0)\nreached = go.wait(20)\nawait asyncio.sleep(0)\nreached"
    assert await executor.execute(code) is True


async def test_tla_timeout():
    executor = AsyncExecutor(NamespaceManager(), tla_timeout=0.01)
    with pytest.raises(TimeoutError):
        await executor.execute("import asyncio\nawait asyncio.sleep(100)")
    assert await executor.execute("1") == 1


async def test_error_carries_one_note_with_execution_and_snippet(executor):
    await executor.execute("def f():\n    raise ValueError(1)")
    with pytest.raises(ValueError, match="1") as caught:
        await executor.execute("f()\nsecond = 2")
    assert caught.value.__notes__ == ["in execution e1: f() …"]


@pytest.mark.parametrize(
    "code",
    [
        "class E(Exception): __notes__ = 5\nraise E",
        "class E(Exception):\n    def __getattribute__(self, name): raise ValueError\nraise E",
    ],
)
async def test_an_error_that_takes_no_note_goes_without(executor, code):
    try:  # pytest would ask the error for its notes
        await executor.execute(code)
    except Exception as error:
        caught = type(error).__name__
    assert caught == "E"


async def test_cancel_current(executor):
    running = asyncio.ensure_future(executor.execute("import asyncio\nawait asyncio.sleep(100)"))
    await asyncio.sleep(0)
    assert executor.cancel_current() is True
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    assert "cancelled by AsyncExecutor.cancel_current()" in caught.value.__notes__[0]
    telemetry = executor.telemetry
    assert (telemetry.cancel_requested, telemetry.cancel_effective, telemetry.cancel_no_op) == (1, 1, 0)


async def test_cancel_of_nothing_is_a_counted_no_op(executor):
    assert executor.cancel_current() is False
    await executor.execute("1")
    assert executor.cancel_current() is False
    assert executor.telemetry.cancel_no_op == 2


async def test_cancel_of_blocking_code_is_a_counted_no_op(executor):
    await executor.execute("import threading\nopened = threading.Event()")
    running = asyncio.ensure_future(executor.execute("opened.wait()"))
    await asyncio.sleep(0)
    assert executor.cancel_current() is False
    executor.namespace["opened"].set()
    assert await running is True
    assert executor.telemetry.cancel_no_op == 1


async def test_cancel_before_the_task_exists_takes_effect(executor):
    executor.coroutines.take_on()
    assert executor.cancel_current() is True
    ran = []

    async def cell():
        ran.append(1)

    with pytest.raises(asyncio.CancelledError, match="before it began"):
        await executor.coroutines.run(cell())
    assert not ran


async def test_cancel_leaves_background_tasks_alone(executor):
    await executor.execute("import asyncio\nt = asyncio.create_task(asyncio.sleep(100))")
    running = asyncio.ensure_future(executor.execute("await asyncio.sleep(100)"))
    await asyncio.sleep(0)
    executor.cancel_current()
    with pytest.raises(asyncio.CancelledError):
        await running
    task = executor.namespace["t"]
    assert not task.done()
    assert task.cancelling() == 0
    task.cancel()


def test_out_of_loop_is_one_clear_error(executor):
    coroutine = executor.execute("1")
    with pytest.raises(NoRunningLoop, match=r"AsyncExecutor.execute\(\) needs a running event loop"):
        coroutine.send(None)


async def test_transport_gets_each_outcome(executor):
    seen = []
    executor.transport = lambda *outcome: seen.append(outcome)
    await executor.execute("1 + 1")
    with pytest.raises(ZeroDivisionError) as caught:
        await executor.execute("1/0")
    assert seen == [("e1", 2, None), ("e1", None, caught.value)]


async def test_async_transport_is_awaited_and_its_failure_reported(executor):
    seen, reported = [], []

    async def transport(_execution_id, value, _error):
        await asyncio.sleep(0)
        seen.append(value)
        raise OSError("gone")

    executor.transport = transport
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    assert await executor.execute("1 + 1") == 2
    assert seen == [2]
    assert isinstance(reported[0], OSError)


async def test_deferred_coroutines_run_in_order_or_are_closed(executor):
    seen = []

    async def note(number):
        seen.append(number)

    executor.coordinator.defer(note(1))
    executor.coordinator.defer(note(2))
    assert await executor.coordinator.flush() == 2
    assert seen == [1, 2]
    executor.coordinator.defer(note(3))
    assert executor.coordinator.close() == 1
    assert seen == [1, 2]


def test_config_reaches_the_parts():
    config = EngineConfig(
        code_cache_size=7, history_size=3, tla_timeout_s=9.0, enable_blocking_detection=False
    )
    executor = AsyncExecutor(NamespaceManager(history_size=config.history_size), config=config)
    assert executor.tla_timeout == 9.0
    assert executor.analyze_execution_mode("import time; time.sleep(1)") is ExecutionMode.SIMPLE_SYNC


def test_environment_overrides_defaults(monkeypatch):
    monkeypatch.setenv("STATEROOM_CODE_CACHE_SIZE", "5")
    monkeypatch.setenv("STATEROOM_BLOCKING_MODULES", "slowlib, otherlib")
    config = EngineConfig.load()
    assert (config.code_cache_size, config.blocking_modules) == (5, ("slowlib", "otherlib"))
    assert EngineConfig.load(code_cache_size=6).code_cache_size == 6


@pytest.mark.parametrize("text", ["many", "-", "1.5x"])
def test_environment_that_cannot_be_read_is_named(monkeypatch, text):
    monkeypatch.setenv("STATEROOM_CODE_CACHE_SIZE", text)
    with pytest.raises(ValueError, match="STATEROOM_CODE_CACHE_SIZE"):
        EngineConfig.load()


async def test_a_blocking_call_is_logged_if_that_is_wanted(caplog):
    config = EngineConfig(warn_on_blocking=True)
    executor = AsyncExecutor(NamespaceManager(), execution_id="embedded", config=config)
    await executor.execute("import time\ndef nap(): time.sleep(0)\nnap()")
    await executor.execute("x = 1")
    assert caplog.messages == ["time.sleep blocks in line 3 of a cell of embedded (by way of nap)"]
