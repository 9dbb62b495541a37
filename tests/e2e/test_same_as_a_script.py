"""Programs that Python runs as a script, and a session as a cell: what they print is the same."""

import re
import subprocess
import sys

import pytest

from .conftest import PREFIXES, REFUSE_AWAIT, Way

NAMES = {
    "deleted names": "x = 1\ndel x\ntry: x\nexcept NameError as e: print(e)\nfor i in range(3): pass\ndel i\nprint('i' in globals())\ntry: 1/0\nexcept Exception as e: pass\nprint('e' in globals())",
    "star imports": "from os.path import *\nfrom math import *\nprint(join('a', 'b'), floor(1.5))",
    "global at the top": "global x\nx = 1\nprint(x)\ndef f():\n    global y\n    y = 2\nf(); print(y)",
    "global too late": "x = 1\nglobal x",
    "private names": "class C:\n    __a = 1\n    def f(self): return self.__a\n    class D:\n        __b = 2\n        z = [__q for __q in (1, 2)]\nprint(C().f(), vars(C)['_C__a'], [k for k in vars(C.D) if '__b' in k], C.D.z)\n__x = 3\nclass E:\n    def g(self): return __x\ntry: E().g()\nexcept NameError as e: print(e)",
    "walrus": "a = [y := x, [z := y + i for i in range(2)]] if (x := 3) else 0\nprint(a, x, y, z)\nprint([[(w := j) for j in range(i)] for i in range(4)], w)\nclass C:\n    q = (r := 5)\nprint(C.r)",
    "walrus in a class": "class C:\n    x = [y := 1 for _ in range(2)]",
    "scopes of classes": "x = 'g'\nclass C:\n    x = 'c'\n    def f(self): return x\n    y = [x for _ in range(1)]\n    z = (lambda: x)()\nprint(C().f(), C.y, C.z)",
    "locals of functions": "def f():\n    a = 1\n    return locals()\nprint(f())",
    "exec and eval": "exec('x = 1\\nprint(x)')\nprint(x, eval('x + 1'))\nexec(compile('y = 2', 'q', 'exec'))\nprint(y)",
    "the main module": "import sys\nprint(sys.modules['__main__'].__dict__ is globals())\nimport __main__\n__main__.zz = 5\nprint(zz, __name__)",
    "unicode names": "\uff41 = 1\nprint(a)\nµ = 2\nprint(μ)",
    "super": "class A:\n    def f(self): return 1\nclass B(A):\n    def f(self): return super().f() + 1\nprint(B().f())",
    "class cell outside": "class B:\n    __class__\nprint(B)",
    "modules of made classes": "from collections import namedtuple\nfrom typing import NewType, TypeVar\nimport enum\nP = namedtuple('P', 'a b')\nT = TypeVar('T')\nclass E(enum.Enum): A = 1\n@enum.global_enum\nclass F(enum.IntFlag): X = 1\nprint(P.__module__, P(1, 2), T.__module__, repr(E.A), E.__module__, repr(F.X))",
    "pickle": "import pickle\nclass C:\n    class D: pass\n    def m(self): pass\ndef f(): pass\nfor o in (C, C(), C.D(), f, C().m, C.D): print(type(pickle.loads(pickle.dumps(o))).__name__)\ntry: pickle.dumps(lambda: 0)\nexcept Exception as e: print(type(e))",
    "getsource": "import inspect\ndef f(x):\n    return x\nclass C:\n    def m(self): pass\nprint(inspect.getsource(f), inspect.getsource(C), inspect.getsource(C.m), inspect.getsourcelines(f)[1], inspect.getmodule(f).__name__)",
    "runpy": "import runpy, tempfile, os, sys\nwith tempfile.TemporaryDirectory() as d:\n    p = os.path.join(d, 'm.py')\n    open(p, 'w').write('print(__name__)\\nx = 1')\n    print(runpy.run_path(p, run_name='zz')['x'])\n    sys.path.insert(0, d)\n    print(runpy.run_module('m', run_name='__main__')['x'])\n    sys.path.pop(0)\nprint(__name__)",
    "linecache": "import linecache, sys\nprint(linecache.getline(sys._getframe().f_code.co_filename, sys._getframe().f_lineno))",
}
SYNTAX = {
    "future too late": "x = 1\nfrom __future__ import annotations",
    "unknown future": "from __future__ import nope",
    "braces": "from __future__ import braces",
    "match": "def m(v):\n    match v:\n        case {'a': [x, *r], **k}: return x, r, k\n        case int(n) | float(n): return n\n        case (1, 2) as t: return t\n        case _: return None\nprint(m({'a': [1, 2, 3], 'b': 1}), m(2.0), m((1, 2)), m('z'))\nmatch 5:\n    case q: print(q)",
    "except star": "try:\n    raise ExceptionGroup('a', [ValueError(1), TypeError(2)])\nexcept* ValueError as e:\n    print(e.exceptions)\nexcept* TypeError as e:\n    print(e.exceptions)",
    "tabs": "if 1:\n\tx = 1\n\tif x:\n\t\ty = 2\nprint(x, y)",
    "tabs and spaces": "if 1:\n        x = 1\n\ty = 2",
    "tabs after spaces": "if 1:\n    x = 1\n\tx = 2",
    "form feeds": "x = 1\n\x0c\ny = 2\n\x0cprint(x, y)\nif 1:\n\x0c  z = 3\nprint(z)",
    "line ends": "x = '''a\r\nb'''\r\nprint(repr(x))\r\nif x:\r\n  print(1)\r\ny = 1 + \\\r\n  2\r\nprint(y)\r\n",
    "carriage returns": "x = '''a\rb'''\rprint(repr(x))\rif x:\r  print(1)\r",
    "cookie": "# vim: set fileencoding=utf-8 :\nprint('ü')",
    "nested parentheses": "x = " + "(" * 150 + "1" + ")" * 150 + "\nprint(x)",
    "too many parentheses": "x = " + "(" * 250 + "1" + ")" * 250 + "\nprint(x)",
    "nested blocks": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "print(1)",
    "too many blocks": "".join(" " * i + "if 1:\n" for i in range(101)) + " " * 101 + "print(1)",
    "nested loops": "".join(" " * i + "for _ in [1]:\n" for i in range(21)) + " " * 21 + "print(1)",
    "a long sum": "x = 1\nprint(" + "+".join(["x"] * 2500) + ")",
    "a chain of attributes": "class A: pass\na = A(); a.b = a\nprint(type(a" + ".b" * 2000 + "))",
    "a chain of elif": "x = 1\nif x == 0: pass\n" + "".join(f"elif x == {i}: pass\n" for i in range(2, 300)) + "else: print('e')",
    "nothing": "",
    "only a comment": "# c",
    "parenthesis": "def f(:\n  pass",
    "print statement": "print 'hello'",
    "unclosed bracket": "x = (1,\ny = 2",
    "unclosed string": "'abc",
    "unclosed text": "x = '''abc",
    "dedent": "if 1:\n    x = 1\n  y = 1",
    "no block": "if 1:\nx = 1",
    "two literals": "x = 'é' 5 6",
    "break in else": "for i in range(3):\n    continue\nelse:\n    break",
    "f-string": "f'{a b}'",
    "brace": "x = {1, 2",
    "nonlocal": "def f():\n    x = 1\n    nonlocal x",
    "octal": "a = 1\n\n\nb = 0777",
    "backslash at the end": "x = 1\\",
    "two semicolons": "x = 1;; y = 2",
    "dollar": "x = $1",
    "no-break space": "x\u00a0= 1",
    "vertical tab": "x = 1\x0by = 2",
    "control-Z": "print(1)\n\x1a",
}  # fmt: skip
ERRORS = {
    "no current error": "import sys\nprint(sys.exc_info(), sys.exception())\ntry: 1/0\nexcept Exception: print(sys.exc_info()[0], type(sys.exception()))\nprint(sys.exc_info())",
    "warnings": "import warnings\nwarnings.warn('hi')\nwarnings.warn('hi')\nfor i in range(3): warnings.warn('loop')\ndef f(): warnings.warn('deep', stacklevel=2)\nf()\nwarnings.warn('dep', DeprecationWarning)\nprint(len(__warningregistry__))",
    "warnings of the compiler": "x = 1\nif x is 1: print('y')\nassert (x, 'always')\n[1] and 1.\nprint('\\d')",
    "printed by the program": "import traceback\ntry: 1/0\nexcept Exception: traceback.print_exc()",
    "hook of threads": "import threading\ndef hook(a): print('TH', a.exc_type)\nthreading.excepthook = hook\nt = threading.Thread(target=lambda: 1/0); t.start(); t.join()",
    "a thread's": "import threading\nt = threading.Thread(target=lambda: 1/0, name='T'); t.start(); t.join()",
    "hook of finalizers": "import sys\nsys.unraisablehook = lambda u: print('UN', u.exc_type)\nclass D:\n    def __del__(self): 1/0\nd = D()\ndel d",
    "cycle of contexts": "a = ValueError('a'); b = TypeError('b')\na.__context__ = b; b.__context__ = a\nraise a",
    "cycle of causes": "a = ValueError('a'); b = TypeError('b')\na.__cause__ = b; b.__cause__ = a\nraise a",
    "a group as cause": "e = ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [KeyError('x')])])\ne.add_note('n1\\nn2')\ntry: raise e\nexcept Exception as f: raise RuntimeError('r') from f",
    "repr that fails": "class E(Exception):\n    def __repr__(self): return 5\nraise ValueError(E())",
    "subscripts": "a = {'x': {'y': None}}\nprint(a['x']['y']['z'])",
    "interrupt": "raise KeyboardInterrupt",
    "assertion": "x = [1]\nassert x == [2], f'{x} is not'",
    "generators": "def g():\n    try: yield 1\n    finally: print('closed')\nit = g(); next(it); del it",
    "unawaited": "async def f(): pass\nf();\nprint(1)",
    "digits": "try: str(10**5000)\nexcept ValueError as e: print(e)",
    "a signal": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print('alarm'))\nsignal.raise_signal(signal.SIGALRM)",
}
NOT_BEHIND_A_STATEMENT = {
    "future after a docstring": '"doc"\nfrom __future__ import annotations\ndef f(a: N): pass\nprint(f.__annotations__, __doc__)',
    "future and more in a line": "'d'; from __future__ import annotations; x: N = 1; print(__annotations__)",
    "docstring": "'''the doc'''\nprint(__doc__)",
    "docstring of two": "'a' 'b'\nprint(__doc__)",
    "f-string is no docstring": "f'no doc'\nprint(__doc__)",
    "bytes are no docstring": "b'no doc'\nprint(__doc__)",
    "no docstring": "x = 1\nprint(__doc__)",
    "annotations": "x: int = 1\ny: str\nif 1:\n    z: 'str'\nprint(__annotations__)\nclass C:\n    a: int; b: 'str'\nprint(C.__annotations__)",
    "no annotations": "print('__annotations__' in globals(), __spec__, __package__)",
    "locals": "print(locals() is globals() is vars(), dir() == sorted(globals()))",
    "asyncio.run": "import asyncio\nasync def f():\n    await asyncio.sleep(0); return 1\nprint(asyncio.run(f()), asyncio.run(f()))\nwith asyncio.Runner() as r: print(r.run(f()))\nloop = asyncio.new_event_loop(); print(loop.run_until_complete(f())); loop.close()",
    "depth": "def d(n):\n    try: return d(n + 1)\n    except RecursionError: return n\nprint(d(0) > 950)",
}
if sys.version_info >= (3, 12):
    NAMES |= {
        "type aliases": "type L[T] = list[T] | M\ntype M = int\nprint(L, L.__value__, L.__module__, M.__value__)\ntype X = Y\nglobals().pop('Y', 0)\ntry: X.__value__\nexcept NameError as e: print(e)\nY = int\nprint(X.__value__)",
        "type parameters": "def f[T: (int, str)](x: T) -> T: return x\nprint(f.__type_params__, f(1))\nclass C[*Ts, **P]:\n    def m[U](self, u: U): return (Ts, P, U)\nprint(C.__type_params__, C().m(1), C.__orig_bases__)",
    }
    SYNTAX |= {"quotes in f-strings": "x = {'a': 1}\nprint(f'{x['a']} {f'{1 + f'{2}'.__len__()}'} {'\\n'}')"}

