"""The wrapper: when it is tried, what it must never do, and that it means what the cell means."""

import ast
import inspect
import sys
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateroom.engine import fallback
from stateroom.engine.cache import ASTCache
from stateroom.engine.fallback import FallbackTransformer
from stateroom.engine.hoisting import Hoister

FLAG = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
REFUSED = SyntaxError("'await' outside function")


def compile_wrapped(cells, source, **options):
    """What the wrapper makes of a cell, as if the compiler had refused it."""
    cells.count += 1
    filename = f"<cell {cells.count}>"
    cells.sources.add(filename, source)
    transformer = FallbackTransformer(**options)
    return transformer.compile(REFUSED, ast.parse(source), source, filename, FLAG)


async def run_wrapped(cells, source, **options):
    cell = compile_wrapped(cells, source, **options)
    assert cell.is_wrapped
    assert cell.is_coroutine
    return await fallback.run(cell, cells.manager)


ILLEGAL = [
    "lambda: await a",
    "await a; lambda: await a",
    "def f(): await a",
    "def f():\n    [x async for x in y]",
    "class C: await a",
    "class C: x = [i async for i in y]",
    "await a; return 1",
    "if 0: return\nawait a",
    "await a; (yield)",
    "yield await a",
    "yield from await a",
    "await a; nonlocal x",
    "await a; break",
    "def f():\n    async with a: pass",
    "def f():\n    async for x in y: pass",
    "await a\ndef f(): yield await b",
    "async def f(): yield from await b",
    "def f(x: (lambda: await a)): pass",
]


@pytest.mark.parametrize("source", ILLEGAL)
def test_C2_the_wrapper_makes_no_illegal_cell_legal(make_cells, source):
    cells = make_cells(fallback=FallbackTransformer())
    assert isinstance(cells.fail(f"z = 1\n{source}"), SyntaxError)
    assert "z" not in cells.namespace
    assert compile_wrapped(cells, source) is None


def test_C2_other_errors_do_not_reach_the_wrapper(cells):
    transformer = FallbackTransformer()
    for message in ("'return' outside function", "invalid syntax", "'yield' outside function", None):
        error = SyntaxError(message)
        assert transformer.compile(error, ast.parse("await a"), "await a", "<cell>", FLAG) is None


def test_legal_cells_take_the_flag_path(make_cells):
    cells = make_cells(fallback=FallbackTransformer())
    assert not cells.compile("x = await a").is_wrapped


NAMES = st.sampled_from(["a", "b", "c"])


def expressions(inner):
    return st.one_of(
        inner.map("(await {})".format),
        (inner if sys.version_info >= (3, 12) else NAMES.map("await {}".format)).map("f'{{ {} }}'".format),
        st.builds("({} + {})".format, inner, inner),
        st.builds("{}({}, k={})".format, NAMES, inner, inner),
        st.builds("[{} for {} in {} if {}]".format, inner, NAMES, inner, inner),
        st.builds("[{} async for {} in {}]".format, inner, NAMES, inner),
        st.builds("{{{}: {} async for {} in {}}}".format, inner, inner, NAMES, inner),
        st.builds("({} for {} in {})".format, inner, NAMES, inner),
        st.builds("({} async for {} in {})".format, inner, NAMES, inner),
        st.builds("(lambda x={}: {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}[{}]".format, NAMES, inner),
        st.builds("({} := {})".format, NAMES, inner),
        inner.map("(yield {})".format),
    )


