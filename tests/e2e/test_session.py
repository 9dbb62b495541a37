"""The main job, with real worker processes."""

import asyncio
import os
import signal

import pytest
from watching import begun

import stateroom
from stateroom import CancelOutcome


@pytest.fixture
async def session():
    async with stateroom.Session() as session:
        yield session


async def test_value_repr_output_and_mode(session):
    result = await session.run("import asyncio\nprint('hello')\nawait asyncio.sleep(0)\n6 * 7")
    assert result.error is None
    assert (result.value, result.repr, result.stdout) == (42, "42", "hello\n")
    assert result.mode == "top_level_await"
    assert (await session.run("_ + 1")).value == 43


@pytest.mark.parametrize(
    ("code", "mode"),
    [
        ("x = 1", "simple_sync"),
        ("async def f(): pass", "async_def"),
        ("import time\ntime.sleep(0)", "blocking_sync"),
        ("import asyncio\nawait asyncio.sleep(0)", "top_level_await"),
    ],
)
async def test_mode(session, code, mode):
    assert (await session.run(code)).mode == mode


async def test_error_is_data_unless_checked(session):
    result = await session.run("1/0")
    assert result.error.type == "ZeroDivisionError"
    assert "~^~" in result.error.text
    assert "stateroom" not in result.error.text
    with pytest.raises(stateroom.ExecutionError, match="division by zero"):
        await session.run("1/0", check=True)


async def test_syntax_error_runs_nothing(session):
    result = await session.run("z = 1\nreturn 2")
    assert (result.error.type, result.mode) == ("SyntaxError", "unknown")
    assert (await session.run("z")).error.type == "NameError"


async def test_streamed_messages_come_in_order(session):
    kinds = []
    async for message in session.execute("for i in range(3): print(i)\nprint('x'); i"):
        kinds.append(type(message).__name__)
    assert kinds[-1] == "ResultMessage"
    assert set(kinds[:-1]) == {"OutputMessage"}


async def test_python_and_descriptor_output_keep_their_order(session):
    code = (
        "import os, sys, subprocess\n"
        "print('a'); os.write(1, b'b\\n'); print('c', file=sys.stderr); os.system('echo d')\n"
        "subprocess.run(['echo', 'e']); os.write(2, b'f'); print('g')"
    )
    seen = []
    await session.run(code, on_output=lambda message: seen.append((message.stream, message.data)))
    merged = []
    for stream, data in seen:
        if merged and merged[-1][0] == stream:
            merged[-1][1] += data
        else:
            merged.append([stream, data])
    assert merged == [
        ["stdout", "a\nb\n"],
        ["stderr", "c\n"],
        ["stdout", "d\ne\n"],
        ["stderr", "f"],
        ["stdout", "g\n"],
    ]


async def test_input_round_trip(session):
    asked = []

    async def on_input(message):
        asked.append((message.prompt, message.password))
        return "Ada"

    result = await session.run("import getpass\ninput('name? ') + getpass.getpass('pw ')", on_input=on_input)
    assert result.value == "AdaAda"
    assert asked == [("name? ", False), ("pw ", True)]


async def test_input_without_callback_is_end_of_file(session):
    assert (await session.run("input()")).error.type == "EOFError"
    assert (await session.run("1")).value == 1


@pytest.mark.parametrize(
    "code",
    [
        "print('on'); \nwhile True: pass",
        "import time; print('on'); time.sleep(100)",
        "import asyncio; print('on'); await asyncio.sleep(100)",
        "import asyncio; await asyncio.sleep(0); print('on')\nwhile True: pass",
        "import asyncio, time; await asyncio.sleep(0); print('on'); time.sleep(100)",
        "import subprocess; print('on'); subprocess.run(['sleep', '100'])",
        "import threading; print('on'); threading.Event().wait()",
        "import socket; a, b = socket.socketpair(); print('on'); a.recv(1)",
        "import asyncio; print('on'); asyncio.run(asyncio.sleep(100))",
        "import asyncio; print('on'); asyncio.get_event_loop().run_until_complete(asyncio.sleep(100))",
        "print('on'); input()",
    ],
)
async def test_cancel_ends_the_cell_and_nothing_else(session, code):
    await session.run("kept = 1")
    running = await begun(session, code, on_input=lambda _: asyncio.Event().wait())
    assert await session.cancel() is CancelOutcome.CANCELLED
    result = await running
    assert result.cancelled
    assert result.error.type == "CancelledError"
    assert (await session.run("kept")).value == 1


async def test_cancel_with_nothing_running(session):
    assert await session.cancel() is CancelOutcome.NOTHING_RUNNING
    assert await session.cancel("unknown") is CancelOutcome.NOTHING_RUNNING


async def test_timeout_cancels_and_the_next_cell_works(session):
    result = await session.run("import time; time.sleep(100)", timeout=0.05)
    assert result.cancelled
    assert result.error.type == "TimeoutError"
    assert (await session.run("1 + 1")).value == 2


async def _async_callback(_message):
    pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"on_output": _async_callback}, "on_output is a coroutine function"),
        ({"on_display": _async_callback}, "on_display is a coroutine function"),
        ({"on_output": 5}, "on_output=5: give a function"),
        ({"timeout": "1"}, "timeout='1': give seconds"),
        ({"timeout": float("nan")}, "timeout=nan: give seconds"),
        ({"code": 5}, "code is a int"),
        ({"argv": [1]}, "give a list of strings"),
    ],
)
async def test_a_wrong_argument_is_refused_before_anything_runs(session, wrong, message):
    with pytest.raises(TypeError, match=message):
        await session.run(**{"code": "ran = 1", **wrong})
    assert (await session.run("'ran' in globals()")).value is False


