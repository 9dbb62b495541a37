"""Any text is a cell or the user's error; a program means what plain Python makes of it."""

import ast
import warnings
from inspect import CO_COROUTINE

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stateroom.engine import fallback
from stateroom.engine.cache import CodeCache
from stateroom.engine.compiler import CompiledCell, Compiler
from stateroom.engine.fallback import FallbackTransformer
from stateroom.engine.hoisting import Hoister
from stateroom.engine.namespace import NamespaceManager
from stateroom.engine.segments import split
from stateroom.engine.sources import SourceCache
from stateroom.engine.text import normalise

from .programs import AWAITING_PROGRAMS, PROGRAMS, completed, give, outcome, without_await

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
    tree = ast.parse(source, "<program>")
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


@settings(max_examples=400)
@given(AWAITING_PROGRAMS)
def test_V1_a_program_that_awaits_does_what_it_does_without_awaiting(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outcome(run_plainly, without_await(source), give=lambda value: value)
        assert outcome(run_by_flag, source, give=give) == expected
        assert outcome(run_in_stretches, source, give=give) == expected


@settings(max_examples=300)
@given(AWAITING_PROGRAMS)
def test_V1_the_wrapper_lets_a_program_do_what_it_does_without_awaiting(source):
    """The wrapper takes any program here, also one that it is not needed for."""
    assume(": int" not in source)  # an annotated name is a local of the wrapper
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outcome(run_plainly, without_await(source), give=lambda value: value)
        assert outcome(run_wrapped, source, give=give) == expected


def run_by_flag(source, namespace):
    cell = compiler().compile(source, "<program>")
    value = None
    for code in filter(None, (cell.body, cell.last)):
        value = run_code(code, namespace)
    return None if cell.last is None else value


def run_wrapped(source, namespace):
    tree = ast.parse(source)
    refused = SyntaxError("'await' outside function")
    cell = FallbackTransformer().compile(refused, tree, source, "<program>", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if cell is None:
        compile(without_await(source), "<program>", "exec")
        raise AssertionError("the wrapper refused a legal program")
    return completed(fallback.run(cell, NamespaceManager(namespace, history_size=0)))


def run_in_stretches(source, namespace):
    cell = compiler().compile(source, "<program>")
    value = None
    for stretch in split(cell, lambda tree: None):
        value = run_code(stretch.code, namespace)
    return None if cell.last is None else value


def run_code(code, namespace):
    value = eval(code, namespace)
    return completed(value) if code.co_flags & CO_COROUTINE else value
