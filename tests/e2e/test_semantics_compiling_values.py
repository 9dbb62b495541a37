"""Rows C1 to C10 (compiling) and V1 to V5 (values) of the semantics, from the client to a worker and back."""

import ast
import asyncio
import datetime as dt
import decimal
import inspect
import math
import sys
import textwrap
import uuid

import pytest

import stateroom

EXCEPT_GROUP = """
v = 0
try:
    await give(1)
    raise ExceptionGroup('g', [ValueError(1)])
except* ValueError as e:
    v = await give(len(e.exceptions))
"""
AWAITING = {
    "await": ("v = await give(1)", 1),
    "f-string": ("v = f'{await give(2)}'", "2"),
    "default": ("def f(x=await give(3)): return x\nv = f()", 3),
    "decorator": ("@(await give(lambda f: 4))\ndef v(): pass", 4),
    "class": ("class C(await give(dict), metaclass=await give(type)): pass\nv = C.__mro__[1] is dict", True),
    "await in a comprehension": ("v = [await x for x in [give(1), give(2)]]", [1, 2]),
    "asynchronous comprehension": ("v = {x: 0 async for x in It(1, 2)}", {1: 0, 2: 0}),
    "async for": ("v = 0\nasync for x in It(1, 2):\n    v += x\nelse:\n    v += 10", 13),
    "async with": ("async with Manager() as v: pass", "entered"),
    "with": ("import contextlib\nwith await give(contextlib.nullcontext(4)) as v: pass", 4),
    "assert": ("assert await give(True)\nv = 1", 1),
    "walrus": ("(v := await give(5))", 5),
    "match": ("match await give(1):\n    case 1 if await give(True): v = 'one'", "one"),
    "except*": (EXCEPT_GROUP, 1),
}


async def test_C1_a_cell_may_await_wherever_an_async_function_may(awaiting):
    for code, value in AWAITING.values():
        result = await awaiting.run(code)
        assert (result.error, result.mode) == (None, "top_level_await"), code
        assert (await awaiting.run("v")).value == value, code


ILLEGAL = [
    ("lambda: await a", 9),
    ("def f(): await a", 10),
    ("def f(): [x async for x in y]", 10),
    ("lambda: [x async for x in y]", 9),
    ("class C: await a", 10),
    ("class C: v = [x async for x in y]", 14),
    ("yield 1", 1),
    ("yield from x", 1),
    ("return 1", 1),
    ("if 0: return", 7),
    ("await a; return 1", 10),
    ("break", 1),
    ("nonlocal x", 1),
]


async def test_C2_an_illegal_cell_is_the_users_error_and_nothing_of_it_runs(awaiting):
    for code, column in ILLEGAL:
        result = await awaiting.run(f"z = 1\n{code}", filename="<mine>")
        assert (result.error.type, result.mode) == ("SyntaxError", "unknown"), code
        place = result.error.frames[-1]
        assert (place.filename, place.line, place.column) == ("<mine>", 2, column - 1), code
        assert place.source == code
        assert result.error.text.startswith('  File "<mine>", line 2\n'), result.error.text
        assert result.error.text.count("SyntaxError") == 1
        assert result.error.context is None
        assert (await awaiting.run("'z' in globals()")).value is False, code


@pytest.mark.parametrize("code", ["g = (x async for x in It(1))", "g = (await x for x in [give(1)])"])
async def test_C3_an_asynchronous_generator_stays_one(awaiting, code):
    flags = compile(code, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT).co_flags
    mode = "top_level_await" if flags & inspect.CO_COROUTINE else "simple_sync"
    assert (await awaiting.run(code)).mode == mode
    assert (await awaiting.run("type(g).__name__")).value == "async_generator"
    assert (await awaiting.run("[x async for x in g]")).value == [1]


async def test_C4_a_coroutine_as_value_is_not_awaited(session):
    assert (await session.run("async def f(): return 5")).mode == "async_def"
    result = await session.run("f()")
    assert (result.mode, result.has_value) == ("simple_sync", False)
    assert result.repr.startswith("<coroutine object f at")
    assert (await session.run("await _")).value == 5


