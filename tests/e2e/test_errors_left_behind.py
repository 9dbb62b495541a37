"""What Python does with an error besides printing it: ``sys.last_exc``, hooks, warnings, finalizers."""

import asyncio
import sys

import pytest

import stateroom


async def test_the_last_error_is_found_where_the_interactive_python_leaves_it(way):
    await way.session.run("import sys, traceback", check=True)
    for code, name in (("1/0", "ZeroDivisionError"), ("x = 1\n{}[x]", "KeyError")):
        result = await way.run(code)
        assert (
            await way.session.run("traceback.print_exception(sys.last_value)")
        ).stderr == result.error.text
        assert (await way.session.run("sys.last_type.__name__, type(sys.last_value).__name__")).value == (
            name,
            name,
        )
        assert (await way.session.run("sys.last_traceback is sys.last_value.__traceback__")).value is True
        has_last_exc = sys.version_info >= (3, 12)
        same = "getattr(sys, 'last_exc', None) is sys.last_value"
        assert (await way.session.run(same)).value is has_last_exc


async def test_a_syntax_error_is_one_and_an_exit_is_none(session):
    await session.run("import sys\nsys.last_value = None", check=True)
    await session.run("x = (")
    assert (await session.run("type(sys.last_value).__name__, sys.last_traceback")).value == (
        "SyntaxError",
        None,
    )
    await session.run("sys.exit(3)")
    assert (await session.run("type(sys.last_value).__name__")).value == "SyntaxError"


async def test_a_hook_of_the_users_is_called_with_the_error(way):
    await way.session.run(
        "import sys\ndef hook(kind, error, trace):\n"
        "    print(kind is type(error), error, trace is error.__traceback__, trace and trace.tb_frame.f_code.co_name)\n"
        "sys.excepthook = hook",
        check=True,
    )
    result = await way.run("1/0")
    assert (result.error.type, result.stdout) == (
        "ZeroDivisionError",
        "True division by zero True <module>\n",
    )
    result = await way.run("x = (", any_mode=True)
    assert (result.error.type, result.stdout.startswith("True '(' was never closed")) == ("SyntaxError", True)
    assert (await way.run("raise SystemExit(3)")).stdout == ""
    await way.session.run("sys.excepthook = sys.__excepthook__", check=True)
    result = await way.run("1/0")
    assert (result.error.type, result.stdout, result.stderr) == ("ZeroDivisionError", "", "")


@pytest.mark.parametrize("hook", ["None", "lambda: 0", "lambda *a: 1/0", "lambda *a: sys.exit(3)"])
async def test_a_hook_that_fails_is_told_and_the_error_is_the_cells(session, hook):
    await session.run(f"import sys\nsys.excepthook = {hook}", check=True)
    result = await session.run("[][1]")
    assert result.error.type == "IndexError"
    assert result.error.context is None
    assert ("Error in sys.excepthook:\n" in result.stderr) is (hook != "None")
    assert "stateroom" not in result.stderr
    assert (await session.run("1 + 1")).value == 2


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(100)", "input()"])
async def test_a_hook_that_never_ends_can_be_cancelled(session, body):
    await session.run(f"import sys\ndef hook(*error):\n    print('begun')\n    {body}", check=True)
    for failing in ("1/0", "x = ("):
        begun = asyncio.Event()
        cell = asyncio.create_task(
            session.run(
                f"sys.excepthook = hook\n{failing}" if failing == "1/0" else failing,
                on_output=lambda _, begun=begun: begun.set(),
                on_input=lambda _: asyncio.Event().wait(),
            )
        )
        await begun.wait()
        await session.cancel()
        result = await cell
        assert (result.cancelled, result.error.type) == (True, "CancelledError")
        assert (await session.run("1 + 1")).value == 2


async def test_background_tasks_go_on_while_a_hook_takes_its_time(session):
    code = (
        "import asyncio, sys, threading\nticked = threading.Event()\n"
        "async def tick():\n    await asyncio.sleep(0)\n    ticked.set()\n"
        "def hook(*error):\n    asyncio.create_task(tick())\n    print(ticked.wait(30))\nsys.excepthook = hook\n1/0"
    )
    assert (await session.run(code)).stdout == "True\n"


