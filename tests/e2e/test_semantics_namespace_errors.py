"""Rows N1 to N6 (namespace and ``__main__``) and E1 to E5 (errors) of the semantics, end to end."""

import asyncio
import sys

import pytest

import stateroom

MIXED = [
    "x = 1",
    "await asyncio.sleep(0)",
    "async def f(): return 5",
    "await f()",
    "1/0",
    "time.sleep(0)",
    "def (",
    "await asyncio.sleep(0); time.sleep(0)",
    "asyncio.run(f())",
    "asyncio.create_task(f());",
]


async def test_N1_the_namespace_is_one_dict_for_life(session):
    await session.run("import asyncio, time\nfirst = id(globals())", check=True)
    for number in range(1000):
        await session.run(MIXED[number % len(MIXED)])
    assert (await session.run("id(globals()) == first == id(__import__('__main__').__dict__)")).value is True


async def test_N1_locals_are_globals(way):
    assert (await way.run("globals() is __import__('sys').modules['__main__'].__dict__")).value is True
    assert (await way.run("def f(): return globals()\nglobals() is f()")).value is True
    if way.name != "fallback":  # there the cell's code is a function, whose locals are its own
        assert (await way.run("locals() is globals()")).value is True


async def test_N1_names_bound_by_a_failing_cell_stay(way):
    await way.run("early = 1\n1/0\nlate = 1")
    assert (await way.session.run("early, 'late' in globals()")).value == (1, False)


async def test_N2_what_cells_define_lives_in_main(way):
    await way.session.run("from __future__ import annotations", check=True)
    await way.run("class C:\n    def __eq__(self, other): return type(other) is C")
    code = """
import pickle, typing
from dataclasses import dataclass
@dataclass
class D:
    c: C
    more: D | None = None
def g(a: C, b: typing.Optional[D]) -> D: return a
assert pickle.loads(pickle.dumps(C())) == C()
assert pickle.loads(pickle.dumps(D(C(), D(C())))) == D(C(), D(C()))
assert pickle.loads(pickle.dumps(g)) is g
"""
    assert (await way.run(code)).error is None
    hints = "typing.get_type_hints(g) == {'a': C, 'b': typing.Optional[D], 'return': D}, C.__module__"
    assert (await way.run(hints)).value == (True, "__main__")
    assert (await way.run("typing.get_type_hints(D) == {'c': C, 'more': typing.Optional[D]}")).value is True


