"""Rows V1 to V5 of the semantics: the values of cells, from the worker to the client."""

import asyncio
import datetime as dt
import decimal
import math
import textwrap
import uuid

import pytest
from watching import begun

import stateroom


async def test_V1_the_value_of_the_last_expression_and_the_history_follow(way):
    assert (await way.run("x = 1\nx + 1")).value == 2
    assert (await way.run("x = 20\nx")).value == 20
    assert (await way.run("'three'")).value == "three"
    assert (await way.session.run("(_, __, ___)")).value == ("three", 20, 2)
    numbers = (await way.session.run("[number for number, value in Out.items() if value == 'three']")).value
    assert (await way.session.run(f"In[{numbers[0]}]")).value.endswith("'three'")
    assert (await way.run("l = globals().get('l', [])\nl.append(1)\nl")).value == [1]


async def test_V1_a_failing_cell_leaves_the_history_alone(way):
    await way.run("7")
    await way.run("1/0")
    assert (await way.session.run("_")).value == 7


async def test_V1_the_value_of_an_await(awaiting):
    assert (await awaiting.run("await give(3)")).value == 3
    assert (await awaiting.run("x = await give(4)\nx")).value == 4
    assert (await awaiting.run("(_, __)")).value == (4, 3)


async def test_V1_a_displayhook_of_the_users_own_is_called_as_in_interactive_mode(way):
    await way.session.run("import sys\nsys.displayhook = lambda value: print('shown', value)", check=True)
    for code, value, stdout in [
        ("1 + 1", 2, "shown 2\n"),
        ("None", None, ""),
        ("3;", None, ""),
        ("x = 4", None, ""),
    ]:
        result = await way.run(code)
        assert (result.error, result.value, result.stdout) == (None, value, stdout), code
    await way.session.run("def hook(value): raise KeyError(value)\nsys.displayhook = hook", check=True)
    assert (await way.run("5")).error.type == "KeyError"
    await way.session.run("sys.displayhook = sys.__displayhook__", check=True)
    assert (await way.run("6")).value == 6


async def test_V1_a_displayhook_that_hangs_is_ended_with_its_cell(session):
    code = "import sys, time\ndef hook(value): print('on'); time.sleep(100)\nsys.displayhook = hook\n1"
    running = await begun(session, code)
    assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
    assert (await running).cancelled


@pytest.mark.parametrize("code", ["1", "await asyncio.sleep(0)\n1"])
async def test_V1_a_displayhook_that_waits_in_a_loop_of_its_own_is_ended_with_its_cell(session, code):
    await session.run(
        "import asyncio, sys\n"
        "async def wait(): print('on'); await asyncio.sleep(100)\n"
        "sys.displayhook = lambda value: asyncio.run(wait())",
        check=True,
    )
    running = await begun(session, code)
    assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
    assert (await running).cancelled


async def test_V1_a_displayhook_is_not_called_for_a_script(session):
    code = "import sys\nsys.displayhook = print\n5"
    result = await session.run(code, filename="script.py", argv=["script.py"])
    assert (result.value, result.stdout) == (5, "")


async def test_V1_rich_shows_values_when_it_is_asked_to(session):
    await session.run("from rich import pretty\npretty.install()", check=True)
    result = await session.run("[1, {'two': 3}]")
    assert (result.value, result.stdout) == ([1, {"two": 3}], "[1, {'two': 3}]\n")


async def test_V2_a_semicolon_hides_the_value_and_nothing_else_does(awaiting):
    for code, value in [
        ("1;", None),
        ("await give(1);", None),
        ("await give(1); # note", None),
        ('"a;"', "a;"),
        ("await give('a;')", "a;"),
        ("1 # ;", 1),
        ("await give(1) # ;", 1),
        ("if 1: 5", None),
        ("if await give(1): 5", None),
        ("1;2", 2),
        ("await give(1);2", 2),
        ("*[1,2], 3", (1, 2, 3)),
        ("*[await give(1),2], 3", (1, 2, 3)),
    ]:
        result = await awaiting.run(code)
        assert (result.error, result.value) == (None, value), code
        assert (result.repr is None) is (value is None), code


async def test_V2_a_quiet_cell_is_quiet_in_every_way(way):
    for code in ("5;", "5 ; # note", "x = 5; x;"):
        result = await way.run(code)
        assert (result.value, result.repr, result.has_value) == (None, None, False), code
    for code, value in (
        ('"a;"', "a;"),
        ("1 # ;", 1),
        ("if 1: 5", None),
        ("1;2", 2),
        ("*[1,2], 3", (1, 2, 3)),
    ):
        assert (await way.run(code)).value == value, code


LAZY = {
    "<generator": "(touched.append(1) for _ in range(3))",
    "<coroutine": "touch()",
    "<Task pending": "asyncio.get_event_loop().create_task(touch())",
    "<async_generator": "walk()",
}


async def test_V3_a_lazy_value_is_returned_as_it_is(way):
    code = """
    gate, touched = asyncio.Event(), []
    async def touch():
        await gate.wait()
        touched.append(1)
    async def walk():
        touched.append(1)
        yield
    """
    await way.session.run(code, check=True)
    for shown, code in LAZY.items():
        result = await way.run(code)
        assert (result.error, result.has_value, result.value) == (None, False, None)
        assert result.repr.startswith(shown)
        assert any(note.startswith("no plain value: value is a") for note in result.notes)
        assert (await way.session.run("touched")).value == []
        await way.session.run(
            "_.close() if hasattr(_, 'close') else _.cancel() if hasattr(_, 'cancel') else 0;"
        )


HOSTILE = {
    "ValueError": "raise ValueError('no')",
    "SystemExit": "raise SystemExit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "RecursionError": "return repr(self)",
    "TypeError": "return 5",
}


