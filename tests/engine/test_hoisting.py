"""Which statements are hoisted, and that a program means the same with and without."""

import ast
import io
import sys
from contextlib import redirect_stdout

import pytest

from stateroom.engine.hoisting import Hoister


def hoisted(source, bound=()):
    return ast.unparse(Hoister(bound).hoist(ast.parse(source)))


MOVED = {
    "import": ("x = 1\nimport os", "import os\nx = 1"),
    "several": ("x = 1\nimport os\ny = 2\nimport sys", "import os\nimport sys\nx = 1\ny = 2"),
    "dotted": ("x = 1\nimport os.path", "import os.path\nx = 1"),
    "alias": ("x = 1\nimport os as system", "import os as system\nx = 1"),
    "from": ("x = 1\nfrom os import path, sep as s", "from os import path, sep as s\nx = 1"),
    "def": ("x = 1\ndef f(): return x", "def f():\n    return x\nx = 1"),
    "async def": ("x = await a\nasync def f(): pass", "async def f():\n    pass\nx = await a"),
    "over everything that awaits": (
        "async with await a as m:\n    async for i in m: pass\nx = f'{[j async for j in await b]}'\nimport os",
        "import os\nasync with await a as m:\n    async for i in m:\n        pass\nx = f'{[j async for j in await b]}'",
    ),
    "constant defaults": (
        "x = 1\ndef f(a, b=2, *, c='d') -> None: pass",
        "def f(a, b=2, *, c='d') -> None:\n    pass\nx = 1",
    ),
    "import used by def": (
        "x = 1\nimport os\ndef f(a: os): pass",
        "import os\n\ndef f(a: os):\n    pass\nx = 1",
    ),
    "behind docstring and future": (
        "'doc'\nfrom __future__ import annotations\nx = 1\nimport os",
        '"""doc"""\nfrom __future__ import annotations\nimport os\nx = 1',
    ),
    "over an unsafe one": (
        "x = 1\nimport not_loaded_at_all\nimport os",
        "import os\nx = 1\nimport not_loaded_at_all",
    ),
}


@pytest.mark.parametrize(("source", "expected"), MOVED.values(), ids=list(MOVED))
def test_safe_statements_come_first_in_their_order(source, expected):
    assert hoisted(source) == expected


LEFT = {
    "conditional import": "x = 1\nif x:\n    import os",
    "conditional def": "x = 1\ntry:\n\n    def f():\n        pass\nfinally:\n    pass",
    "module not loaded": "x = 1\nimport not_loaded_at_all",
    "submodule not loaded": "x = 1\nimport os.not_loaded",
    "from a module not loaded": "x = 1\nfrom not_loaded_at_all import y",
    "name not there": "x = 1\nfrom os import not_there",
    "relative": "x = 1\nfrom . import y",
    "star": "x = 1\nfrom os import *",
    "shadowed later": "x = 1\nimport os\nos = 2",
    "shadowed before": "f = 1\ndef f():\n    pass".replace("def f", "\ndef f"),
    "two defs": "x = 1\n\ndef f():\n    pass\n\ndef f():\n    return 2",
    "a builtin's name": "x = 1\n\ndef print():\n    pass",
    "read before": "print(f)\n\ndef f():\n    pass",
    "read before in a function that stays": "g = lambda: f()\nx = g\n\ndef f():\n    pass",
    "deleted": "x = 1\nimport os\ndel os",
    "module touched before": "import os\nos.sep = 1\nfrom os import sep".replace(
        "import os\n", "x = os\n", 1
    ),
    "sys touched before": "x = sys.modules\nimport os",
    "namespace seen as a whole": "x = globals()\nimport os",
    "exec before": "exec('import os')\nimport os",
    "star before": "from math import *\nimport os",
    "decorated with a later name": "x = 1\nd = 2\n\n@d\ndef f():\n    pass",
    "decorated": "x = 1\n\n@staticmethod\ndef f():\n    pass",
    "default of a later name": "x = 1\n\ndef f(a=x):\n    pass",
    "default that runs code": "x = 1\n\ndef f(a=g()):\n    pass",
    "annotation of a later name": "X = 1\n\ndef f(a: X):\n    pass",
    "class": "x = 1\n\nclass C:\n    pass",
    "type alias by annotation": "x = 1\nAlias: TypeAlias = int",
    "bound through global": "def g():\n    global f\n    f = 1\nx = g()\n\ndef f():\n    pass",
    "read before in an await": "x = await f()\n\ndef f():\n    pass",
    "read before in an async comprehension": "x = [j async for j in f()]\n\ndef f():\n    pass",
    "bound by async for": "async for f in g():\n    pass\n\ndef f():\n    pass",
    "bound by async with": "async with g() as f:\n    pass\n\ndef f():\n    pass",
    "plain": "x = 1\ny = 2",
    "walrus": "(f := 1)\n\ndef f():\n    pass",
    "loop variable": "for f in ():\n    pass\n\ndef f():\n    pass",
    "exception name": "try:\n    pass\nexcept Exception as f:\n    pass\n\ndef f():\n    pass",
}