POOL = """
import concurrent.futures, multiprocessing, math
LIMIT = 100
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return type(other) is Point and other.x == self.x
class Refused(Exception): pass
lock = __import__("threading").Lock()
def helper(x): return min(math.floor(x * x), LIMIT)
def square(x): return helper(x)
def move(point): return Point(point.x + 1)
def refuse(x): raise Refused(x)
def prepare():
    global LIMIT
    LIMIT = 5
def send(connection): connection.send(("from the child", square(3)))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_N3_other_processes_run_functions_of_cells(session, method):
    await session.run(POOL, check=True)
    await session.run(f"context = multiprocessing.get_context('{method}')", check=True)
    await session.run("pool = concurrent.futures.ProcessPoolExecutor(1, context)", check=True)
    assert (await session.run("list(pool.map(square, [1, 2, 30]))")).value == [1, 4, 100]
    assert (await session.run("pool.submit(move, Point(1)).result() == Point(2)")).value is True
    result = await session.run("pool.submit(refuse, 3).result()")
    assert (result.error.type, result.error.message) == ("Refused", "3")
    assert (
        await session.run("try: pool.submit(refuse, 3).result()\nexcept Refused as e: kept = e.args\nkept")
    ).value == (3,)
    await session.run("pool.shutdown()", check=True)
    code = "with concurrent.futures.ProcessPoolExecutor(1, context, prepare) as pool: got = pool.submit(square, 30).result()\ngot"
    assert (await session.run(code)).value == 5
    code = "here, there = context.Pipe(); p = context.Process(target=send, args=(there,)); p.start(); got = here.recv(); p.join(); got"
    assert (await session.run(code)).value == ("from the child", 9)
    assert (await session.run("p.exitcode, LIMIT")).value == (0, 100)


async def test_N3_an_async_cell_awaits_a_process_pool(session):
    await session.run(POOL + "import asyncio", check=True)
    code = (
        "with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:\n"
        "    got = await asyncio.get_running_loop().run_in_executor(pool, square, 4)\ngot"
    )
    assert (await session.run(code)).value == 16


async def test_N3_a_child_process_leaves_the_session_alone(session):
    await session.run(POOL, check=True)
    code = "import os\npid = os.fork()\nif pid == 0:\n    print('child'); os._exit(0)\nos.waitpid(pid, 0)[1]"
    result = await session.run(code)
    assert (result.value, result.stdout) == (0, "child\n")
    assert (await session.run("LIMIT")).value == 100


async def test_N4_the_source_of_earlier_cells_is_found(way):
    before = "\n" * 0 + "# leading\n"
    await way.run(before + "def f(x):\n    # inside\n    return x\n\nclass C:\n    y = 1\n\nlast = 1")
    await way.run("class E: pass")
    await way.session.run("import inspect, linecache; linecache.checkcache()", check=True)
    assert (await way.session.run("inspect.getsource(f)")).value == "def f(x):\n    # inside\n    return x\n"
    assert (await way.session.run("inspect.getsource(C)")).value == "class C:\n    y = 1\n"
    assert (await way.session.run("inspect.getsource(E)")).value == "class E: pass\n"
    assert (await way.session.run("inspect.getsourcelines(f)[1]")).value == way.lines_before + 2


THREAD_BOUND = """
import decimal, signal, sqlite3, threading
con = sqlite3.connect(":memory:")
local = threading.local()
local.x = 1
decimal.getcontext().prec = 5
signal.signal(signal.SIGUSR1, print)
thread = threading.current_thread()
"""
USES = [
    "con.execute('select 1').fetchone() == (1,)",
    "local.x == 1",
    "str(decimal.Decimal(1) / 3) == '0.33333'",
    "signal.signal(signal.SIGUSR1, print) is print",
    "threading.current_thread() is thread is threading.main_thread()",
]


@pytest.mark.parametrize(
    "first", ["", "import asyncio; await asyncio.sleep(0)\n", "import time; time.sleep(.01)\n"]
)
async def test_N5_user_code_always_has_the_same_thread(way, first):
    await way.session.run(first + THREAD_BOUND, check=True)
    await way.session.run("import time; time.sleep(.01)", check=True)
    for use in USES:
        assert (await way.run(use, any_mode=True)).value is True, use


@pytest.mark.parametrize(
    "code",
    [
        "print = asyncio = __name__ = _ = time = None",
        "del __builtins__",
        "__builtins__ = None",
        "globals().clear()",
        "In = Out = None",
        "import builtins; builtins.print = None",
        "import sys; sys.stdout = sys.stderr = None",
        "import sys; sys.modules.pop('__main__')",
        "import sys; sys.modules['asyncio'] = None",
        "import sys; sys.stdout.close(); sys.stderr.close()",
        "import os; os.chdir('/')",
        "import linecache; linecache.cache.clear()",
        "import warnings; warnings.filters.clear()",
        "import asyncio; asyncio.set_event_loop(None)",
        "import asyncio; asyncio.get_event_loop().stop()",
        "import asyncio; asyncio.get_event_loop().close()",
        "import asyncio\nfor t in asyncio.all_tasks(): t.cancel()",
        "import sys; sys.setrecursionlimit(60)",
        "import gc; gc.disable()",
        "import os, time; os.getpid = time.perf_counter = time.time = lambda: 1 / 0",
        "import time; time.monotonic = lambda now=time.monotonic(): now",
        "import builtins; builtins.compile = builtins.exec = builtins.eval = lambda *a, **k: 1 / 0",
        "import builtins; del builtins.compile, builtins.exec, builtins.eval, builtins.open, builtins.input",
        "import sys; sys.excepthook = sys.unraisablehook = sys.displayhook = None",
        "import threading; threading.Thread = threading.current_thread = None",
        "globals()[5] = globals()[None] = 1",
    ],
)
async def test_N6_the_next_cell_runs_whatever_this_one_did(session, code):
    await session.run(code)
    assert (await session.run("1 + 1")).value == 2
    assert (await session.run("async def three(): return 3\nawait three()")).value == 3
    assert (await session.run("import time as t; t.sleep(0.01); 4")).value == 4
    assert (await session.run("1/0")).error.type == "ZeroDivisionError"


async def test_E1_an_error_is_data_with_its_place(way):
    await way.session.run("a, b = 1, 0", check=True)
    result = await way.run("x = 1\nz = (a + 1) / b", filename="<mine>")
    line = 2 + way.lines_before
    assert result.error.text == (
        "Traceback (most recent call last):\n"
        f'  File "<mine>", line {line}, in <module>\n'
        "    z = (a + 1) / b\n"
        "        ~~~~~~~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )
    error = result.error
    assert (error.type, error.module, error.message) == ("ZeroDivisionError", "builtins", "division by zero")
    [frame] = error.frames
    assert (frame.filename, frame.name, frame.source) == ("<mine>", "<module>", "z = (a + 1) / b")
    assert (frame.line, frame.end_line, frame.column, frame.end_column) == (line, line, 4, 15)
    assert (error.cause, error.context, error.group, error.notes) == (None, None, None, [])
    assert result.cancelled is False


async def test_E1_chain_and_notes(way):
    code = """
