"""Rows C1 to C10 of the semantics: what compiles, end to end."""

import ast
import inspect
import sys

import pytest

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