async def test_C5_an_invalid_escape_warns_once(way):
    warning = "SyntaxWarning" if sys.version_info >= (3, 12) else "DeprecationWarning"
    await way.session.run("import warnings; warnings.simplefilter('always')")
    result = await way.run(r'"\d"')
    assert result.value == r"\d"
    assert result.stderr.count(warning) == 1, result.stderr
    assert f">:{way.lines_before + 1}: {warning}" in result.stderr


async def test_C6_an_annotation_is_evaluated(way):
    await way.run("x: int = 1\ndef f(a: int): pass")
    assert (await way.run("f.__annotations__['a'] is int")).value is True
    if way.name != "fallback":  # a function's local has no annotation at run time
        module = "" if sys.version_info < (3, 14) else "__import__('__main__')."  # PEP 649: the module's only
        assert (await way.run(f"{module}__annotations__['x'] is int")).value is True


async def test_C7_future_features_persist_from_cell_to_cell(session):
    assert (await session.run("def h(a: Nope): pass\nh.__annotations__")).error.type == "NameError"
    await session.run("from __future__ import annotations", check=True)
    await session.run("def h(a: Nope): pass", check=True)
    assert (await session.run("h.__annotations__")).value == {"a": "Nope"}


async def test_C7_a_cell_that_is_known_without_the_feature_is_compiled_anew_with_it(way):
    code = "def h(a: int): pass\nh.__annotations__['a'] is int"
    assert (await way.run(code)).value is True
    assert (await way.run(code)).value is True
    await way.session.run("from __future__ import annotations", check=True)
    assert (await way.run(code)).value is False


async def test_C7_future_features_do_not_survive_a_restart(session):
    await session.run("from __future__ import annotations", check=True)
    await session.restart()
    assert (await session.run("def h(a: Nope): pass\nh.__annotations__")).error.type == "NameError"


DEEP = {
    "sum": ("x = 1\n" + "+".join(["x"] * 20_000), {None, "RecursionError", "MemoryError"}),
    "minus": ("-" * 200_000 + "1", {None, "RecursionError", "MemoryError"}),
    "brackets": ("(" * 5_000 + ")" * 5_000, {"SyntaxError", "MemoryError"}),
    "NUL": ("x = 1\0", {"SyntaxError"}),
}


@pytest.mark.parametrize(("code", "errors"), DEEP.values(), ids=list(DEEP))
async def test_C8_what_cannot_be_compiled_is_the_users_error_and_the_session_lives(way, code, errors):
    pid = way.session.info.pid
    result = await way.run(code, any_mode=True)
    assert (result.error and result.error.type) in errors
    assert (await way.session.run("1 + 1")).value == 2
    assert way.session.info.pid == pid


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("", None),
        ("  \n\n", None),
        ("# only a comment", None),
        ("   # indented comment", None),
        ("\ufeff1 + 1", 2),
        ("    x = 1\n    x + 1", 2),
        ("\tif 1:\n\t\tx = 3\n\tx", 3),
        ("x = 1\r\nx + 1\r\n", 2),
        ("    import asyncio\n    await asyncio.sleep(0, 5)", 5),
    ],
)
async def test_C9_space_around_the_code_is_no_error(session, code, value):
    result = await session.run(code)
    assert (result.error, result.value) == (None, value)


async def test_C10_the_same_cell_again_is_a_cache_hit_that_names_its_own_cell(way):
    statistics = (
        "import gc\nfrom stateroom.engine.cache import CodeCache\n"
        "cache = next(each for each in gc.get_objects() if isinstance(each, CodeCache))"
    )
    await way.session.run(statistics, check=True)
    hits = []
    for number in range(3):
        result = await way.run("1/0", filename=f"<mine {number}>")
        assert f'File "<mine {number}>", line {way.lines_before + 1}' in result.error.text
        assert result.error.text.count("<mine") == 1
        hits.append((await way.session.run("cache.statistics.hits")).value)
    assert hits == [hits[0], hits[0] + 2, hits[0] + 4]  # each look at the figures is a hit, too


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
