"""Hypothesis strategies for programs, and how to see what one does.

Programs use the names ``a``, ``b``, ``c``. Those of :data:`AWAITING_PROGRAMS` await things made by
``give``, ``It`` and ``Manager`` at the top level; :func:`without_await` is the same program for plain Python.
"""

import io
import sys
import types
from contextlib import redirect_stdout

from hypothesis import strategies as st

from stateroom.engine.namespace import ENGINE_INTERNALS

NAMES = st.sampled_from(["a", "b", "c"])
ATOMS = st.one_of(
    NAMES, st.integers(-5, 5).map("({})".format), st.sampled_from(["'é'", "[]", "None", "True", "{}"])
)


def compound(inner, own_scope=None):
    """``own_scope``: what may stand in a lambda or a generator; the same as outside, if it is left out."""
    own_scope = inner if own_scope is None else own_scope
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "==", "and", "or", "//"]), inner),
        st.builds("({} < {} <= {})".format, inner, inner, inner),
        st.builds("[{} for {} in ({}, 1)]".format, inner, NAMES, inner),
        st.builds("[{} for {} in ({}, 1) if {} for {} in 'xy']".format, inner, NAMES, inner, inner, NAMES),
        st.builds("list({} for {} in [{}])".format, own_scope, NAMES, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(lambda a={}: {})()".format, inner, own_scope),
        st.builds("({} := {})".format, NAMES, inner),
        st.builds("f'{{{}}}'".format, NAMES),
        st.builds("print({}, {})".format, inner, inner),
        st.builds("({}, *[{}])".format, inner, inner),
        st.builds("[{}][0:{}]".format, inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, compound, max_leaves=5)


def awaiting(inner):
    return st.one_of(
        compound(inner, own_scope=EXPRESSIONS),
        st.builds("(await give({}))".format, inner),
        st.builds("f'{{await give({})}}'".format, NAMES),
        st.builds("[await give({}) for {} in ({}, 1)]".format, inner, NAMES, inner),
        st.builds("[{} async for {} in It({}, 1) if await give({})]".format, inner, NAMES, inner, inner),
        st.builds("{{1: {} async for {} in It({})}}".format, inner, NAMES, inner),
    )


AWAITING_EXPRESSIONS = st.recursive(ATOMS, awaiting, max_leaves=5)


def simple(expressions):
    return st.one_of(
        expressions,
        expressions.map("print({})".format),
        st.builds("{} = {}".format, NAMES, expressions),
        st.builds("{} = {}; {}".format, NAMES, expressions, expressions),
        st.builds("{}: int = {}".format, NAMES, expressions),
        st.builds("{} += {}".format, NAMES, expressions),
        st.builds("{}, *{} = {}, {}, 2".format, NAMES, NAMES, expressions, expressions),
        st.builds("del {}".format, NAMES),
        st.builds("from os import sep as {}".format, NAMES),
        st.builds("assert {}".format, expressions),
        st.builds("raise ValueError({})".format, expressions),
        st.just("'''text\nof two lines'''"),
        st.just("# note"),
    )


def indented(text):
    return "\n".join("    " + line for line in ("pass\n" + text).split("\n"))


def deeper(block):
    return "\n".join("    " + line for line in block.split("\n"))


def compound_statements(inner, expressions):
    """Statements with a block that belongs to the scope they stand in."""
    body = inner.map(indented)
    return st.one_of(
        st.builds("{}\n{}".format, inner, inner),
        st.builds("if {}:\n{}\nelse:\n{}".format, expressions, body, body),
        st.builds(
            "for {} in ({}, 2):\n{}\n    if {}: continue\n    if {}: break\nelse:\n{}".format,
            NAMES, expressions, body, expressions, expressions, body,
        ),
        st.builds("while True:\n{}\n    break".format, body),
        st.builds("try:\n{}\nexcept Exception as {}:\n{}\nfinally:\n{}".format, body, NAMES, body, body),
        st.builds(
            "try:\n    raise ExceptionGroup('g', [ValueError({}), KeyError(1)])\nexcept* ValueError as {}:\n{}\nexcept* KeyError:\n{}".format,
            expressions, NAMES, body, body,
        ),
        st.builds("with Manager() as {}:\n{}".format, NAMES, body),
        st.builds(
            "match {}:\n    case int({}) if {}: pass\n    case [{}, *_]:\n{}\n    case _:\n{}".format,
            expressions, NAMES, expressions, NAMES, body.map(deeper), body.map(deeper),
        ),
    )  # fmt: skip


def definitions(body, expressions):
    """Statements that open a scope; ``body`` is what may stand in there."""
    block = body.map(indented)
    generic = []
    if sys.version_info >= (3, 12):
        generic = [
            st.builds("def f[T](a={}) -> T: return T.__name__, a\n{} = f()".format, expressions, NAMES),
            st.builds("type A[T] = list[T]\n{} = {}, A.__name__".format, NAMES, expressions),
        ]
    return st.one_of(
        *generic,
        st.builds("def f(a={}):\n{}\nf()".format, expressions, block),
        st.builds("def f(b):\n    global a\n{}\nf({})".format, block, expressions),
        st.builds("def f(c={}):\n{}\n    yield c\nprint(list(f()))".format, expressions, block),
        st.builds(
            "def f(d={}):\n    def g():\n        nonlocal d\n        d = [d]\n{}\n    g()\n    return d\n{} = f()".format,
            expressions, block.map(deeper), NAMES,
        ),
        st.builds("@(lambda f, k={}: [f.__name__, k])\ndef f(): pass".format, expressions),
        st.builds("class C:\n{}\nC.__name__".format, block),
        st.builds(
            "class C(type({})):\n    __p = 1\n    def m(self): return self.__p, __class__.__name__\n{} = C.m(C)".format,
            expressions, NAMES,
        ),
    )  # fmt: skip


def statements(expressions, body=None):
    """``body``: what may stand in functions and classes; the same as outside, if it is left out."""
    return st.recursive(
        simple(expressions),
        lambda inner: st.one_of(
            compound_statements(inner, expressions),
            definitions(inner if body is None else body, expressions),
        ),
        max_leaves=6,
    )


def awaiting_blocks(inner):
    body = inner.map(indented)
    return st.one_of(
        st.builds("{}\n{}".format, inner, inner),
        st.builds(
            "async for {} in It({}, 2):\n{}\nelse:\n{}".format, NAMES, AWAITING_EXPRESSIONS, body, body
        ),
        st.builds("async with Manager() as {}:\n{}".format, NAMES, body),
        compound_statements(inner, AWAITING_EXPRESSIONS),
    )


PROGRAMS = statements(EXPRESSIONS)
AWAITING_PROGRAMS = st.recursive(
    statements(AWAITING_EXPRESSIONS, body=PROGRAMS), awaiting_blocks, max_leaves=3
)


def without_await(source):
    """What the program would be without an event loop; ``give`` returns its argument there."""
    return source.replace("await ", "").replace("async ", "")


@types.coroutine
def pause():
    yield


async def give(value):
    await pause()
    return value


class It:
    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)

    async def __aiter__(self):
        for item in self.items:
            await pause()
            yield item


