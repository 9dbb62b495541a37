"""Errors as data and as text; the text is compared with that of the same file run by Python itself."""

import re
import subprocess
import sys

import msgspec
import pytest

from stateroom.engine import stacks, tracebacks
from stateroom.engine.tracebacks import describe_exception

FILES = {
    "carets": "a = 1\nb = 0\nz = (a + 1) / b",
    "characters": "é = 'ü'; z = ('é' + 1) / len('')",
    "several lines": "x = {}\nz = (1 +\n     x[\n       'é'\n     ])",
    "calls": "def f(x):\n    return g(x) + 1\ndef g(x):\n    return x['k']['l']\nf({'k': 1})",
    "cause": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "context": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    [][1]",
    "suppressed": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('k') from None",
    "unraised cause": "raise KeyError('k') from ValueError('never raised')",
    "notes": "e = ValueError('v')\ne.add_note('first\\nsecond')\ne.add_note('third')\nraise e",
    "group": "raise ExceptionGroup('e', [ValueError(1), ExceptionGroup('f', [TypeError(2), KeyError(3)])])",
    "wide group": "raise ExceptionGroup('e', [ValueError(i) for i in range(20)])",
    "group with tracebacks": "def f(i):\n    try:\n        1 / i\n    except Exception as e:\n        return e\n"
    "try:\n    raise ExceptionGroup('e', [f(0), f('')])\nexcept* TypeError:\n    raise",
    "recursion": "def f(): f()\nf()",
    "mutual recursion": "def f(n): return g(n)\ndef g(n): return f(n - 1) if n else 1 / 0\nf(20)",
    "own class": "class Own(Exception):\n    def __str__(self): return 'said'\nraise Own",
    "nested class": "class A:\n    class B(Exception): pass\nraise A.B('x')",
    "str fails": "class Own(Exception):\n    def __str__(self): 1 / 0\nraise Own",
    "no message": "raise ValueError",
    "many lines": "raise ValueError('a\\nb\\n')",
    "cycle": "a = ValueError('a')\nb = ValueError('b')\na.__context__ = b\nb.__context__ = a\nraise a",
    "syntax": "x = 1\nx = = 2",
    "syntax, characters": "é = 'ü' +",
    "symbol table": "def f():\n    x = 1\n    global x",
    "return": "x = 1\nif x:\n    return 'é', x",
    "indentation": "def f():\nx = 1",
    "unclosed": "f = (1,\n",
    "inner syntax error": "compile('1 +', 'inner', 'exec')",
    "inner syntax error in exec": "exec('a = 1\\nb = = 2')",
    "exec": "exec(compile('1 / 0', 'inner', 'exec'), {})",
    "import": "import no_such_module_anywhere",
    "interrupt": "raise KeyboardInterrupt",
    "assertion": "assert 1 == 2, 'not equal'",
    "lambda": "(lambda: 1 / 0)()",
    "comprehension": "[1 / x for x in (1, 0)]",
    "class body": "class C:\n    x = 1 / 0",
    "decorator": "def d(f): 1 / 0\n@d\ndef f(): pass",
    "with": "import contextlib\nwith contextlib.suppress(KeyError):\n    1 / 0",
    "asyncio": "import asyncio\nasync def f():\n    async with asyncio.timeout(1):\n        1 / 0\nasyncio.run(f())",
    "finally": "try:\n    1 / 0\nfinally:\n    x = 1",
}

SUGGESTIONS = {
    "name": "length = 1\nlenght",
    "attribute": "import math\nmath.flor(1)",
    "builtin": "pritn(1)",
    "module": "sys.exit(1)",
    "self": "class C:\n    def __init__(self): self.value = 1\n    def m(self): return value\nC().m()",
    "local": "def f(parameter):\n    return paramter\nf(1)",
    "nothing near": "zzzzzzzzzzz",
    "import from": "from math import flor",
    "own dir": "class C:\n    def __dir__(self): 1 / 0\nC().x",
    "case": "value = 1\nVALUE",
    "private": "class C: _value = 1\nC.value",
}


DEPTH = re.compile(r"\d+ more times")  # how deep a recursion gets depends on where it starts


def printed_by_python(source, tmp_path):
    file = tmp_path / "the_cell.py"
    file.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-I", str(file)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return done.stderr.replace(str(file), "<cell 1>")


