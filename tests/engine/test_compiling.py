"""The rows of semantics.md on compiling."""

import ast
import inspect
import linecache
import sys
import traceback
import types
import warnings

import pytest

from stateroom.engine.compiler import ExecutionMode

AWAITING_CELLS = {
    "await": ("v = await give(1)", 1),
    "f-string": ("v = f'{await give(1)}{await give(2)!r:>3}'", "1  2"),
    "default": ("def f(x=await give(3)): return x\nv = f()", 3),
    "keyword default": ("def f(*, x=await give(3)): return x\nv = f()", 3),
    "lambda default": ("v = (lambda x=await give(3): x)()", 3),
    "decorator": ("@(await give(str))\nclass v: pass\nv = v[:5]", "<clas"),
    "base class": ("class C(await give(int)): pass\nv = C.__base__", int),
    "metaclass": ("class C(metaclass=await give(type)): pass\nv = type(C)", type),
    "list of awaits": ("v = [await give(x) for x in (1, 2)]", [1, 2]),
    "set and dict": (
        "v = {await give(1)}, {await give(k): await give(k + 1) for k in (1, 2)}",
        ({1}, {1: 2, 2: 3}),
    ),
    "async comprehension": ("v = [x async for x in It(1, 2)]", [1, 2]),
    "nested comprehension": ("v = [[x async for x in It(1, 2)] for _ in (1, 2)]", [[1, 2], [1, 2]]),
    "async for": ("v = 0\nasync for x in It(1, 2):\n    v += x\nelse:\n    v += 10", 13),
    "async with": ("async with Manager() as v: pass", "entered"),
    "with": ("import contextlib\nwith await give(contextlib.nullcontext(4)) as v: pass", 4),
    "assert": ("assert await give(True)\nv = 1", 1),
    "walrus": ("(v := await give(5))", 5),
    "walrus in comprehension": ("[(v := await give(x)) for x in (1, 2)]", 2),
    "match": ("match await give(1):\n    case 1 if await give(True): v = 'one'", "one"),
    "except*": (
        "try:\n    await give(1)\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError as v: v = await give(7)",
        None,
    ),
    "finally": ("try:\n    pass\nfinally:\n    v = await give(8)", 8),
    "except": ("try:\n    1 / 0\nexcept (await give(ZeroDivisionError)):\n    v = await give(9)", 9),
    "while": ("v = 0\nwhile await give(v < 3): v += 1", 3),
    "subscript": ("v = {}\nv[await give(1)] = await give(2)", {1: 2}),
    "annotated": ("v: int = await give(1)", 1),
    "star import": ("from math import *\nv = await give(floor(1.5))", 1),
    "global": ("global v\nv = await give(1)", 1),
    "task group": ("async with asyncio.TaskGroup() as tg: t = tg.create_task(give(2))\nv = t.result()", 2),
}


@pytest.mark.parametrize(("source", "value"), AWAITING_CELLS.values(), ids=list(AWAITING_CELLS))
def test_C1_a_cell_that_awaits_runs_as_a_coroutine_and_binds_its_names(awaiting, source, value):
    cell = awaiting.compile(source)
    assert cell.is_coroutine
    assert cell.mode is ExecutionMode.TOP_LEVEL_AWAIT
    awaiting.run(source)
    if value is not None:
        assert awaiting.namespace["v"] == value


ILLEGAL_CELLS = [
    ("lambda: await a", 9),
    ("def f(): await a", 10),
    ("def f(): [x async for x in y]", 10),
    ("class C: await a", 10),
    ("class C: v = [x async for x in y]", 14),
    ("def f():\n  async with a: pass", 3),
    ("yield 1", 1),
    ("yield from x", 1),
    ("return 1", 1),
    ("return", 1),
    ("if 0: return", 7),
    ("await a; return 1", 10),
    ("break", 1),
    ("continue", 1),
    ("nonlocal x", 1),
    ("def f(a, a): pass", None),
    ("f(", 2),
    ("x = = 1", 5),
    ("1 = x", 1),
    ("from __future__ import nonsense", None),
    ("async def f():\n yield from x", 2),
    ("[(yield) for x in y]", 3),
]


@pytest.mark.parametrize(("source", "column"), ILLEGAL_CELLS, ids=[source for source, _ in ILLEGAL_CELLS])
def test_C2_an_illegal_cell_is_a_syntax_error_at_the_users_place_and_nothing_runs(cells, source, column):
    error = cells.fail(f"z = 1\n{source}")
    assert isinstance(error, SyntaxError)
    assert error.filename == "<cell 1>"
    assert error.lineno == 2 + source.count("\n") if "\n" in source else 2
    assert column is None or error.offset == column
    assert error.text is not None
    assert error.text.rstrip("\n") in f"z = 1\n{source}".split("\n")
    assert error.__context__ is None
    assert "z" not in cells.namespace