def fail():
    try:
        {}["key"]
    except KeyError as error:
        error.add_note("look here")
        raise ValueError("no key") from error
try:
    fail()
except ValueError:
    1 / 0
"""
    error = (await way.run(code)).error
    assert (error.type, error.context.type, error.context.cause.type) == (
        "ZeroDivisionError",
        "ValueError",
        "KeyError",
    )
    assert error.context.cause.notes == ["look here"]
    assert [frame.name for frame in error.context.frames] == ["<module>", "fail"]
    assert "The above exception was the direct cause" in error.text
    assert "During handling of the above exception" in error.text
    assert "stateroom" not in error.text


async def test_E1_an_error_whose_text_never_ends_is_described_without():
    async with stateroom.Session(repr_timeout_s=0.05) as session:
        code = "class Odd(Exception):\n    def __str__(self):\n        while True: pass\nkept = 1\nraise Odd"
        error = (await session.run(code)).error
        assert (error.type, error.message) == ("Odd", "<exception str() failed>")
        assert error.frames[-1].source == "raise Odd"
        assert (await session.run("kept")).value == 1


async def test_E1_no_frame_of_the_engine_in_an_awaited_error(awaiting):
    code = "async def inner():\n    await give(1)\n    raise ValueError('inner')\nawait asyncio.create_task(inner())"
    result = await awaiting.run(code)
    assert [frame.name for frame in result.error.frames] == ["<module>", "inner"]
    assert "stateroom" not in result.error.text


async def test_E2_the_line_of_an_earlier_cell_is_shown(way):
    await way.run("# first\ndef f(): 1/0")
    result = await way.run("f()")
    [outer, inner] = result.error.frames
    assert inner.filename != outer.filename
    assert (inner.name, inner.line, inner.source) == ("f", 2 + way.lines_before, "def f(): 1/0")
    assert f'File "{inner.filename}", line {inner.line}, in f\n    def f(): 1/0\n' in result.error.text
    same = await way.run("f()")
    assert same.error.frames[0].filename not in (outer.filename, inner.filename)


async def test_E3_members_of_a_group_are_data(way):
    code = "m = ValueError(1)\nm.add_note('its note')\ne = ExceptionGroup('e', [m, ExceptionGroup('f', [TypeError(2)])])\ne.add_note('group note')\nraise e"
    error = (await way.run(code)).error
    assert (error.type, error.message, error.notes) == (
        "ExceptionGroup",
        "e (2 sub-exceptions)",
        ["group note"],
    )
    assert [(member.type, member.message, member.notes) for member in error.group] == [
        ("ValueError", "1", ["its note"]),
        ("ExceptionGroup", "f (1 sub-exception)", []),
    ]
    assert [(member.type, member.message) for member in error.group[1].group] == [("TypeError", "2")]
    assert "+-+---------------- 1 ----------------" in error.text


async def test_E3_a_task_group_of_the_cell(awaiting):
    code = "async def fail(error):\n    raise error\nasync with asyncio.TaskGroup() as g:\n    g.create_task(fail(ValueError(1)))\n    g.create_task(fail(TypeError(2)))"
    error = (await awaiting.run(code)).error
    assert sorted(member.type for member in error.group) == ["TypeError", "ValueError"]
    assert all(member.frames[-1].name == "fail" for member in error.group)


EXITS = [("SystemExit", "SystemExit(3)", 3), ("KeyboardInterrupt", "KeyboardInterrupt", None)]


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_an_exit_is_reported_and_the_session_lives(way, name, error, status):
    pid = way.session.info.pid
    result = await way.run(f"kept = 1\nraise {error}")
    assert (result.error.type, result.error.exit_status, result.cancelled) == (name, status, False)
    assert (await way.session.run("kept")).value == 1
    assert way.session.info.pid == pid


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_a_task_that_the_cell_awaits(awaiting, name, error, status):
    await awaiting.run(f"async def fail():\n    await asyncio.sleep(0)\n    raise {error}", check=True)
    group = "async with asyncio.TaskGroup() as g:\n    g.create_task(fail())"
    for code in (
        group,
        "await asyncio.create_task(fail())",
        "await asyncio.gather(fail(), asyncio.sleep(0))",
    ):
        result = await awaiting.run(code)
        assert (result.error.type, result.cancelled) == (name, False), code
        assert (await awaiting.run("1 + 1")).value == 2
    assert (await awaiting.run("await asyncio.sleep(0, 5)")).value == 5


def collected(session):
    """Late output, as it comes."""
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    return late


async def text_until(late, execution_id, end):
    """What is printed late on behalf of an execution, up to ``end``."""
    text = ""
    while end not in text:
        message = await late.get()
        assert (message.execution_id, message.stream) == (execution_id, "stderr"), message
        text += message.data
    return text


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_the_background(session, name, error, status):
    late = collected(session)
    await session.run(
        f"import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    raise {error}", check=True
    )
    await session.run("task = asyncio.create_task(fail()); del task", execution_id="task")
    assert "Traceback" in await text_until(late, "task", name)
    await session.run(
        f"def fail():\n    raise {error}\nasyncio.get_event_loop().call_soon(fail);", execution_id="callback"
    )
    assert "Traceback" in await text_until(late, "callback", name)
    assert (await session.run("await asyncio.sleep(0, 5)")).value == 5
    assert (await session.run("1 + 1")).value == 2


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_the_background_while_a_cell_runs(session, name, error, status):
    await session.run("import asyncio, time", check=True)
    define = f"def fail():\n    raise {error}\nasyncio.get_event_loop().call_soon(fail)\n"
    for wait in ("await asyncio.sleep(0.01)", "time.sleep(0.05)"):
        result = await session.run(define + wait + "\n7")
        assert (result.error, result.value) == (None, 7)
        assert name in result.stderr


async def test_E4_exit_leaves_input_working(way):
    result = await way.run("exit(3)")
    assert (result.error.type, result.error.exit_status) == ("SystemExit", 3)
    result = await way.run(
        "input('? ') + __import__('sys').stdin.readline()", any_mode=True, on_input=lambda _: "yes"
    )
    assert result.value == "yesyes\n"


FAILING_TASK = "import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    1 / 0\n"


async def test_E5_an_error_that_nobody_retrieves_goes_to_stderr_of_its_cell(way):
    late = collected(way.session)
    await way.session.run(
        "async def fail(seconds=0):\n    await asyncio.sleep(seconds)\n    1 / 0", check=True
    )
    result = await way.run("task = asyncio.create_task(fail(0.02))\ndel task", execution_id="mine")
    text = result.stderr or await text_until(late, "mine", "ZeroDivisionError")
    assert "    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n" in text
    assert "in fail" in text
    assert "stateroom" not in text


async def test_E5_while_another_cell_runs_it_is_not_tagged_with_that(session):
    late = collected(session)
    await session.run(
        FAILING_TASK + "gate = asyncio.Event()\nasync def wait():\n    await gate.wait()\n    await fail()",
        check=True,
    )
    await session.run("task = asyncio.create_task(wait()); del task", execution_id="mine")
    result = await session.run("gate.set(); await asyncio.sleep(0.02)\n5", execution_id="other")
    assert (result.value, result.stderr) == (5, "")
    assert "ZeroDivisionError" in await text_until(late, "mine", "ZeroDivisionError")


async def test_E5_a_task_of_a_task_belongs_to_the_same_cell(session):
    late = collected(session)
    code = (
        FAILING_TASK
        + "async def outer():\n    asyncio.create_task(fail())\ntask = asyncio.create_task(outer())"
    )
    result = await session.run(code, execution_id="mine")
    text = result.stderr or await text_until(late, "mine", "ZeroDivisionError")
    assert "1 / 0" in text


async def test_E5_a_retrieved_error_is_not_reported(session):
    collected(session)
    result = await session.run(
        FAILING_TASK
        + "task = asyncio.create_task(fail())\ntry: await task\nexcept ZeroDivisionError: pass\ndel task\n5"
    )
    assert (result.value, result.stderr) == (5, "")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs a task factory that takes a context")
async def test_E5_with_an_eager_task_factory(session):
    late = collected(session)
    await session.run(
        FAILING_TASK + "asyncio.get_event_loop().set_task_factory(asyncio.eager_task_factory)", check=True
    )
    result = await session.run("task = asyncio.create_task(fail()); del task", execution_id="mine")
    assert "1 / 0" in (result.stderr or await text_until(late, "mine", "ZeroDivisionError"))