def described(cells, source, max_chars=100_000):
    return describe_exception(_without_driver(cells.fail(source)), max_chars=max_chars)


def _without_driver(error):
    """Cut off the frames of the test driver, which are the embedder's own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.endswith("conftest.py"):
        trace = trace.tb_next
    while trace is not None and "asyncio" in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    return error.with_traceback(trace)


@pytest.mark.parametrize("source", FILES.values(), ids=list(FILES))
def test_E1_the_text_is_what_python_prints(cells, tmp_path, source):
    if sys.version_info < (3, 13) and not source.isascii():
        pytest.skip("until 3.13 the printer in C and the traceback module place carets behind é differently")
    text, expected = described(cells, source).text, printed_by_python(source, tmp_path)
    assert DEPTH.sub("", text) == DEPTH.sub("", expected)


@pytest.mark.parametrize("source", SUGGESTIONS.values(), ids=list(SUGGESTIONS))
def test_E1_suggestions_are_those_that_python_prints(cells, tmp_path, source):
    assert described(cells, source).text == printed_by_python(source, tmp_path)


def test_E1_a_structured_error(cells):
    cells.run("a, b = 1, 0")
    info = described(cells, "é = 1; z = (a + 1) / b")
    assert (info.type, info.module, info.message) == ("ZeroDivisionError", "builtins", "division by zero")
    [frame] = info.frames
    assert (frame.filename, frame.name, frame.source) == ("<cell 2>", "<module>", "é = 1; z = (a + 1) / b")
    assert (frame.line, frame.end_line) == (1, 1)
    assert frame.source[frame.column : frame.end_column] == "(a + 1) / b"


def test_E1_a_span_of_several_lines(cells):
    frame = described(cells, "x = (1 +\n'é'\n + 1)").frames[-1]
    assert (frame.line, frame.end_line, frame.column, frame.end_column) == (1, 2, 5, 3)
    assert frame.source == "x = (1 +\n'é'"


def test_E1_chain_as_data(cells):
    info = described(cells, FILES["cause"])
    assert info.cause.type == "ZeroDivisionError"
    assert info.suppress_context
    assert described(cells, FILES["context"]).context.message == "division by zero"
    suppressed = described(cells, FILES["suppressed"])
    assert suppressed.context.type == "ZeroDivisionError"
    assert suppressed.suppress_context
    assert suppressed.cause is None


def test_E1_no_frame_of_the_engine(cells, make_cells):
    cells.namespace["make"] = make_cells()
    info = described(cells, "make.compiler.compile('1 +', '<inner>')")
    assert [frame.filename for frame in info.frames] == ["<cell 1>", "<inner>"]
    assert "stateroom" not in info.text
    engine_file = tracebacks.__file__
    assert tracebacks.is_engine_file(engine_file)
    assert not tracebacks.is_engine_file(engine_file.replace("stateroom", "stateroom_of_mine"))


def test_E2_the_line_of_the_earlier_cell_is_shown(cells):
    cells.run("x = 1\ndef f(): 1 / 0")
    info = described(cells, "y = 2\n\nf()")
    assert [(frame.filename, frame.line) for frame in info.frames] == [("<cell 2>", 3), ("<cell 1>", 2)]
    assert "def f(): 1 / 0" in info.text


def test_E3_members_and_notes_are_data(cells):
    info = described(
        cells, "e = ValueError(1)\ne.add_note('n')\nraise ExceptionGroup('e', [e, TypeError(2)])"
    )
    assert [(member.type, member.message, member.notes) for member in info.group] == [
        ("ValueError", "1", ["n"]),
        ("TypeError", "2", []),
    ]


def test_a_syntax_error_has_its_place_as_frame(cells):
    [frame] = described(cells, "x = 1\nx = = 2").frames
    assert (frame.filename, frame.line, frame.column, frame.source) == ("<cell 1>", 2, 4, "x = = 2")


HOSTILE = {
    "str": "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "str returns no str": "class E(Exception):\n    def __str__(self): return 5\nraise E",
    "notes": "class E(Exception):\n    @property\n    def __notes__(self): raise ValueError\nraise E",
    "notes are no list": "e = ValueError()\ne.__notes__ = 5\nraise e",
    "notes of anything": "e = ValueError()\ne.__notes__ = [1, None, object()]\nraise e",
    "cause": "class E(Exception):\n    __cause__ = property(lambda self: 1 / 0)\nraise E",
    "context is no exception": "class E(Exception):\n    __context__ = 5\nraise E",
    "traceback": "class E(Exception):\n    __traceback__ = 5\nraise E",
    "module": "class E(Exception): pass\nE.__module__ = 5\nraise E",
    "name": "raise type('a\\nb', (Exception,), {})",
    "meta": "class M(type):\n    def __getattribute__(self, name): raise ValueError\nclass E(Exception, metaclass=M): pass\nraise E",
    "syntax": "e = SyntaxError('m', ('f', -5, 10**9, 'text', 10**9, -1))\nraise e",
    "syntax of no str": "e = SyntaxError()\ne.filename = e.text = e.lineno = e.offset = object()\nraise e",
    "members": "class G(ExceptionGroup):\n    exceptions = property(lambda self: 1 / 0)\nraise G('g', [ValueError()])",
    "surrogates": "raise ValueError('\\ud800')",
    "limit": "import sys\nsys.tracebacklimit = 'x'\nraise ValueError",
    "notes that exit": "class E(Exception):\n    @property\n    def __notes__(self): raise SystemExit\nraise E",
    "list of notes that exits": "class L(list):\n    def __getitem__(self, i): raise SystemExit\n    __iter__ = __len__ = __getitem__\ne = ValueError()\ne.__notes__ = L('n')\nraise e",
    "note that exits": "class S(str):\n    def split(self, *a): raise SystemExit\n    __str__ = __len__ = __getitem__ = split\ne = ValueError()\ne.add_note(S('n'))\nraise e",
    "all that exits": "class E(Exception):\n    def __getattribute__(self, name): raise SystemExit\nraise E",
    "all that is interrupted": "class E(Exception):\n    def __getattribute__(self, name): raise KeyboardInterrupt\nraise E",
    "class that exits": "class E(Exception):\n    @property\n    def __class__(self): raise SystemExit\nraise E",
    "class that lies": "class E(Exception):\n    __class__ = ExceptionGroup\nraise E",
    "class that lies about syntax": "class E(Exception):\n    __class__ = SyntaxError\nraise E",
    "traceback that exits": "class E(Exception):\n    @property\n    def __traceback__(self): raise SystemExit\nraise E",
    "members that exit": "class G(ExceptionGroup):\n    @property\n    def exceptions(self): raise SystemExit\nraise G('g', [ValueError()])",
    "members that are none": "class G(ExceptionGroup):\n    exceptions = [5]\nraise G('g', [ValueError()])",
    "syntax that exits": "class E(SyntaxError):\n    @property\n    def lineno(self): raise SystemExit\nraise E('m')",
    "syntax in a file that exits": "class S(str):\n    def __getattribute__(self, name): raise SystemExit\nraise SyntaxError('m', (S('f'), 1, 1, S('t')))",
    "syntax on a huge line": "raise SyntaxError('m', ('f', 10**30, 10**30, 'text', 10**30, -10**30))",
    "syntax of other types": "raise SyntaxError('m', ('f', 'line', 1.5, 'text', [], ()))",
    "dir that exits": "class A:\n    def __dir__(self): raise SystemExit\nA().value",
    "message that is no str": "class S(str):\n    def __len__(self): raise SystemExit\n    __str__ = __getitem__ = __len__\nclass E(Exception):\n    def __str__(self): return S('m')\nraise E",
    "loader that exits": "class L:\n    def get_source(self, name): raise SystemExit\nexec(compile('1/0', '/no/such/file.py', 'exec'), {'__name__': 'm', '__loader__': L()})",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=list(HOSTILE))
def test_E1_hostile_exceptions_are_described_all_the_same(cells, source, monkeypatch):
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    info = describe_exception(cells.fail(source), max_chars=10_000)
    assert info.type
    assert 'File "<cell 1>", line' in info.text
    assert any(frame.filename == "<cell 1>" for frame in info.frames)
    assert all(type(part) is str for part in (info.type, info.module, info.message, *info.notes))
    assert msgspec.convert(msgspec.to_builtins(info), type(info)) == info


def chain(length):
    error = None
    for number in range(length):
        previous, error = error, ValueError(number)
        error.__context__ = previous
    return error


def nested(depth):
    error = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("g", [error, error])
    return error


def recursive(depth):
    def f(n):
        return f(n - 1) if n else 1 / 0

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 500)
    try:
        f(depth)
    except ZeroDivisionError as error:
        return error
    finally:
        sys.setrecursionlimit(limit)


BIG = {
    "message": lambda: ValueError("x" * 1_000_000),
    "notes": lambda: noted(ValueError(), 10_000),
    "chain": lambda: chain(10_000),
    "wide group": lambda: ExceptionGroup("g", [ValueError("y" * 1000) for _ in range(100_000)]),
    "deep group": lambda: nested(200),
    "groups of groups": lambda: ExceptionGroup("g", [nested(12) for _ in range(50)]),
    "deep traceback": lambda: recursive(3_000),
}


def noted(error, count):
    for number in range(count):
        error.add_note("n" * 100 + str(number))
    return error


def size(info):
    texts = [info.message, *info.notes, *(frame.source for frame in info.frames)]
    linked = [each for each in (info.cause, info.context, *(info.group or ())) if each is not None]
    return sum(map(len, texts)) + sum(map(size, linked))


@pytest.mark.parametrize("make", BIG.values(), ids=list(BIG))
def test_E1_size_is_bounded(make):
    info = describe_exception(make(), max_chars=5_000)
    assert len(info.text) < 5_100
    assert size(info) < 5_000 + 50 * 3_000  # each cut text says what was left out
    assert len(info.frames) <= 200


def test_E1_a_text_that_is_cut_keeps_both_ends():
    info = describe_exception(ValueError("begin" + "x" * 10_000 + "end"), max_chars=1_000)
    assert info.text.startswith("ValueError: begin")
    assert info.text.endswith("end\n")
    assert "characters left out" in info.text


def test_E1_a_line_too_long_to_show_is_cut(cells):
    info = described(cells, f"x = [{'1, ' * 20_000}1 / 0]")
    assert len(info.text) < 5_000
    assert info.frames[0].line == 1


def test_E1_tracebacklimit_is_the_users(cells, monkeypatch):
    monkeypatch.setattr(sys, "tracebacklimit", 1, raising=False)
    text = described(cells, "def f(): 1 / 0\ndef g(): f()\ng()").text
    assert "in f" in text
    assert "in g" not in text


@pytest.mark.parametrize("source", [s for s in FILES.values() if "def f(): f()" not in s])
def test_E1_a_text_that_was_printed_before_is_printed_again(make_cells, source, monkeypatch):
    monkeypatch.setattr(stacks, "_bodies", {})
    first = described(make_cells(), source).text
    monkeypatch.setattr(stacks.Stack, "format_frame_summary", _counting(stacks.Stack.format_frame_summary))
    assert described(make_cells(), source).text == first


def _counting(format_frame_summary):
    def formatted(stack, frame, **options):
        kept = len(stacks._bodies)
        text = format_frame_summary(stack, frame, **options)
        assert len(stacks._bodies) == kept, "a body was made that had been there"
        return text

    return formatted


def test_E1_a_kept_text_is_that_of_its_lines_and_span(make_cells):
    one = described(make_cells(), "x = (1 / 0) + 2").text
    assert described(make_cells(), "y = 0\n\nx = (1 / 0) + 2").text == one.replace("line 1", "line 3")
    assert "1 /  0" in described(make_cells(), "x = (1 /  0) + 2").text
    left = described(make_cells(), "a, b = {}, {0: 0}\nx = a[0] + b[0]").text.splitlines()
    right = described(make_cells(), "a, b = {0: 0}, {}\nx = a[0] + b[0]").text.splitlines()
    assert left[2] == right[2]
    assert left[3] != right[3]


def test_kept_texts_are_bounded(make_cells, monkeypatch):
    monkeypatch.setattr(stacks, "_bodies", {})
    monkeypatch.setattr(stacks, "MAX_BODIES", 3)
    for number in range(10):
        described(make_cells(), f"x = {number} / 0")
        assert len(stacks._bodies) <= 3
    described(make_cells(), "x = 1 / 0 # " + "#" * stacks.MAX_BODY_CHARS)
    assert all(len(body) <= stacks.MAX_BODY_CHARS for body in stacks._bodies.values())
