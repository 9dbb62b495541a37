"""Verdicts that are remembered: each is dropped when anything it was read from changes.

The judge of every test is a second detector, which has seen nothing before.
"""

from __future__ import annotations

import builtins
import gc
import json
import math
import sys
import time
import weakref
from collections.abc import Iterator

import pytest
from blocking_judges import Seen, called
from blocking_programs import explosives

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector
from stateroom.engine.blocking.memory import Remembered
from stateroom.engine.telemetry import Telemetry

CLASS = "import time\nclass A:\n    def go(self): self.w()\n    def w(self): pass\na = A()"
CLOSURE = "import time\ndef make(f):\n    def inner(): f(1)\n    return inner\ninner = make(abs)"
FROM_MODULE = (
    "import sys, time, types\nm = types.ModuleType('mine')\nm.nap = abs\n"
    "exec('def go(): return nap(1)', m.__dict__)\ngo = m.go"
)
CHANGES = {
    "a global": ("import time\nnap = abs", "nap(1)", "nap = time.sleep"),
    "a global is deleted": ("import time\nfrom time import sleep as abs", "abs(1)", "del abs"),
    "a global hides a builtin": ("import time", "print(1)", "print = time.sleep"),
    "a builtin": ("import builtins", "nosuch(1)", "import time\nbuiltins.nosuch = time.sleep"),
    "an attribute of a module": ("import time, math", "math.sqrt(1)", "math.sqrt = time.sleep"),
    "an attribute comes to a module": ("import time, math", "math.nap(1)", "math.nap = time.sleep"),
    "an attribute leaves a module": ("import time, math\nmath.nap = time.sleep", "math.nap(1)", "del math.nap"),
    "a module is replaced": ("import sys, time", "import json\njson.loads(1)", "sys.modules['json'] = time\ntime.loads = time.sleep"),
    "a module is loaded": ("", "import mine_x\nmine_x.nap(1)", "import sys, time, types\nm = types.ModuleType('mine_x')\nm.nap = time.sleep\nsys.modules['mine_x'] = m"),
    "the code of a function": ("import time\ndef f(): pass\ndef g(): time.sleep(1)", "f()", "f.__code__ = g.__code__"),
    "the code of a function called by it": ("import time\ndef f(): g()\ndef g(): pass\ndef h(): time.sleep(1)", "f()", "g.__code__ = h.__code__"),
    "a function is written again": ("import time\ndef f(): pass", "f()", "def f(): time.sleep(1)"),
    "a global of a function": ("import time\nnap = abs\ndef f(): nap(1)", "f()", "nap = time.sleep"),
    "a global of a function is deleted": ("from time import sleep as abs\ndef f(): abs(1)", "f()", "del abs"),
    "a global of another module": (FROM_MODULE, "go()", "m.nap = time.sleep"),
    "a global of another module is deleted": (FROM_MODULE + "\nm.nap = time.sleep", "go()", "del m.nap"),
    "other globals": ("import time, types\nnap = abs\ndef f(): nap(1)", "f()", "f = types.FunctionType(f.__code__, {'nap': time.sleep, '__name__': '__main__'})"),
    "the module that a function says": ("def get(url): pass", "get(1)", "__name__ = 'requests'"),
    "a default": ("import time\ndef f(g=abs): g(1)", "f()", "f.__defaults__ = (time.sleep,)"),
    "a keyword default": ("import time\ndef f(*, g=abs): g(1)", "f()", "f.__kwdefaults__['g'] = time.sleep"),
    "a closure": (CLOSURE, "inner()", "inner.__closure__[0].cell_contents = time.sleep"),
    "a closure is emptied": (CLOSURE + "\ninner = make(time.sleep)", "inner()", "del inner.__closure__[0].cell_contents"),
    "what a function wraps": ("import time\ndef f(): pass\ndef g(): time.sleep(1)", "f()", "f.__wrapped__ = g"),
    "a method": (CLASS, "a.go()", "A.w = lambda self: time.sleep(1)"),
    "a method of the object": (CLASS, "a.go()", "a.w = lambda: time.sleep(1)"),
    "a method's code": (CLASS + "\ndef f(self): time.sleep(1)", "a.go()", "A.w.__code__ = f.__code__"),
    "a method is deleted": (CLASS + "\nclass B(A):\n    def w(self): time.sleep(1)\na = B()", "a.go()", "del B.w"),
    "a method of a base": (CLASS + "\nclass B(A): pass\nb = B()", "b.go()", "A.w = lambda self: time.sleep(1)"),
    "a class comes between": (CLASS + "\nclass B(A): pass\nb = B()", "b.go()", "B.w = lambda self: time.sleep(1)"),
    "the bases": (CLASS + "\nclass S(A):\n    def w(self): time.sleep(1)\nclass B(A): pass\nb = B()", "b.go()", "B.__bases__ = (S,)"),
    "the class of an object": (CLASS + "\nclass B(A):\n    def w(self): time.sleep(1)", "a.go()", "a.__class__ = B"),
    "another object": (CLASS + "\nclass B:\n    def go(self): time.sleep(1)", "a.go()", "a = B()"),
    "an attribute of an object": (CLASS + "\na.f = abs", "a.f(1)", "a.f = time.sleep"),
    "an attribute leaves an object": (CLASS + "\na.f = time.sleep", "a.f(1)", "del a.f"),
    "an object in an object": (CLASS + "\na.b = A()", "a.b.go()", "A.w = lambda self: time.sleep(1)"),
    "__init__": ("import time\nclass A: pass", "A()", "A.__init__ = lambda self: time.sleep(1)"),
    "__call__": ("import time\nclass A:\n    def __call__(self): pass\na = A()", "a()", "A.__call__ = lambda self: time.sleep(1)"),
    "__enter__": ("import time\nclass A:\n    def __enter__(self): pass\na = A()", "with a: pass", "A.__enter__ = lambda self: time.sleep(1)"),
    "__iter__": ("import time\nclass A: pass\na = A()", "for x in a: pass", "A.__iter__ = lambda self: time.sleep(1)"),
    "a static method": ("import time\nclass A:\n    @staticmethod\n    def go(): pass", "A.go()", "A.go = staticmethod(time.sleep)"),
    "the code of a static method": ("import time\nclass A:\n    @staticmethod\n    def go(): pass\ndef f(): time.sleep(1)", "A.go()", "A.go.__code__ = f.__code__"),
    "a class method": ("import time\nclass A:\n    @classmethod\n    def go(cls): pass\ndef f(cls): time.sleep(1)", "A.go()", "A.go = classmethod(f)"),
    "a property": ("import time\nclass A:\n    @property\n    def p(self): return abs\na = A()", "a.p(1)", "A.p = staticmethod(time.sleep)"),
    "the module of a class": ("class Session:\n    def get(self): pass\ns = Session()", "s.get()", "Session.__module__ = 'requests'"),
    "the name of a class": ("class Other:\n    def get(self): pass\nOther.__module__ = 'requests'\ns = Other()", "s.get()", "Other.__name__ = 'Session'"),
    "the first of a list": ("import time\nfs = [abs]", "for f in fs: f(1)", "fs[0] = time.sleep"),
    "a list gets its first": ("import time\nfs = []", "for f in fs: f(1)", "fs.append(time.sleep)"),
    "a list in a list": ("import time\nfs = [[abs]]", "for f in fs:\n    for g in f: g(1)", "fs[0][0] = time.sleep"),
    "a list becomes another": ("import time\nfs = [abs]", "for f in fs: f(1)", "fs = [time.sleep]"),
    "a plain value becomes another": ("import time\nx = 1", "x.sleep(1)", "x = time"),
    "a bound method": (CLASS + "\ngo = a.go", "go()", "A.w = lambda self: time.sleep(1)"),
    "the object of a bound method": (CLASS + "\ngo = a.go\nclass B(A):\n    def w(self): time.sleep(1)", "go()", "a.__class__ = B"),
    "a star import": ("import time, math", "from math import *\nsqrt(1)\nnap(1)", "math.nap = time.sleep"),
    "a name that was guarded": ("class R:\n    def get(self): pass\nrequests = R()", "requests.get()", "import time\nR.get = staticmethod(time.sleep)"),
    "the name of a module": ("import types\nm = types.ModuleType('mine')", "m.get('u')", "m.__name__ = 'requests'"),
    "the standard output": ("import io, sys\nout = io.TextIOWrapper(io.BytesIO())", "out.write('x')", "sys.stdout = out"),
    "a division": ("class P:\n    pass\np = P()", "(p / 'x').read_text()", "import pathlib\np = pathlib.Path()"),
}  # fmt: skip