async def test_V4_a_repr_that_fails_is_noted_and_the_cell_succeeds(way):
    for name, body in HOSTILE.items():
        await way.session.run(f"class Odd:\n    def __repr__(self): {body}", check=True)
        result = await way.run("kept = 1; Odd()")
        assert result.error is None
        assert result.repr == f"<__main__.Odd whose repr raised {name}>"
        assert f"repr() of Odd raised {name}" in result.notes
        result = await way.run("[Odd()]")
        assert result.error is None
        assert result.repr == f"<builtins.list whose repr raised {name}>"
        assert (await way.session.run("kept")).value == 1


async def test_V4_a_repr_of_a_gigabyte_is_cut(way):
    result = await way.run("class Big:\n    def __repr__(self): return 'x' * 10**9\nBig()")
    assert result.error is None
    assert len(result.repr) < 1_100_000
    assert any("1000000000 characters" in note for note in result.notes)


NEVER_ENDING = {
    "loop": "\n        while True: pass",
    "sleep": "__import__('time').sleep(100)",
    "swallows": "\n        while True:\n            try:\n                while True: pass\n            except Exception: pass",
    "swallows all": "\n        while True:\n            try:\n                while True: pass\n            except BaseException: pass",
    "input": "return input()",
    "lock": "import threading; threading.Event().wait()",
}


@pytest.mark.parametrize("body", NEVER_ENDING.values(), ids=list(NEVER_ENDING))
async def test_V4_a_repr_that_never_ends_is_cut(body):
    async with stateroom.Session(repr_timeout_s=0.1) as session:
        await session.run(f"class Slow:\n    def __repr__(self): {body}", check=True)
        for code in ("kept = 1; Slow()", "import asyncio; await asyncio.sleep(0); [Slow()]"):
            result = await session.run(code, on_input=lambda _: asyncio.Event().wait())
            assert result.error is None
            assert "whose repr took longer than 0.1 s>" in result.repr
            assert any("0.1 s" in note for note in result.notes)
            assert result.cancelled is False
        assert (await session.run("kept")).value == 1


async def test_V4_a_repr_that_never_ends_can_be_cancelled(session):
    result = await session.run(
        "class Slow:\n    def __repr__(self):\n        while True: pass\nSlow()", timeout=0.1
    )
    assert (result.cancelled, result.error.type) == (True, "TimeoutError")
    assert (await session.run("1")).value == 1


async def test_V4_a_quick_repr_is_left_alone():
    async with stateroom.Session(repr_timeout_s=5) as session:
        code = "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(0.01)\n        return 'here'\nSlow()"
        assert (await session.run(code)).repr == "here"


PLAIN = [
    "True",
    "5",
    "-(2**63) - 1",
    "10**400",
    "1.5",
    "'é\\n\\x00\\ud800'",
    "b'\\x00\\xff'",
    "[1, [2, []]]",
    "(1, (2,), ())",
    "{'a': {1: None}, (1, 2): b''}",
    "{1, 'a', (2, 3)}",
    "frozenset({1})",
    "datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)",
    "datetime.datetime(2024, 2, 29, 12, 30, 1, 5, fold=1)",
    "datetime.date(2024, 2, 29)",
    "datetime.time(1, 2, 3)",
    "datetime.timedelta(days=-1, microseconds=1)",
    "decimal.Decimal('1.10')",
    "uuid.UUID(int=5)",
    "[{'a': (1, {2: {3}})}, decimal.Decimal('NaN').is_nan()]",
]


async def test_V5_plain_data_arrives_equal_and_of_the_same_type(session):
    await session.run("import asyncio, datetime, decimal, uuid", check=True)
    names = {
        "datetime": dt,
        "decimal": decimal,
        "uuid": uuid,
        "Decimal": decimal.Decimal,
        "UUID": uuid.UUID,
    }
    for code in PLAIN:
        expected = eval(code, names)
        for source in (code, f"await asyncio.sleep(0, {code})"):
            result = await session.run(source)
            assert (result.error, result.has_value, result.notes) == (None, True, []), source
            assert result.value == expected
            assert types_in(result.value) == types_in(expected)
            assert eval(result.repr, names) == expected


def types_in(value):
    """The types of a value and of all it holds, in order."""
    inner = [*value.items()] if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        return [type(value), *map(types_in, inner)]
    return type(value)


async def test_V5_inf_nan_and_none(session):
    assert math.isnan((await session.run("float('nan')")).value)
    assert (await session.run("float('-inf')")).value == -math.inf
    assert (await session.run("[None]")).value == [None]
    result = await session.run("None")
    assert (result.value, result.repr, result.notes) == (None, None, [])


OTHER = [
    "object()",
    "[object()]",
    "lambda: 0",
    "__import__('sys')",
    "type('Mine', (int,), {})(5)",
    "type('Mine', (dict,), {})()",
    "(lambda l: l.append(l) or l)([])",
]


async def test_V5_other_values_come_as_repr_with_a_note(session):
    for code in OTHER:
        result = await session.run(code)
        assert (result.error, result.has_value, result.value) == (None, False, None), code
        assert result.repr == (await session.run("repr(_)")).value
        assert result.mime["text/plain"] == result.repr
        assert any(note.startswith("no plain value: value") for note in result.notes)


async def test_V5_a_value_with_representations_of_its_own_gives_a_mime_bundle(session):
    code = """
    class Rich:
        def __repr__(self): return "Rich()"
        def _repr_html_(self): return "<b>rich</b>"
    Rich()
    """
    result = await session.run(textwrap.dedent(code))
    assert (result.has_value, result.repr) == (False, "Rich()")
    assert result.mime["text/html"] == "<b>rich</b>"
