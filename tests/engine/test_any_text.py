"""Any text is a cell or the user's error; a program means what plain Python makes of it."""

import ast
import io
import warnings
from contextlib import redirect_stdout

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stateroom.engine.cache import CodeCache
from stateroom.engine.compiler import CompiledCell, Compiler
from stateroom.engine.fallback import FallbackTransformer
from stateroom.engine.hoisting import Hoister
from stateroom.engine.sources import SourceCache
from stateroom.engine.text import normalise

USER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)

TOKENS = st.sampled_from(
    "x y f 1 0x1 1e5 'a' \"b\" f'{x}' b'' \"\"\" ''' ( ) [ ] { } : ; , . = == := -> * ** @ await async for in if "
    "else def class lambda return yield from import with as try except finally match case type global nonlocal del "
    "pass break not and or None True ... \\ # \n \r \t \x0c \0 \ufeff é \u2028 \ud800 \n\x20\x20 \n\x20\x20\x20\x20".split(
        " "
    )
)
TEXTS = st.one_of(
    st.text(), st.lists(TOKENS, max_size=30).map(" ".join), st.lists(TOKENS, max_size=30).map("".join)
)


def compiler(**options):
    return Compiler(cache=CodeCache(4), sources=SourceCache(4), **options)


@settings(max_examples=500)
@given(TEXTS)
@example("  \x0c  x\n  \x0cx")
@example("\ufeff\ufeff")
@example("x;\\")
@example("'''\\\n;")
@example("1;\r;")
def test_any_text_is_a_cell_or_an_error_of_the_users(text):
    options = {"enable_def_await_rewrite": True, "enable_async_lambda_helper": True, "hoister": Hoister()}
    for each in (compiler(), compiler(analyse=ast.dump, fallback=FallbackTransformer(**options))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                cell = each.compile(text, "<text>")
            except USER_ERRORS as error:
                cell = error
        assert isinstance(cell, CompiledCell) or getattr(cell, "filename", None) in ("<text>", None)


@settings(max_examples=500)
@given(TEXTS)
def test_a_text_is_refused_exactly_if_plain_compile_refuses_it(text):
    """Apart from indentation and a byte order mark, which a cell may have; awaits do not occur here."""
    assume("await" not in text and "async" not in text)
    assume(normalise(text) == text.replace("\r\n", "\n").replace("\r", "\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert refusal(lambda: compiler().compile(text, "<text>")) == refusal(
            lambda: compile(text, "<text>", "exec")
        )


def refusal(function):
    try:
        function()
    except SyntaxError as error:
        return type(error), error.msg, error.lineno, error.offset, error.end_lineno, error.end_offset
    except USER_ERRORS as error:
        return type(error), str(error)
    return None


@settings(max_examples=300)
@given(TEXTS)
@example("x\u00a0\n1")
@example("x\n1\u00a0")
@example("x = 1 + \\\n2")
@example("if x:\n  pass\nelse\n")
@example("# only\n'doc'")
@example("[]")
@example("@f\nx")
@example('s = """\n""" + """a"""')
def test_the_way_without_a_tree_makes_the_same_code_of_any_text(text):
    assert made(compiler(), text) == made(compiler(analyse=ast.dump), text)


def made(each, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cell = each.compile(text, "<text>")
        except USER_ERRORS as error:
            return type(error), str(error)
    parts = cell.body or NOTHING, cell.last
    return (
        cell.mode,
        cell.future_flags,
        [(part, part and list(part.co_positions())) for part in parts],
    )


NOTHING = compile("", "<text>", "exec")
NAMES = st.sampled_from(["a", "b", "c"])
ATOMS = st.one_of(
    NAMES, st.integers(-5, 5).map("({})".format), st.sampled_from(["'é'", "[]", "None", "True", "{}"])
)


def compound(inner):
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "==", "and", "or", "//"]), inner),
        st.builds("[{} for {} in ({}, 1)]".format, inner, NAMES, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(lambda a={}: {})()".format, inner, inner),
        st.builds("({} := {})".format, NAMES, inner),
        st.builds("f'{{{}}}'".format, NAMES),
        st.builds("print({}, {})".format, inner, inner),
        st.builds("({}, *[{}])".format, inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, compound, max_leaves=5)
SIMPLE = st.one_of(
    EXPRESSIONS,
    EXPRESSIONS.map("print({})".format),
    st.builds("{} = {}".format, NAMES, EXPRESSIONS),
    st.builds("{} = {}; {}".format, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("{}: int = {}".format, NAMES, EXPRESSIONS),
    st.builds("del {}".format, NAMES),
    st.builds("from os import sep as {}".format, NAMES),
    st.builds("assert {}".format, EXPRESSIONS),
    st.just("'''text\nof two lines'''"),
    st.just("# note"),
)


def nested(inner):
    body = inner.map(lambda text: "\n".join("    " + line for line in ("pass\n" + text).split("\n")))
    return st.one_of(
        st.builds("{}\n{}".format, inner, inner),
        st.builds("if {}:\n{}\nelse:\n{}".format, EXPRESSIONS, body, body),
        st.builds("for {} in ({}, 2):\n{}".format, NAMES, EXPRESSIONS, body),
        st.builds("try:\n{}\nexcept Exception as {}:\n{}\nfinally:\n{}".format, body, NAMES, body, body),
        st.builds("def f(a={}):\n{}\nf()".format, EXPRESSIONS, body),
        st.builds("def f(b):\n    global a\n{}\nf({})".format, body, EXPRESSIONS),
        st.builds("class C:\n{}\nC.__name__".format, body),
    )


PROGRAMS = st.recursive(SIMPLE, nested, max_leaves=6)


@settings(max_examples=300)
@given(PROGRAMS)
def test_the_way_without_a_tree_makes_the_same_code_of_programs(source):
    assert made(compiler(), source) == made(compiler(analyse=ast.dump), source)


@settings(max_examples=400)
@given(PROGRAMS)
def test_V1_a_program_does_what_plain_exec_does_and_has_the_value_of_its_last_expression(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert outcome(run_as_cell, source) == outcome(run_plainly, source)


def run_as_cell(source, namespace):
    cell = compiler().compile(source, "<program>")
    if cell.body is not None:
        exec(cell.body, namespace)
    return None if cell.last is None else eval(cell.last, namespace)


def run_plainly(source, namespace):
    """The reference: plain compile of the text with its final expression assigned to a name."""
    tree = ast.parse(source)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        exec(compile(source, "<program>", "exec"), namespace)
        return None
    final = tree.body[-1]
    if len(tree.body) > 1 or not isinstance(final.value, ast.Constant):  # a text alone is a docstring
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("value_", ast.Store())], final.value), final)
    else:
        namespace["value_"] = final.value.value
    try:
        exec(compile(ast.fix_missing_locations(tree), "<program>", "exec"), namespace)
    finally:
        value = namespace.pop("value_", None)
    return value


def outcome(run, source):
    namespace = {"__name__": "program", "a": 1, "b": "text", "c": [1]}
    printed = io.StringIO()
    value = error = None
    with redirect_stdout(printed):
        try:
            value = run(source, namespace)
        except Exception as raised:
            error = type(raised), str(raised), raised.__traceback__.tb_next.tb_lineno
    names = {name: plain(value) for name, value in namespace.items() if name != "__builtins__"}
    return printed.getvalue(), plain(value), error and (error[0], error[1]), names


def plain(value):
    """Functions, classes and modules are equal by name; what holds their address is not compared."""
    return getattr(value, "__qualname__", None) or (type(value), str(value).split(" at 0x")[0])