EXPRESSIONS = st.recursive(NAMES, expressions, max_leaves=5)
SIMPLE = st.one_of(
    EXPRESSIONS,
    st.builds("{} = {}".format, NAMES, EXPRESSIONS),
    st.builds("d: {} = {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("del {}[{}]".format, NAMES, EXPRESSIONS),
    st.builds("assert {}, {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("raise {} from {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("import {}.x".format, NAMES),
    EXPRESSIONS.map("return {}".format),
    st.just("pass"),
)


def blocks(inner):
    indented = inner.map(lambda text: "\n".join("  " + line for line in text.split("\n")))
    return st.one_of(
        st.builds("{}\n{}".format, inner, inner),
        st.builds("if {}:\n{}".format, EXPRESSIONS, indented),
        st.builds("async for {} in {}:\n{}".format, NAMES, EXPRESSIONS, indented),
        st.builds("async with {} as {}:\n{}".format, EXPRESSIONS, NAMES, indented),
        st.builds("try:\n{}\nexcept {}:\n{}\nfinally:\n{}".format, indented, EXPRESSIONS, indented, indented),
        st.builds("@{}\ndef e(x={}) -> {}:\n{}".format, EXPRESSIONS, EXPRESSIONS, EXPRESSIONS, indented),
        st.builds("async def e(x={}):\n{}".format, EXPRESSIONS, indented),
        st.builds("class E({}, k={}):\n{}".format, EXPRESSIONS, EXPRESSIONS, indented),
        st.builds("match {}:\n  case 1 if {}:\n    {}".format, EXPRESSIONS, EXPRESSIONS, EXPRESSIONS),
        st.builds("with {}, {}:\n{}".format, EXPRESSIONS, EXPRESSIONS, indented),
    )


PROGRAMS = st.recursive(SIMPLE, blocks, max_leaves=4)


def is_refused(tree, flags):
    try:
        compile(ast.fix_missing_locations(tree), "<program>", "exec", flags)
    except SyntaxError as error:
        return error.msg
    return None


@settings(max_examples=300)
@given(PROGRAMS)
def test_the_flag_refuses_no_program_that_an_async_function_takes(source):
    """What the docstring of fallback.py reports; a top-level return or yield is legal only in a function."""
    tree = ast.parse(source)
    plain_problem = is_refused(fallback.without_awaits(tree), 0)
    if plain_problem is None:
        wrapper = ast.parse("async def f(): pass")
        wrapper.body[0].body = tree.body
        if is_refused(wrapper, 0) is None:
            assert is_refused(tree, FLAG) is None


@settings(max_examples=300)
@given(PROGRAMS)
def test_C2_the_wrapper_takes_no_generated_program_that_the_flag_refuses(source):
    tree = ast.parse(source)
    before = ast.dump(tree, include_attributes=True)
    refusal = is_refused(tree, FLAG)
    wrapped = FallbackTransformer().compile(REFUSED, tree, source, "<program>", FLAG)
    assert refusal is None or wrapped is None
    assert ast.dump(tree, include_attributes=True) == before


MEANINGS = {
    "value": "await give(1)\n6 * 7",
    "no value": "x = await give(1)",
    "order": "log = []\nlog.append(await give(1))\nlog.append(2)\nlog",
    "functions see later names": "await give(0)\ndef f(): return later\nlater = 5\nf()",
    "annotated": "y: int = await give(3)\ny",
    "class": "await give(0)\nclass C:\n    def m(self): return C\nC.m.__qualname__, C.__qualname__, C.__module__",
    "lambda": "await give(0)\n(lambda: 0).__qualname__",
    "walrus": "[w := await give(i) for i in (1, 2)], w",
    "walrus in a generator": "await give(0)\ndef f(): return It.__name__\nif 0: list((It := i) for i in (1, 2))\nf()",
    "bound in vain": "await give(0)\nif 0: It = 1\ndef f(): return It.__name__\nf(), It.__name__",
    "import": "import os.path as p, math\nawait give(p is not None) and math.pi",
    "future": "from __future__ import annotations\ndef f(a: Nope): pass\nawait give(f.__annotations__)",
    "delete": "gone = await give(1)\ndel gone\n'gone' in globals()",
    "global": "global g\ng = await give(1)\ng",
    "except": "try:\n    1 / await give(0)\nexcept ZeroDivisionError as e:\n    kept = str(e)\nkept",
    "match": "match await give((1, 2)):\n    case (m, n): pass\nm, n",
    "with": "async with Manager() as entered: pass\nentered",
    "for": "async for i in It(1, 2): pass\ni",
}


@pytest.mark.parametrize("source", MEANINGS.values(), ids=list(MEANINGS))
async def test_V1_a_wrapped_cell_means_what_the_cell_means(make_cells, awaitables, source):
    from_flag, wrapped = make_cells(), make_cells()
    for each in (from_flag, wrapped):
        each.run(awaitables)
    expected = await from_flag._run_coroutine(from_flag.compile(source))
    assert await run_wrapped(wrapped, source) == expected
    ignored = {"__annotations__", "__annotate__", "__conditional_annotations__", "__warningregistry__"}
    assert set(wrapped.manager.snapshot()) - ignored == set(from_flag.manager.snapshot()) - ignored
    assert id(wrapped.manager.namespace) == id(wrapped.namespace)


@pytest.mark.parametrize(
    "source",
    [
        "await give(1)\n5\nimport os",
        "await give(1)\nimport os\n5",
        "await give(1)\nimport os\n5;",
        "await give(1)\ndef f(): return 5\nf()",
        "await give(f()) if 0 else 0\ndef f(): return 5\nf()",
        "import os",
        "5\nimport os",
    ],
)
async def test_V1_hoisting_leaves_the_value_what_it_is(make_cells, awaitables, source):
    plain, hoisted = make_cells(), make_cells()
    for each in (plain, hoisted):
        each.run(awaitables)
    expected = await plain._run_coroutine(plain.compile(source))
    assert await run_wrapped(hoisted, source, hoister=Hoister(hoisted.namespace)) == expected


async def test_locals_are_merged_although_the_cell_fails(awaiting):
    with pytest.raises(ZeroDivisionError):
        await run_wrapped(awaiting, "x: int = await give(1)\ny = 2\n1 / 0\nz = 3")
    assert (awaiting.namespace["x"], awaiting.namespace["y"]) == (1, 2)
    assert "z" not in awaiting.namespace
    assert fallback.LOCALS not in awaiting.namespace


async def test_E1_spans_and_names_in_tracebacks_are_those_of_the_cell(awaiting):
    with pytest.raises(ZeroDivisionError) as caught:
        await run_wrapped(awaiting, "x = await give(0)\ndef f():\n    return (1 + 1) / x\nawait give(f())")
    frames = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename.startswith("<cell")]
    assert [(f.name, f.lineno, f.colno, f.end_colno) for f in frames] == [
        ("<module>", 4, 11, 14),
        ("f", 3, 11, 22),
    ]
    assert frames[1].line == "return (1 + 1) / x"


async def test_def_await_rewrite_is_off_by_default_and_works_when_on(make_cells):
    source = "async def give(x): return x\ndef f():\n    return await give(5)\nf()"
    assert isinstance(make_cells(fallback=FallbackTransformer()).fail(source), SyntaxError)
    cells = make_cells(fallback=FallbackTransformer(enable_def_await_rewrite=True))
    assert not cells.compile(source).is_wrapped
    assert await cells.run(source) == 5
    assert isinstance(cells.fail("def f(): return (lambda: await a)"), SyntaxError)
    assert isinstance(cells.fail("class C: await a"), SyntaxError)


async def test_async_lambda_helper_is_off_by_default_and_works_when_on(make_cells):
    source = "async def give(x): return x\nfs = [lambda: await give(5), lambda: 6]\nf = fs[0]\nf()"
    assert isinstance(make_cells(fallback=FallbackTransformer()).fail(source), SyntaxError)
    cells = make_cells(fallback=FallbackTransformer(enable_async_lambda_helper=True))
    assert await cells.run(source) == 5
    assert not [name for name in cells.manager.user_names() if "lambda" in name]
    for refused in ("lambda x: await x", "[lambda: await x for x in y]", "lambda: lambda: await a"):
        assert isinstance(cells.fail(refused), SyntaxError)


def test_rewritten_functions_are_in_their_own_block(make_cells):
    cells = make_cells(fallback=FallbackTransformer(enable_async_lambda_helper=True))
    cells.run("def f(n):\n    if n:\n        return lambda: await n\n    else:\n        return None")
    assert inspect.iscoroutinefunction(cells.run("f(1)"))
    assert cells.run("f(0)") is None


def test_transformed_trees_are_cached(cells):
    cache = ASTCache(4)
    for _ in range(2):
        assert compile_wrapped(cells, "x = await a", cache=cache).is_wrapped
    assert cache.statistics[:2] == (1, 1)
    assert "def_await=False" in repr(FallbackTransformer(cache=cache))