def test_C2_the_text_of_an_error_is_that_of_the_same_file(cells, tmp_path):
    for source in ("x = 1\nreturn x", "if 0:\n  yield", "def f():\n  é = await a", "print(1"):
        file = tmp_path / "cell.py"
        file.write_text(source, encoding="utf-8")
        try:
            compile(source, str(file), "exec")
        except SyntaxError as error:
            expected = traceback.format_exception_only(error)
        printed = traceback.format_exception_only(cells.fail(source))
        assert "".join(printed) == "".join(expected).replace(str(file), f"<cell {cells.count}>")


@pytest.mark.parametrize("source", ["g = (x async for x in It(1))", "g = (await x for x in [give(1)])"])
def test_C3_an_asynchronous_generator_expression_is_run_as_its_code_says(awaiting, source):
    whole = compile(source, "<whole>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert awaiting.compile(source).is_coroutine is bool(whole.co_flags & inspect.CO_COROUTINE)
    awaiting.run(source)
    assert isinstance(awaiting.namespace["g"], types.AsyncGeneratorType)
    assert awaiting.run("[x async for x in g]") == [1]


def test_C4_a_coroutine_as_value_is_not_awaited(cells):
    assert cells.compile("async def f(): return 5").mode is ExecutionMode.ASYNC_DEF
    cells.run("async def f(): return 5")
    value = cells.run("f()")
    assert isinstance(value, types.CoroutineType)
    value.close()


def test_defines_async_finds_methods_and_async_generators_but_no_expressions(cells):
    assert cells.compile("class C:\n  async def m(self): yield").defines_async
    assert cells.compile("def f():\n  async def g(): pass").defines_async
    assert not cells.compile("(x async for x in y)").defines_async


@pytest.mark.parametrize(
    "source", [r'"\d"', r'x = "\d"', r'x = 1; "\d"', r'def f(): return "\d"', r'print("\d" "a")']
)
def test_C5_an_invalid_escape_warns_once(cells, source):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cells.compile(source)
    assert len(caught) == 1
    assert caught[0].category is (DeprecationWarning if sys.version_info < (3, 12) else SyntaxWarning)
    assert (caught[0].filename, caught[0].lineno) == ("<cell 1>", 1)


@pytest.mark.parametrize(
    "source",
    [
        "1 is 1",
        "x = 1 is 1",
        "assert (1, 'm')",
        "() and 1()",
        "y = 0\n0x1for x in ()",
        "0x1for x in ()",
        "1if 1else 2",
        "[1](2)",
    ],
)
def test_C5_every_warning_is_given_as_often_as_plain_compile_gives_it(cells, source):
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        _quietly(compile, source, "<cell 1>", "exec")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _quietly(cells.compile, source)
    assert [str(each.message) for each in caught] == [str(each.message) for each in expected]


def _quietly(function, *args):
    try:
        function(*args)
    except SyntaxError:
        pass


def test_C5_a_warning_made_an_error_is_the_users_error(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = cells.fail("z = 1\nz is 1")
    assert isinstance(error, SyntaxError)
    assert "z" not in cells.namespace
    assert len(cells.cache) == 0


def test_C6_annotations_are_evaluated_as_in_a_module_of_the_users(cells):
    cells.run("x: int = 1\ndef f(a: int): pass")
    assert cells.run("f.__annotations__") == {"a": int}
    if sys.version_info < (3, 14):
        assert cells.run("__annotations__") == {"x": int}


def test_C7_future_features_persist_from_cell_to_cell(cells):
    assert isinstance(cells.fail("def h(a: Nope): pass\nh.__annotations__"), NameError)
    cells.run("from __future__ import annotations")
    cells.run("def h(a: Nope): pass")
    assert cells.run("h.__annotations__") == {"a": "Nope"}


def test_C7_features_of_the_parser_persist_too(cells):
    cells.run("from __future__ import barry_as_FLUFL\n1 + 1")
    assert cells.run("1 <> 2") is True
    assert isinstance(cells.fail("1 != 2"), SyntaxError)


def test_C7_the_cache_key_carries_the_flags(cells):
    source = "def f(a: int): pass\nf.__annotations__"
    assert cells.run(source) == {"a": int}
    cells.run("from __future__ import annotations")
    assert cells.run(source) == {"a": "int"}
    assert cells.cache.statistics.hits == 0


def test_C7_flags_persist_from_a_cached_cell_too(make_cells):
    first, second = make_cells(), make_cells()
    second.compiler.cache = first.cache
    first.run("from __future__ import annotations")
    second.run("from __future__ import annotations")
    assert first.cache.statistics.hits == 1
    assert second.compiler.future_flags == first.compiler.future_flags != 0


@pytest.mark.parametrize(
    "source",
    ["+".join(["1"] * 20_000), "-" * 200_000 + "1", "(" * 500 + ")" * 500, "x = " + "[" * 150 + "]" * 150],
)
def test_C8_what_is_too_deep_is_the_error_of_plain_compile_or_runs(cells, source):
    try:
        compile(source, "<cell>", "exec")
    except (RecursionError, MemoryError, SyntaxError) as error:
        expected = type(error)
    else:
        expected = None
    if expected is None:
        cells.compile(source)
    else:
        error = cells.fail(source)
        assert type(error) is expected
        assert error.__context__ is None or type(error.__context__) is expected
    assert cells.run("1 + 1") == 2


def test_C8_a_tree_too_deep_for_objects_still_runs_if_plain_compile_takes_it(cells):
    source = "+".join(["1"] * 2_000)
    assert cells.run(source) == 2_000
    assert cells.run(f"y = {source}\ny") == 2_000
    cells.run("x = " + source)
    assert cells.namespace["x"] == 2_000
    assert isinstance(cells.fail(f"return {source}"), SyntaxError)


def test_C8_a_nul_is_a_syntax_error(cells):
    error = cells.fail("x = 1\0")
    assert isinstance(error, SyntaxError | ValueError)
    assert cells.run("2") == 2


def test_C8_a_lone_surrogate_is_the_users_error(cells):
    assert isinstance(cells.fail("x = '\ud800'"), UnicodeEncodeError)
    assert isinstance(cells.fail("'\ud800';"), UnicodeEncodeError)


@pytest.mark.parametrize(
    "source", ["", "\n\n", "   ", "# nothing", "\n  # nothing\n", "\ufeff", "\t", "\f", "pass"]
)
def test_C9_a_cell_without_code_has_no_value(cells, source):
    assert cells.run(source) is None


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("\ufeffx = 2\nx", 2),
        ("    x = 2\n    x", 2),
        ("\tif 1:\n\t\tx = 2\n\tx", 2),
        ("\n# note\n  x = 2\n\n# note\n  x\n", 2),
        ("  'a'", "a"),
        ("x = 2\r\nx\r\n", 2),
        ("x = '''a\r\nb'''\rx", "a\nb"),
        ("\ufeff  x = 2\n  x", 2),
        ("x = 'a\u2028b\x0cc'\nx", "a\u2028b\x0cc"),
    ],
)
def test_C9_marks_line_ends_and_common_indentation_are_no_error(cells, source, value):
    assert cells.run(source) == value