ADDRESS = re.compile("0x[0-9a-f]+|\\d{6,}")


def printed_by_python(text, tmp_path):
    """What the script prints to stdout, and to stderr as if it were called <program>."""
    file = tmp_path / "program.py"
    file.write_text(text, encoding="utf-8", newline="")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-I", str(file)], cwd=tmp_path,
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    return ADDRESS.sub("", done.stdout), ADDRESS.sub("", done.stderr.replace(str(file), "<program>"))


async def printed_by_a_cell(way, text):
    result = await way.run(text, filename="<program>", any_mode=True)
    errors = result.stderr + (result.error.text if result.error else "")
    return ADDRESS.sub("", result.stdout), ADDRESS.sub("", errors)


BEHIND_A_STATEMENT = NAMES | SYNTAX | ERRORS
NOT_IN_A_FUNCTION = {"star imports", "exec and eval", "nested loops"}
"""What the wrapper cannot do, since it makes the cell a function."""


PRINTED_IN_C = {"tabs and spaces", "tabs after spaces", "two literals", "nested loops"}
"""Up to 3.12 the interpreter places the carets of some syntax errors other than :mod:`traceback` does."""


@pytest.mark.parametrize("name", BEHIND_A_STATEMENT)
async def test_a_cell_in_each_way_prints_what_a_script_prints(session, tmp_path, name):
    if name in PRINTED_IN_C and sys.version_info < (3, 13):
        pytest.skip("the interpreter prints it in C")
    text = BEHIND_A_STATEMENT[name]
    printed = [printed_by_python("#\n" * before + text, tmp_path) for before in range(3)]
    for way in (Way(session, way) for way in PREFIXES):
        if way.lines_before and "from __future__" in text:
            continue  # has to be the first statement
        if way.name == "fallback":
            if name in NOT_IN_A_FUNCTION:
                continue
            await session.restart()  # it knows these cells
            await session.run(REFUSE_AWAIT, check=True)
        await session.run("import asyncio, time", check=True)
        assert await printed_by_a_cell(way, text) == printed[way.lines_before], way.name
    assert (await session.run("1 + 1")).value == 2


@pytest.mark.parametrize("name", NOT_BEHIND_A_STATEMENT)
async def test_a_first_cell_prints_what_a_script_prints(session, tmp_path, name):
    text = NOT_BEHIND_A_STATEMENT[name]
    assert await printed_by_a_cell(Way(session, "sync"), text) == printed_by_python(text, tmp_path)