class Manager:
    def __enter__(self):
        return "entered"

    def __exit__(self, *error):
        print("left", error[0])

    async def __aenter__(self):
        await pause()
        return self.__enter__()

    async def __aexit__(self, *error):
        await pause()
        self.__exit__(*error)


def completed(coroutine):
    """What a coroutine returns that awaits nothing but ``pause``."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def outcome(run, source, **names):
    """What ``run(source, namespace)`` prints, returns, raises (and on which line) and leaves in the namespace."""
    namespace = {"__name__": "program", "a": 1, "b": "text", "c": [1], "It": It, "Manager": Manager, **names}
    printed = io.StringIO()
    value = error = None
    with redirect_stdout(printed):
        try:
            value = run(source, namespace)
        except Exception as raised:
            error = type(raised), str(raised), line_of(raised)
    left = {
        name: plain(value) for name, value in namespace.items() if name not in ENGINE_INTERNALS | names.keys()
    }
    return printed.getvalue(), plain(value), error, left


def line_of(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != "<program>":
        trace = trace.tb_next
    return trace and trace.tb_lineno


def plain(value):
    """Functions, classes and modules are equal by name; what holds their address is not compared."""
    return getattr(value, "__qualname__", None) or (type(value), str(value).split(" at 0x")[0])