@pytest.fixture
def restored_modules() -> Iterator[None]:
    """Whatever a change does to a module is undone."""
    names = [builtins.__dict__, sys.__dict__, json.__dict__, math.__dict__, time.__dict__, sys.modules]
    before = [dict(each) for each in names]
    yield
    for each, saved in zip(names, before, strict=True):
        for name in each.keys() - saved.keys():
            del each[name]
        each.update(saved)


@pytest.mark.usefixtures("restored_modules")
@pytest.mark.parametrize(("setup", "cell", "change"), CHANGES.values(), ids=list(CHANGES))
def test_L6_a_change_is_noticed(setup: str, cell: str, change: str) -> None:
    seen = Seen(setup, cell)
    assert seen.is_remembered
    before = seen.call()
    assert before == seen.call_judged_afresh()
    seen.run(change)
    after = seen.call_judged_afresh()
    assert before != after
    assert [seen.call() for _ in range(4)] == [after] * 4


NOT_WATCHED = {
    "an item by its key": ("import time\nfs = {'f': abs}", "fs['f'](1)", "fs['f'] = time.sleep"),
    "an item by its number": ("import time\nfs = [1, abs]", "fs[1](1)", "fs[1] = time.sleep"),
    "a slot": (
        "import time\nclass A:\n    __slots__ = ('f',)\na = A()\na.f = abs",
        "a.f(1)",
        "a.f = time.sleep",
    ),
    "a partial": (
        "import functools, time\np = functools.partial(abs)",
        "p(1)",
        "p.__setstate__((time.sleep, (), {}, None))",
    ),
    "an object without weak references": (
        "import time\nclass E(ValueError): pass\ne = ValueError()\ne.f = abs",
        "e.f(1)",
        "e.f = time.sleep",
    ),
    "one object by two names": (
        "import time\ne = g = ValueError()",
        "e.f = time.sleep\ng.f(1)",
        "g = ValueError()",
    ),
    "a deep list": ("import time\nfs = [[[[[[[abs]]]]]]]", "for f in fs: pass", "fs = time"),
}


