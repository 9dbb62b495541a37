"""What is saved comes back, bound to the namespace that it comes back to."""

from __future__ import annotations

import pytest


def test_K1_a_restored_function_sees_what_is_bound_later(again):
    main = again("x = 1\ndef f(): return x")
    assert main.get("f()") == 1
    main.run("x = 2")
    assert main.get("f()") == 2
    assert main.get("f.__globals__") is main.namespace


def test_K1_in_the_same_worker(main):
    main.run("x = 1\ndef f(): return x")
    old = main.get("f")
    main.restore(main.save())
    main.run("x = 2")
    assert main.get("f()") == 2
    assert main.get("f") is not old


def test_K1_a_function_sees_a_name_that_did_not_exist(again):
    main = again("def f(): return later")
    main.run("later = 3")
    assert main.get("f()") == 3


def test_K1_a_function_assigns_to_the_namespace(again):
    main = again("n = 0\ndef count():\n    global n\n    n += 1")
    main.run("count(); count()")
    assert main.namespace["n"] == 2


SHARING = [
    ("l = [1]\nd = {'l': l}", "d['l'] is l"),
    ("d = {}\nd['me'] = d", "d['me'] is d"),
    ("a = []\nb = (a, a)", "b[0] is b[1] is a"),
    ("g = globals()", "g is globals()"),
    ("n = {'g': globals()}", "n['g'] is globals()"),
    ("def f(): pass\nfs = [f]", "fs[0] is f"),
    ("l = []\ndef f(x=l): return x", "f() is l"),
    ("class C: pass\nc = C()\nC.one = c", "C.one is c and type(c) is C"),
    ("l = []\nf = lambda: l", "f() is l"),
    ("def make():\n    def r(): return r\n    return r\nr = make()", "r() is r"),
    ("class C:\n    def m(self): return __class__\nm = C.m\ndel C", "m(0)().m() is m(0) and m(0).m is m"),
    ("import sys\nout = sys.stdout", "out is sys.stdout"),
    ("import sys\nh = {'out': sys.stderr}", "h['out'] is sys.stderr"),
    ("b = vars(__import__('builtins'))", "b is vars(__import__('builtins'))"),
]


@pytest.mark.parametrize(("source", "expression"), SHARING)
def test_what_is_one_object_stays_one_object(again, source, expression):
    assert again(source).get(expression)


def test_order_of_the_namespace_stays(again):
    main = again("z = [1]\ndef a(): pass\nimport math\nb = 2")
    assert list(main.variables) == ["z", "a", "math", "b"]


def test_closures_share_their_variable(again):
    main = again("""
def make():
    n = 0
    def increase():
        nonlocal n
        n += 1
        return n
    def get(): return n
    return increase, get
increase, get = make()
increase()
""")
    assert main.get("increase()") == 2
    assert main.get("get()") == 2


def test_a_cell_that_is_met_before_and_after_its_function(again):
    main = again("""
def make():
    value = []
    def get(): return value
    return get
get = make()
first = [get.__closure__[0]]
also = make()
last = also.__closure__[0]
""")
    assert main.get("first[0] is get.__closure__[0] and last is also.__closure__[0]")
    assert main.get("first[0].cell_contents is get()")


FUNCTIONS = [
    ("def fact(n): return 1 if n < 2 else n * fact(n - 1)", "fact(5)", 120),
    ("def make():\n    def r(n): return n and r(n - 1)\n    return r\nr = make()", "r(3)", 0),
    ("f = lambda x, *a, k=2, **kw: (x, a, k, kw)", "f(1, 3, q=4)", (1, (3,), 2, {"q": 4})),
    ("def odd(n): return n and even(n - 1)\ndef even(n): return not n or odd(n - 1)", "even(10)", True),
    ("def f(x: int = 1) -> str:\n    'doc'\nf.tag = 5", "f.__doc__, f.__annotations__, f.tag", ("doc", {"x": int, "return": str}, 5)),
    ("import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(*a): return ['w', f(*a)]\n    return w\n@deco\ndef g(x): return x", "g(1), g.__name__", (["w", 1], "g")),
    ("import functools\n@functools.lru_cache(maxsize=9)\ndef fib(n): return n if n < 2 else fib(n-1) + fib(n-2)", "fib(20), fib.cache_info().maxsize", (6765, 9)),
    ("import functools\np = functools.partial(pow, 2)", "p(3)", 8),
    ("from math import sqrt", "sqrt(4)", 2.0),
    ("import os.path as osp", "osp.join('a', 'b')", "a/b"),
    ("async def co(): return 1\nimport inspect", "inspect.iscoroutinefunction(co)", True),
    ("def empty():\n    def f(): return later\n    if 0: later = 1\n    return f\nf = empty()", "f.__closure__[0] == type(f.__closure__[0])()", True),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expression", "expected"), FUNCTIONS)
def test_functions(again, source, expression, expected):
    assert again(source).get(expression) == expected


def test_a_restored_function_of_a_library_uses_the_library(again):
    main = again("from contextlib import contextmanager\n@contextmanager\ndef cm(): yield 5")
    import contextlib

    assert main.get("cm.__globals__") is vars(contextlib)
    main.run("with cm() as five: pass")
    assert main.get("five") == 5


def test_functions_of_a_dict_of_their_own_stay_together(again):
    main = again("space = {}\nexec('y = 1\\ndef f(): return y', space)\nf = space['f']")
    main.run("space['y'] = 2")
    assert main.get("f()") == 2
    assert main.get("f.__globals__ is space")


def test_a_value_may_need_others_while_it_is_loaded(again):
    main = again("""
early = None
DEFAULT = 5
def helper(): return DEFAULT
class Key:
    def __init__(self, n): self.n = n
    def __hash__(self): return helper() + self.n
    def __eq__(self, other): return self.n == other.n
    def __setstate__(self, state): self.__dict__.update(state, seen=helper())
early = {Key(1): "one"}
""")
    assert main.get("early[Key(1)]") == "one"
    assert main.get("next(iter(early)).seen") == 5