@pytest.mark.parametrize("source", LEFT.values(), ids=list(LEFT))
def test_what_is_not_safe_stays_where_it_is(source):
    assert hoisted(source) == ast.unparse(ast.parse(source))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with 3.12")
def test_a_type_alias_counts_as_assignment():
    source = "x = 1\ntype Alias = int"
    assert hoisted(source) == source
    assert hoisted("type f = int\n\ndef f():\n    pass") == "type f = int\n\ndef f():\n    pass"


def test_a_name_bound_before_the_cell_is_not_hoisted():
    source = "x = 1\nimport os"
    assert hoisted(source, bound={"os": None}) == source


def test_the_tree_given_is_left_alone():
    tree = ast.parse("x = 1\nimport os")
    before = ast.dump(tree)
    Hoister().hoist(tree)
    assert ast.dump(tree) == before
    assert repr(Hoister({})) == "<Hoister bound={}>"


PROGRAMS = [
    "x = 1\nprint(x)\nimport os\nprint(os.sep)\ndef f(): return x + 1\nprint(f())",
    "print('first')\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nprint(f(10))\nfrom math import floor\nprint(floor(2.5))",
    "try:\n    print(f())\nexcept NameError as e:\n    print(e)\ndef f(): return 1\nprint(f())",
    "log = []\ndef add(n): log.append(n)\nadd(1)\nimport math\nadd(math.floor(2.5))\nprint(log)",
    "def g(): return h()\ntry:\n    print(g())\nexcept NameError as e: print(e)\ndef h(): return 2\nprint(g())",
    "import math\nmath_floor = math.floor\nmath.floor = len\nfrom math import floor\nprint(floor is len)\nmath.floor = math_floor",
    "y = 3\ndef f(a=y): return a\ny = 4\nprint(f())",
    "import os\nos = 5\nprint(os)\nimport os\nprint(os.sep)",
    "print('os' in globals())\nimport os\nprint('os' in globals())",
    "def f(): return 1\nprint(f())\ndef f(): return 2\nprint(f())",
    "print(len([1]))\ndef len(x): return -1\nprint(len([1]))",
    "x = 0\nclass C:\n    v = x\nprint(C.v)\nx = 1\ndef f(): return C.v\nprint(f())",
]


@pytest.mark.parametrize("source", PROGRAMS, ids=range(len(PROGRAMS)))
def test_programs_print_and_bind_the_same_on_and_off(source):
    off, on = outcome(ast.parse(source)), outcome(Hoister().hoist(ast.parse(source)))
    assert on == off


def outcome(tree):
    namespace = {"__name__": "program"}
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, "<program>", "exec"), namespace)
    return printed.getvalue(), sorted(set(namespace) - {"__builtins__"})