@pytest.mark.parametrize(("setup", "cell", "change"), NOT_WATCHED.values(), ids=list(NOT_WATCHED))
def test_L6_what_cannot_be_watched_is_looked_at_each_time(setup: str, cell: str, change: str) -> None:
    seen = Seen(setup, cell)
    assert not seen.is_remembered
    seen.run(change)
    assert seen.call() == seen.call_judged_afresh()


SAME = {
    "a number": ("x = 1\ny = 'a'", "print(x + 1, y.lower())", "x = 2\ny = 'b'"),
    "rows": ("rows = ['a']", "for row in rows: print(row.lower())", "rows = ['b', 'c']\nrows.append('d')"),
    "a name that is not read": ("import time\na = abs", "a(1)", "b = time.sleep\na_b = 1"),
    "contents of a dict": ("d = {}", "print(d.keys())", "d['x'] = d"),
    "an attribute that is not read": (CLASS, "a.go()", "a.x = time\nA.y = time.sleep"),
}


@pytest.mark.parametrize(("setup", "cell", "change"), SAME.values(), ids=list(SAME))
def test_what_is_of_no_interest_may_change(setup: str, cell: str, change: str) -> None:
    seen = Seen(setup, cell)
    remembered = seen.sites.remembered
    assert type(remembered) is Remembered
    seen.run(change)
    assert seen.call() == seen.call_judged_afresh()
    assert seen.sites.remembered is remembered


def test_each_verdict_counts_as_if_it_were_the_first() -> None:
    seen = Seen(
        "class R:\n    def get(self, u): return u\nrequests = R()\nimport sqlite3\ncon = sqlite3.Connection",
        "import time\nrequests.get('u')\ntime.sleep(1)",
    )
    assert seen.is_remembered
    fresh = Telemetry()
    detector = BlockingDetector(seen.config, fresh)
    for _ in range(5):
        detector.verdict(detector.analyse(seen.tree), seen.namespace)
    for _ in range(2):
        seen.call()
    assert seen.telemetry.as_dict() == fresh.as_dict()
    assert fresh.detected_blocking_call == fresh.overshadow_guard_skips == 5


def test_a_verdict_is_of_one_namespace_and_one_detector() -> None:
    seen = Seen("nap = abs", "nap(1)")
    assert called(seen.detector, seen.sites, {"nap": time.sleep}) is not None
    assert seen.call() is None
    own = BlockingDetector(EngineConfig(blocking_methods=("nap.nap", "builtins.abs")), Telemetry())
    assert called(own, seen.sites, {"abs": abs, "nap": abs}) is not None
    for _ in range(3):
        seen.call()
    other = BlockingDetector(EngineConfig(blocking_methods=("builtins.abs",)), Telemetry())
    assert called(other, seen.sites, seen.namespace) is not None


@pytest.mark.parametrize("name", ["f", "a", "A"])
def test_nothing_is_kept_alive(name: str) -> None:
    seen = Seen(CLASS + "\ndef f(x=a, *, y=A): return a.go(), x, y", "f()\na.go()\nA().go()")
    assert seen.is_remembered
    gone = weakref.ref(seen.namespace[name])
    seen.namespace.clear()
    gc.collect()
    assert gone() is None
    assert seen.call() is None


def test_an_object_that_went_is_not_taken_for_the_one_in_its_place() -> None:
    seen = Seen("import time\ndef f(): pass", "f()")
    for number in range(200):
        assert seen.is_remembered
        body = "time.sleep(1)" if number % 2 == 0 else "pass"
        del seen.namespace["f"]  # its memory is free for the next
        seen.run(f"def f(): {body}")
        assert (seen.call() is not None) == (number % 2 == 0)
        seen.call()
        seen.call()


def test_a_method_that_went_is_not_taken_for_the_one_in_its_place() -> None:
    seen = Seen("import threading\nlock = threading.Lock()\nf = lock.locked", "f()")
    for name in ["acquire", "locked"] * 50:
        del seen.namespace["f"]
        seen.run(f"f = lock.{name}")
        assert (seen.call() is not None) == (name == "acquire")
        seen.call()
        seen.call()
        assert seen.is_remembered


def test_objects_of_the_user_are_not_touched_when_they_are_compared() -> None:
    for name, value in explosives().items():
        seen = Seen("import time", f"{name}.sleep(1); {name}(); {name}.get('u').json()")
        seen.namespace[name] = value
        for _ in range(4):
            seen.call()
        seen.namespace[name] = next(iter(explosives().values()))
        seen.call()
        seen.namespace.clear()