async def test_each_cell_warns_anew_as_each_file_would(way):
    await way.session.run("import warnings\ndef warn():\n    warnings.warn('deep')", check=True)
    for _ in range(2):
        result = await way.run("for i in range(3): warnings.warn('here')\nwarn()")
        assert result.stderr.count("UserWarning: here") == 1
        assert result.stderr.count("UserWarning: deep") == 1


async def test_a_coroutine_that_a_cell_drops_is_told_with_the_cells_line(way):
    await way.session.run("async def f(): pass", check=True)
    result = await way.run("f();", any_mode=True)
    assert "RuntimeWarning: coroutine 'f' was never awaited\n  f();\n" in result.stderr
    assert "stateroom" not in result.stderr


async def test_an_error_in_a_finalizer_is_printed_with_its_line(way):
    await way.session.run("class D:\n    def __del__(self): 1/0", check=True)
    result = await way.run("d = D()\ndel d")
    assert result.stderr.startswith("Exception ignored ")
    assert ", in __del__\n    def __del__(self): 1/0\n" in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "stateroom" not in result.stderr


HOSTILE = {
    "notes": "class E(Exception):\n    @property\n    def __notes__(self): raise SystemExit\nraise E",
    "all": "class E(Exception):\n    def __getattribute__(self, name): raise SystemExit\nraise E",
    "interrupt": "class E(Exception):\n    def __getattribute__(self, name): raise KeyboardInterrupt\nraise E",
    "class": "class E(Exception):\n    @property\n    def __class__(self): raise SystemExit\nraise E",
    "exit that is none": "class E(Exception):\n    __class__ = SystemExit\nraise E",
    "cancel that is none": "import asyncio\nclass E(Exception):\n    __class__ = asyncio.CancelledError\nraise E",
    "syntax": "raise SyntaxError('m', ('f', 'line', 1.5, 'text', 10**30, ()))",
    "status": "class C(int):\n    def __int__(self): raise KeyboardInterrupt\n    __and__ = __index__ = __str__ = __int__\nraise SystemExit(C(3))",
    "no status": "class E(SystemExit):\n    @property\n    def code(self): raise SystemExit\nraise E",
    "huge status": "raise SystemExit(10**400)",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_error_ends_its_cell_and_nothing_else(way, code):
    pid = way.session.info.pid
    result = await way.run(code)
    assert (result.error.type, result.cancelled) in {
        ("E", False),
        ("SyntaxError", False),
        ("SystemExit", False),
    }
    assert "in <module>\n" in result.error.text
    assert (await way.session.run("1 + 1")).value == 2
    assert way.session.info.pid == pid


@pytest.mark.parametrize("attribute", ["__notes__", "__cause__", "__class__", "__suppress_context__"])
async def test_an_error_that_never_stops_describing_itself_is_described_without(attribute):
    async with stateroom.Session(repr_timeout_s=0.05) as session:
        code = f"class E(Exception):\n    @property\n    def {attribute}(self):\n        while True: pass\nkept = 1\nraise E"
        error = (await session.run(code)).error
        assert error.type == "E"
        assert error.frames[-1].source == "raise E"
        assert (await session.run("kept")).value == 1


@pytest.mark.parametrize("pause_s", [0, 0.02])
async def test_a_hook_after_a_cell_that_blocked_finds_the_loop_where_it_belongs(session, pause_s):
    await session.run(
        f"import asyncio, sys, time\nsys.excepthook = lambda *_: time.sleep({pause_s})\n"
        "task = asyncio.create_task(asyncio.sleep(1000))",
        check=True,
    )
    for _ in range(10):
        result = await session.run("time.sleep(0.001)\n1/0")
        assert (result.error.type, result.stderr) == ("ZeroDivisionError", "")
        result = await session.run("await asyncio.sleep(0)\ntask.done()")
        assert (result.value, result.stderr) == (False, "")
