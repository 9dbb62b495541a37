"""Rows N1 to N6 of the semantics: the namespace and ``__main__``, end to end."""

import pytest

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