@pytest.mark.parametrize("source", ["  x = 1\ny = 2", "  x = 1\n y = 2", "x = 1\n  y = 2", "if 1:\n  x\n y"])
def test_C9_indentation_that_is_not_common_stays_an_error(cells, source):
    assert isinstance(cells.fail(source), IndentationError)


def test_C10_the_same_cell_again_is_a_hit_and_names_its_own_cell(cells):
    source = "def f():\n    def g(): 1 / 0\n    g()\nf()"
    for number in (1, 2, 3):
        error = cells.fail(source)
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)[1:]]
        assert set(files) - {__file__} == {f"<cell {number}>", *[f for f in files if "conftest" in f]}
    assert cells.cache.statistics[:2] == (2, 1)


def test_C10_functions_of_earlier_runs_keep_their_cell(cells):
    cells.run("def f(): pass")
    first = cells.namespace["f"]
    cells.run("def f(): pass")
    second = cells.namespace["f"]
    assert first.__code__.co_filename == "<cell 1>"
    assert second.__code__.co_filename == "<cell 2>"


def test_C10_failures_are_not_cached(cells):
    for _ in range(2):
        assert isinstance(cells.fail("return"), SyntaxError)
    assert cells.cache.statistics[:2] == (0, 2)


def test_the_source_is_registered_before_anything_can_ask_for_it(cells):
    cells.fail("x = (")
    assert linecache.getline("<cell 1>", 1) == "x = (\n"


def test_analyse_gets_the_whole_tree_once_per_new_cell(make_cells):
    seen = []
    cells = make_cells(analyse=lambda tree: seen.append(len(tree.body)) or tuple(seen))
    assert cells.compile("x = 1\nx").sites == (2,)
    assert cells.compile("1").sites == (2, 1)
    assert cells.compile("x = 1\nx").sites == (2,)
    assert seen == [2, 1]


def test_codes_are_the_top_level_code_objects(cells):
    cell = cells.compile("def f(): pass\nf")
    assert cell.codes == {cell.body, cell.last}
    again = cells.compile("def f(): pass\nf")
    assert {code.co_filename for code in again.codes} == {"<cell 2>"}


def test_reprs_show_state(cells):
    assert repr(cells.compile("await a\n1")) == "<CompiledCell '<cell 1>' top_level_await parts=2 value>"
    assert repr(cells.compile("await a\n1;")) == "<CompiledCell '<cell 2>' top_level_await parts=1>"
    assert "CodeCache 2/64 hits=0 misses=2" in repr(cells.compiler)