async def test_no_time_at_all_is_a_timeout(session):
    assert (await session.run("1", timeout=0)).error.type == "TimeoutError"
    assert (await session.run("1", timeout=-1)).error.type == "TimeoutError"
    assert (await session.run("1", timeout=float("inf"))).value == 1


async def test_the_last_message_of_a_stream_has_the_value(session):
    async def last(code):
        return [message async for message in session.execute(code)][-1]

    assert (await last("{'a': [1, 2.5, b'x']}")).plain_value() == {"a": [1, 2.5, b"x"]}
    assert (await last("b'x' * 5_000_000")).plain_value() == b"x" * 5_000_000
    assert (await last("x = 1")).plain_value() is None
    with pytest.raises(stateroom.errors.NotPlainData, match=r"^e\d+: no plain value: value is a object$"):
        (await last("object()")).plain_value()
    assert isinstance(await last("1 / 0"), stateroom.ErrorMessage)


async def test_queue_and_busy(session):
    first = await begun(session, "print('on'); input()", on_input=lambda _: asyncio.Event().wait())
    with pytest.raises(stateroom.Busy):
        await session.run("1", queue=False)
    second = asyncio.create_task(session.run("2"))
    third = asyncio.create_task(session.run("touched = 1", execution_id="third"))
    await asyncio.sleep(0)
    assert await session.cancel("third") is CancelOutcome.CANCELLED
    await session.cancel()
    assert (await first).cancelled
    assert (await second).value == 2
    assert (await third).cancelled
    assert (await session.run("touched")).error.type == "NameError"


@pytest.mark.parametrize(
    ("code", "status", "number"),
    [
        ("import os; os._exit(3)", 3, None),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None, signal.SIGKILL),
        ("import ctypes; ctypes.string_at(0)", None, signal.SIGSEGV),
    ],
)
async def test_death_of_the_worker_ends_the_cell_at_once(session, code, status, number):
    result = await session.run("print('before')\n" + code)
    assert result.error.type == "WorkerDied"
    assert (result.error.exit_status, result.error.signal) == (status, number)
    assert result.stdout == "before\n"
    with pytest.raises(stateroom.SessionBroken, match=r"restart\(\)"):
        await session.run("1")
    await session.restart()
    assert (await session.run("1")).value == 1


async def test_background_task_goes_on_while_a_cell_blocks(session):
    code = "import asyncio, time\nn = 0\nasync def tick():\n    global n\n    while True:\n        n += 1\n        await asyncio.sleep(0.001)\n"
    await session.run(code + "task = asyncio.create_task(tick())")
    assert (await session.run("before = n; time.sleep(0.2); n - before")).value > 5


async def test_late_output_is_tagged_with_its_own_cell(session):
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    code = "import threading\ngo = threading.Event()\nthreading.Thread(target=lambda: (go.wait(), print('late'))).start()"
    await session.run(code, execution_id="one")
    await session.run("go.set()", execution_id="two")
    message = await late.get()
    assert (message.execution_id, message.data) == ("one", "late\n")


async def test_thousand_mixed_cells_keep_one_namespace(session):
    cells = [
        "x = 1",
        "import asyncio; await asyncio.sleep(0)",
        "async def f(): return 5",
        "await f()",
        "1/0",
        "import time; time.sleep(0)",
        "def (",
        "print('x')",
        "asyncio.run(f())",
        "asyncio.create_task(f()) and None",
    ]
    first = (await session.run("id(globals())")).value
    for index in range(1000):
        await session.run(cells[index % len(cells)])
    assert (await session.run("id(globals())")).value == first
    assert (await session.run("id(__import__('__main__').__dict__)")).value == first


async def test_pending_cells_fail_when_the_session_closes():
    session = stateroom.Session()
    await session.start()
    first = await begun(session, "print(1)\nwhile True: pass")
    second = asyncio.create_task(session.run("2"))
    await asyncio.sleep(0)
    await session.close()
    assert (await first).cancelled
    assert (await second).error.type == "SessionClosed"
    with pytest.raises(stateroom.SessionClosed):
        await session.run("1")
    await session.close()


def test_blocking_session():
    with stateroom.open_session() as session:
        assert session.run("6 * 7").value == 42
        assert session.info.state == "idle"


async def test_caller_cancellation_cancels_the_cell(session):
    running = await begun(session, "print(1)\nwhile True: pass")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await session.run("1")).value == 1


async def test_bad_interpreter_fails_the_start():
    with pytest.raises(stateroom.WorkerStartError, match="no-such-python"):
        await stateroom.Session(python="/no-such-python").start()


async def test_worker_that_cannot_import_fails_the_start_with_its_stderr(tmp_path):
    (tmp_path / "msgspec.py").write_text("raise ImportError('broken on purpose')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with pytest.raises(stateroom.WorkerStartError, match="broken on purpose"):
        await stateroom.Session(env=env).start()


async def test_worker_that_never_gets_ready_fails_the_start_in_time(tmp_path):
    (tmp_path / "msgspec.py").write_text(
        "import sys, time; print('stuck here', file=sys.stderr); time.sleep(100)"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with pytest.raises(stateroom.WorkerStartError, match="stuck here"):
        await stateroom.Session(env=env, start_timeout_s=1.0).start()
